// The state of the connection in words, and its two buttons.
//
// Says only what is known: who reconnects, since when the stream is live, whether it went on or began afresh.

import { clock, plural, shortId } from './format.js';

/** @typedef {import('./stream.js').Status} Status */

const WORDS = { connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', closed: 'Closed' };

export class State {
  #panel = /** @type {HTMLElement} */ (document.getElementById('connection'));
  #word = /** @type {HTMLElement} */ (document.getElementById('state'));
  #detail = /** @type {HTMLElement} */ (document.getElementById('state-detail'));
  #stream = /** @type {HTMLElement} */ (document.getElementById('stream-id'));
  #stop = /** @type {HTMLButtonElement} */ (document.getElementById('stop'));
  #start = /** @type {HTMLButtonElement} */ (document.getElementById('start'));

  /** @param {{stop: () => void, start: () => void}} buttons */
  constructor({ stop, start }) {
    this.#stop.addEventListener('click', () => press(stop, this.#start));
    this.#start.addEventListener('click', () => press(start, this.#stop));
  }

  /** @param {Status} status */
  show(status) {
    this.#panel.dataset.state = status.state;
    document.body.dataset.state = status.state;
    this.#word.textContent = WORDS[status.state];
    this.#detail.textContent = detail(status);
    this.#stream.textContent = shortId(status.stream ?? null);
    this.#stream.title = status.stream ?? 'no stream is open';
    const closed = status.state === 'closed';
    this.#stop.disabled = closed;
    this.#start.disabled = !closed;
  }
}

/** @param {Status} status */
function detail(status) {
  const said = status.reason ? `the hub said “${status.reason}”; ` : '';
  switch (status.state) {
    case 'live':
      return `since ${clock(Date.now())}, ${status.resumed ? 'resumed where it stopped' : 'a fresh stream'}`;
    case 'connecting':
      return 'waiting for the hub’s hello';
    case 'reconnecting': {
      const tries = status.tries ? `, ${plural(status.tries, 'attempt')} failed` : '';
      if (status.by === 'browser') return `${said}the browser tries by itself${tries}`;
      const pause = ((status.pause_ms ?? 0) / 1000).toFixed(1);
      return `${said}the browser gave up; the page tries in ${pause} s${tries}`;
    }
    default:
      return status.reason ? `${said}press Start to try again` : 'Start goes on where it stopped';
  }
}

/**
 * Does what a button says and hands the focus on: the button itself is disabled from now on.
 * @param {() => void} act
 * @param {HTMLButtonElement} next
 */
function press(act, next) {
  act();
  next.focus();
}
