// A text that comes token by token, for as long as it takes: reload the page, restart the hub, come back tomorrow. The
// text is the channel's history, so the page keeps nothing. `?channel=…` says which; see docs/streamed-answers.md.

import { TOKENS } from './answer_sample.js';
import { Text } from './answer_text.js';
import { Writer } from './answer_writer.js';
import { quoted } from './shell.js';

/** @param {string} id */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * Shows the text of a channel.
 * @param {string} channel
 */
function read(channel) {
  const text = new Text(element('text'), element('count'));
  const state = element('state');
  const writing = new Writing(channel);
  element('channel').textContent = channel;
  // What is published to everyone would be a word of the text.
  const query = `as=json&since=start&everyone=no&channel=${encodeURIComponent(channel).replaceAll('%3A', ':')}`;
  const url = `/events?${query}`;
  element('curl').textContent = `curl -N ${quoted(location.origin + url)}`;
  element('program').textContent =
    `node examples/streamed-answer.mjs ${location.origin} ${quoted(channel)} < README.md`;

  // From the start: a page that is loaded anew gets all of it. A connection that was cut goes on where it was.
  const source = new EventSource(url);
  source.onopen = () => {
    state.textContent = text.state;
  };
  source.onmessage = (event) => {
    text.append(JSON.parse(event.data).data);
    writing.has(text.tokens, text.text);
  };
  source.addEventListener('fanfare.gap', (event) => {
    text.gap(JSON.parse(event.data).reason);
    state.textContent = text.state;
    writing.has(text.tokens, text.text);
  });
  source.addEventListener('fanfare.end', (event) => {
    const { reason, data } = JSON.parse(event.data).data;
    state.textContent = text.ended(reason, data?.tokens);
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
