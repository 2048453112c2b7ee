// The list of what arrives on the channel, the newest first, at most 200 rows; a gap is a row too.
//
// Whatever was published is shown as text, never as HTML. Rows wait for the next frame of the screen, so that
// a burst costs one change of the document.

import { clock, shortId } from './format.js';

/** @typedef {import('./stream.js').Envelope} Envelope */
/** @typedef {import('./stream.js').Gap} Gap */

/** More rows than this nobody reads; the older ones go. */
const ROWS_MAX = 200;

/** Longer data is cut on the screen, and says so. */
const SHOWN_CHARS_MAX = 1_000;

export class List {
  #rows = /** @type {HTMLOListElement} */ (document.getElementById('list'));
  #empty = /** @type {HTMLElement} */ (document.getElementById('list-empty'));
  /** @type {(() => HTMLLIElement)[]} Rows to come, oldest first. */
  #waiting = [];
  #channel = '';

  /**
   * Empties the list for another channel.
   * @param {string} channel
   */
  open(channel) {
    this.#channel = channel;
    this.#waiting = [];
    this.#rows.replaceChildren();
    this.#empty.hidden = false;
    for (const element of document.querySelectorAll('[data-channel-name]')) element.textContent = channel;
  }

  /** @param {Envelope} envelope */
  add(envelope) {
    this.#wait(() => this.#eventRow(envelope));
  }

  /** @param {Gap} gap */
  addGap(gap) {
    this.#wait(() => gapRow(gap));
  }

  /** @param {() => HTMLLIElement} row */
  #wait(row) {
    if (this.#waiting.push(row) === 1) requestAnimationFrame(() => this.#draw());
    // A tab in the background draws no frames, but its events keep coming.
    if (this.#waiting.length > ROWS_MAX) this.#waiting.shift();
  }

  #draw() {
    if (this.#waiting.length === 0) return;
    const rows = this.#waiting.map((row) => row()).reverse();
    this.#waiting = [];
    this.#rows.prepend(...rows);
    while (this.#rows.children.length > ROWS_MAX) this.#rows.lastElementChild?.remove();
    this.#empty.hidden = true;
  }

  /** @param {Envelope} envelope */
  #eventRow({ channel, event, data, id, time }) {
    const name = event ?? 'message';
    const row = document.createElement('li');
    row.dataset.id = id ?? '';
    row.dataset.event = name;
    const when = part('time', 'when', clock(time));
    when.setAttribute('datetime', new Date(time).toISOString());
    row.append(when);
    const what = part('span', 'what', '');
    if (channel !== this.#channel) what.append(part('span', 'tag', channel));
    if (name !== 'message') what.append(part('span', 'tag', name));
    what.append(part('span', 'data', shown(data)));
    const mark = part('span', 'id', shortId(id));
    mark.title = id ?? 'not stored, so without an id';
    row.append(what, mark);
    return row;
  }
}

/** @param {Gap} gap */
function gapRow({ channel, pattern, reason, from, to }) {
  const row = document.createElement('li');
  row.className = 'gap';
  row.dataset.reason = reason;
  const begin = from ? `between ${shortId(from)} and` : 'before';
  const where = channel ?? pattern;
  const text = `Events ${begin} ${shortId(to)}${where ? ` on ${where}` : ''} can’t be had any more (${reason}).`;
  row.append(part('span', 'what', text));
  row.title = `from ${from ?? 'the beginning'} to ${to}`;
  return row;
}

/**
 * Data as text, cut where it is too long to be read here.
 * @param {any} data
 */
function shown(data) {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  if (text.length <= SHOWN_CHARS_MAX) return text;
  return `${text.slice(0, SHOWN_CHARS_MAX)}… (${text.length.toLocaleString()} characters)`;
}

/**
 * @param {string} tag
 * @param {string} kind
 * @param {string} text
 */
function part(tag, kind, text) {
  const element = document.createElement(tag);
  element.className = kind;
  element.textContent = text;
  return element;
}
