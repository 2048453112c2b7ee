// Writes a text to a channel, token by token, and ends it. Whoever begins takes the channel over from whoever wrote it
// before, in this window or in another one, and goes on with the first token that isn't there.

const PAUSE_MS = 60;
const RETRY_MS = 500;

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Writer {
  #path;
  #tokens;
  #say;
  /** Counts starts, so that an older one ends. */
  #run = 0;
  runs = false;

  /**
   * @param {string} channel
   * @param {string[]} tokens
   * @param {(word: string) => void} say hears what to tell the reader
   */
  constructor(channel, tokens, say) {
    this.#path = `/channels/${encodeURIComponent(channel)}`;
    this.#tokens = tokens;
    this.#say = say;
  }

  start() {
    this.#run += 1;
    this.runs = true;
    void this.#write(this.#run);
  }

  stop() {
    this.#run += 1;
    this.runs = false;
    this.#say('stopped; another window may go on');
  }

  /** @param {number} run */
  async #write(run) {
    try {
      // From now on nobody else writes, so what is there stays what is there.
      const { fence } = await this.#ask(run, 'POST', '/producer');
      const { events } = await this.#ask(run, 'GET', '');
      this.#say('this window writes');
      for (let at = events; at < this.#tokens.length; at += 1) {
        // The key makes a second try harmless: nobody knows what became of a request whose answer was lost.
        await this.#ask(run, 'POST', `?fence=${fence}`, this.#tokens[at], { 'Idempotency-Key': `${this.#path} ${at}` });
        await pause(PAUSE_MS);
      }
      await this.#ask(run, 'POST', '/end', JSON.stringify({ reason: 'done', fence }), { 'Content-Type': 'application/json' });
    } catch (error) {
      if (run === this.#run) {
        this.runs = false;
        this.#say(/** @type {Error} */ (error).message);
      }
    }
  }

  /**
   * Asks the hub until there is an answer: one that is restarted is back in a moment.
   * @param {number} run
   * @param {string} method
   * @param {string} path
   * @param {string} [body]
   * @param {Record<string, string>} [headers]
   */
  async #ask(run, method, path, body, headers = { 'Content-Type': 'text/plain' }) {
    while (run === this.#run) {
      const answer = await fetch(this.#path + path, { method, body, headers: body === undefined ? {} : headers }).catch(() => null);
      if (answer?.ok) return answer.json();
      // `fenced`: another window took over. `ended`: it was called off. Neither gets better.
      if (answer && answer.status < 500 && answer.status !== 429) throw new Error((await answer.json()).detail);
      this.#say('the hub is away; this window goes on when it is back');
      await pause(RETRY_MS);
      this.#say('this window writes');
    }
    throw new Error('stopped');
  }
}
