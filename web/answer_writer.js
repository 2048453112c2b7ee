// Writes a text to a channel, token by token, and ends it. Whoever begins takes the channel over from whoever wrote it
// before, in this window or in another one, and goes on with the first token that isn't there.

const PAUSE_MS = 60;
const RETRY_MS = 500;

/** Statuses below 500 that get better by themselves: too slow, too often. */
const PASSING = [408, 429];

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * What a refusal says is wrong. One that isn't the hub's, but a proxy's, may say it in another form.
 * @param {Response} answer
 */
const detailOf = async (answer) => (await answer.json().catch(() => ({}))).detail ?? `the answer was ${answer.status}`;

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
      const { events, floor } = await this.#ask(run, 'GET', '');
      if (floor) throw new Error('the beginning of the text is gone, so nobody knows how much was written');
      this.#say('this window writes');
      for (let at = events; at < this.#tokens.length; at += 1) {
        // The key makes a second try harmless: nobody knows what became of a request whose answer was lost.
        await this.#ask(run, 'POST', `?fence=${fence}`, this.#tokens[at], { 'Idempotency-Key': `${this.#path} ${at}` });
        await pause(PAUSE_MS);
      }
      // With the number of tokens, so that a reader knows whether it has them all.
      const end = JSON.stringify({ reason: 'done', data: { tokens: this.#tokens.length }, fence });
      await this.#ask(run, 'POST', '/end', end, { 'Content-Type': 'application/json' });
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
      const request = { method, body, headers: body === undefined ? {} : headers };
      const answer = await fetch(this.#path + path, request).catch(() => null);
      if (answer?.ok) return answer.json();
      // `fenced`: another window took over. `ended`: it was called off. Neither gets better.
      if (answer && answer.status < 500 && !PASSING.includes(answer.status)) throw new Error(await detailOf(answer));
      this.#say(`the hub ${answer ? 'takes nothing now' : 'is away'}; this window goes on when it is back`);
      await pause(Number(answer?.headers.get('Retry-After')) * 1000 || RETRY_MS);
      this.#say('this window writes');
    }
    throw new Error('stopped');
  }
}
