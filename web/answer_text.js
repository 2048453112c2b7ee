// The text as it comes, and whether it is all that was written. The hub can't know the latter: limits and a lost disk
// take the beginning, a second try of the writer adds one. The writer knows how many tokens there are, and says it with
// the end.

export class Text {
  #element;
  #count;
  /** Why something of it is missing, as far as the hub knows; empty: nothing. */
  #gap = '';
  tokens = 0;

  /**
   * @param {HTMLElement} element  for the text
   * @param {HTMLElement} count  for how many tokens it has
   */
  constructor(element, count) {
    this.#element = element;
    this.#count = count;
  }

  get text() {
    return this.#element.textContent ?? '';
  }

  /** @param {string} token */
  append(token) {
    this.#element.append(token);
    this.#has(this.tokens + 1);
  }

  /**
   * Some of it can't be had any more. With another log all is another text, and it is sent from its beginning.
   * @param {string} reason
   */
  gap(reason) {
    this.#gap = reason;
    if (reason !== 'unknown') return;
    this.#gap = '';
    this.#element.textContent = '';
    this.#has(0);
  }

  /** How it is while it comes. */
  get state() {
    return this.#gap ? `live, something is missing (${this.#gap})` : 'live';
  }

  /**
   * How it is at its end.
   * @param {string} reason
   * @param {number} [told]  how many tokens the writer says there are
   */
  ended(reason, told = this.tokens) {
    if (told > this.tokens) return `incomplete (${reason}): ${this.tokens} of ${told} tokens`;
    if (told < this.tokens) return `doubtful (${reason}): ${this.tokens} tokens, and its writer counted ${told}`;
    return this.#gap ? `incomplete (${reason}): something is missing (${this.#gap})` : `ended: ${reason}`;
  }

  /** @param {number} tokens */
  #has(tokens) {
    this.tokens = tokens;
    this.#count.textContent = String(tokens);
  }
}
