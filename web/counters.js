// The counters: how much has arrived, how far the stream has come, and whether the ids always increased.
//
// The numbers stand on the page and, for tests, in the `data-` attributes of the body.

import { NONE, shortId } from './format.js';
import { METRICS } from './paths.js';

/** @typedef {import('./stream.js').Envelope} Envelope */

/** After this long without any event the page says so in another colour: figures come every two seconds. */
const QUIET_MS = 6_000;

export class Counters {
  #counts = { events: 0, metrics: 0, messages: 0, reconnects: 0, gaps: 0 };
  /** @type {string} The greatest id so far; ids of one log sort bytewise. */
  #lastId = '';
  /** How many ids weren't greater than the one before. */
  #outOfOrder = 0;
  /** @type {number|undefined} When the newest event arrived, by the page's clock. */
  #arrived;

  constructor() {
    this.#show();
  }

  /** @param {Envelope} envelope */
  event({ id, channel }) {
    this.#counts.events += 1;
    this.#counts[channel === METRICS ? 'metrics' : 'messages'] += 1;
    this.#arrived = performance.now();
    if (id) {
      if (id <= this.#lastId) this.#outOfOrder += 1;
      this.#lastId = id;
      document.body.dataset.lastId = id;
    }
    this.#show();
  }

  /** @param {import('./stream.js').Gap} gap */
  gap({ reason }) {
    this.#counts.gaps += 1;
    if (reason === 'unknown') this.#lastId = ''; // Another log: its ids can't be compared with the former's.
    this.#show();
  }

  reconnected() {
    this.#counts.reconnects += 1;
    this.#show();
  }

  /** @param {string} cursor */
  cursor(cursor) {
    document.body.dataset.cursor = cursor;
    const element = text('count-last-id', shortId(cursor));
    element.title = cursor;
  }

  /** Another channel: a fresh stream sends what may have been seen before. */
  open() {
    this.#lastId = '';
    this.#counts.messages = 0;
    this.#show();
  }

  /** Shows how long it has been quiet; called every second. */
  tick() {
    const quiet_ms = this.#arrived === undefined ? undefined : performance.now() - this.#arrived;
    const element = text('count-quiet', quiet_ms === undefined ? NONE : `${Math.floor(quiet_ms / 1000)} s ago`);
    element.classList.toggle('warn', quiet_ms !== undefined && quiet_ms > QUIET_MS);
  }

  #show() {
    const { dataset } = document.body;
    for (const [name, count] of Object.entries(this.#counts)) dataset[name] = String(count);
    dataset.inOrder = String(this.#outOfOrder === 0);
    text('count-events', this.#counts.events.toLocaleString());
    text('count-messages', this.#counts.messages.toLocaleString());
    text('count-reconnects', this.#counts.reconnects.toLocaleString());
    const order = text('count-order', this.#outOfOrder === 0 ? 'in order ✓' : `${this.#outOfOrder} out of order ✗`);
    order.classList.toggle('warn', this.#outOfOrder > 0);
  }
}

/**
 * @param {string} id
 * @param {string} value
 */
function text(id, value) {
  const element = /** @type {HTMLElement} */ (document.getElementById(id));
  if (element.textContent !== value) element.textContent = value;
  return element;
}
