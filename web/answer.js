// A text that comes token by token, for as long as it takes: reload the page, restart the hub, come back tomorrow. The
// text is the channel's history, so the page keeps nothing. `?channel=…` says which; see docs/streamed-answers.md.

import { Writer } from './answer_writer.js';
import { TOKENS } from './answer_sample.js';

/** @param {string} id */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * Shows the text of a channel.
 * @param {string} channel
 */
function read(channel) {
  const text = element('text');
  const state = element('state');
  const count = element('count');
  let tokens = 0;
  const writing = new Writing(channel);
  element('channel').textContent = channel;
  const url = `/events?as=json&since=start&channel=${encodeURIComponent(channel).replaceAll('%3A', ':')}`;
  element('curl').textContent = `curl -N '${location.origin}${url}'`;
  element('program').textContent =
    `node examples/streamed-answer.mjs ${location.origin} '${channel}' < README.md`;

  // From the start: a page that is loaded anew gets all of it. A connection that was cut goes on where it was.
  const source = new EventSource(url);
  source.onopen = () => {
    state.textContent = 'live';
  };
  source.onmessage = (event) => {
    text.append(JSON.parse(event.data).data);
    tokens += 1;
    count.textContent = String(tokens);
    writing.has(tokens, text.textContent ?? '');
  };
  source.addEventListener('fanfare.end', (event) => {
    state.textContent = `ended: ${JSON.parse(event.data).data.reason}`;
    source.close();
    writing.over();
  });
  source.onerror = () => {
    state.textContent = source.readyState === EventSource.CLOSED ? 'closed' : 'reconnecting';
  };
}

/** The button that writes the sample from here, and goes on with it after a reload. */
class Writing {
  #button = element('write');
  #word = element('writer');
  #another = element('another');
  /** Where it is remembered, across a reload of this window, that it was writing. */
  #key;
  #writer;

  /** @param {string} channel */
  constructor(channel) {
    this.#key = `writes ${channel}`;
    this.#writer = new Writer(channel, TOKENS, (word) => this.#show(word));
    this.#button.hidden = false;
    this.#button.addEventListener('click', () => (this.#writer.runs ? this.#stop() : this.#start()));
    if (sessionStorage.getItem(this.#key)) this.#start();
  }

  /**
   * So much is there now. Only a text that began as the sample can go on as the sample.
   * @param {number} count
   * @param {string} text
   */
  has(count, text) {
    this.#button.hidden = TOKENS.slice(0, count).join('') !== text;
    if (!this.#writer.runs) this.#button.textContent = 'Go on with the sample';
  }

  /** The text is whole. */
  over() {
    sessionStorage.removeItem(this.#key);
    this.#button.hidden = true;
    this.#another.hidden = false;
    this.#word.textContent = '';
  }

  #start() {
    sessionStorage.setItem(this.#key, 'yes');
    this.#button.textContent = 'Stop writing';
    this.#writer.start();
  }

  #stop() {
    sessionStorage.removeItem(this.#key);
    this.#button.textContent = 'Go on with the sample';
    this.#writer.stop();
  }

  /** @param {string} word */
  #show(word) {
    this.#word.textContent = word;
    if (!this.#writer.runs) {
      sessionStorage.removeItem(this.#key);
      this.#button.textContent = 'Go on with the sample';
    }
  }
}

const channel = new URLSearchParams(location.search).get('channel');
if (channel) {
  read(channel);
} else {
  // A channel for each answer.
  location.replace(`?channel=answer:${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`);
}
