// The stream: one bare EventSource for everything on this page, and the honest truth about its state.
//
// This is all that a page needs. The browser reads the format, keeps the cursor (`lastEventId`) and
// reconnects with it; the hub then goes on exactly where the stream stopped. Only two things are added
// here: after the browser has given up for good (Firefox does after one refused connection) the page opens
// a new EventSource, and after Stop it can resume, both by sending the cursor as `lastEventId`.
//
// Knows nothing of plots, lists or the document. Nothing is deduplicated: the hub promises each event once.

import { eventsPath } from './paths.js';

/** First and longest pause before a new EventSource, in ms; between them the pause doubles. */
const PAUSE_FIRST_MS = 1_000;
const PAUSE_MAX_MS = 30_000;

/**
 * What arrives with `as=json`, for every event.
 * @typedef {object} Envelope
 * @property {string} channel
 * @property {?string} event  the name that the publisher gave
 * @property {any} data      any JSON, or a string
 * @property {?string} id    the event's own id; none for transient events
 * @property {number} time   when the hub stored it, in ms since 1970
 */

/**
 * Events that can't be had any more; told by the hub in their place.
 * @typedef {object} Gap
 * @property {string} [channel]
 * @property {string} [pattern]
 * @property {'trimmed'|'expired'|'restart'|'unknown'|'overflow'} reason
 * @property {?string} from
 * @property {?string} to
 */

/**
 * Where the stream stands.
 * @typedef {object} Status
 * @property {'connecting'|'live'|'reconnecting'|'closed'} state
 * @property {string} [stream]      live: the hub's id of this stream
 * @property {string} [epoch]       live: changes when the hub's log was opened anew
 * @property {boolean} [resumed]    live: went on from a cursor, or began afresh
 * @property {'browser'|'page'} [by]  reconnecting: who does it
 * @property {number} [pause_ms]    reconnecting, by the page: how long until the next try
 * @property {number} [tries]       reconnecting: failed tries so far
 * @property {string} [reason]      what the hub said when it took its leave
 */

/**
 * @typedef {object} Listener
 * @property {(envelope: Envelope) => void} event
 * @property {(gap: Gap) => void} gap
 * @property {(status: Status) => void} status
 * @property {(cursor: string) => void} cursor  how far the stream has come
 */

export class Stream {
  /** @type {?EventSource} */
  #source = null;
  /** @type {string} The channel that is followed beside the metrics. */
  #channel = '';
  /** @type {string} The newest id seen, the hub's own frames included. */
  #cursor = '';
  /** @type {Set<string>} A bare EventSource hears only the event names that it listens for. */
  #names = new Set(['message', 'metrics']);
  /** Whether the hub has greeted this connection. */
  #live = false;
  /** Failed tries since the stream was last live. */
  #tries = 0;
  /** @type {string|undefined} Set by `fanfare.bye`, until the stream is live again. */
  #reason;
  /** @type {number|undefined} The timer of the page's own next try. */
  #timer;
  /** @type {Listener} */
  #tell;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#tell = listener;
  }

  /**
   * Follows a channel from five minutes ago; what was followed before is left.
   * @param {string} channel
   */
  open(channel) {
    this.#channel = channel;
    this.#cursor = '';
    this.resume();
  }

  /** Opens the stream where it stopped, so that the pause is filled in as well. */
  resume() {
    this.#end();
    this.#tries = 0;
    this.#reason = undefined;
    this.#tell.status({ state: 'connecting' });
    this.#connect();
  }

  /** Closes the stream and leaves it closed. */
  close() {
    this.#end();
    this.#tell.status({ state: 'closed' });
  }

  /**
   * Hears events of this name too, from now on.
   * @param {string} name
   */
  listen(name) {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    this.#source?.addEventListener(name, this.#deliver);
  }

  #connect() {
    const source = new EventSource(eventsPath(this.#channel, this.#cursor));
    for (const name of this.#names) source.addEventListener(name, this.#deliver);
    source.addEventListener('fanfare.hello', this.#greet);
    source.addEventListener('fanfare.gap', this.#gap);
    source.addEventListener('fanfare.bye', this.#bye);
    source.addEventListener('error', this.#error);
    this.#source = source;
  }

  #end() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#live = false;
  }

  /** @param {MessageEvent} event */
  #deliver = (event) => {
    this.#advance(event);
    this.#tell.event(JSON.parse(event.data));
  };

  /** @param {MessageEvent} event */
  #greet = (event) => {
    this.#live = true;
    this.#tries = 0;
    this.#reason = undefined;
    this.#advance(event);
    this.#tell.status({ state: 'live', ...JSON.parse(event.data || '{}') });
  };

  /** @param {MessageEvent} event */
  #gap = (event) => {
    this.#advance(event);
    this.#tell.gap(JSON.parse(event.data));
  };

  /** @param {MessageEvent} event */
  #bye = (event) => {
    this.#advance(event);
    const { reason, reconnect } = JSON.parse(event.data);
    this.#reason = reason;
    if (reconnect) return; // The connection ends next, and the browser comes back by itself.
    this.#end();
    this.#tell.status({ state: 'closed', reason });
  };

  #error = () => {
    if (!this.#live) this.#tries += 1; // The cut of a live stream isn't a failed try.
    this.#live = false;
    const told = { tries: this.#tries, reason: this.#reason };
    if (this.#source?.readyState === EventSource.CONNECTING) {
      this.#tell.status({ state: 'reconnecting', by: 'browser', ...told });
      return;
    }
    // CLOSED: the browser never tries again, so the page does.
    this.#end();
    const longest = Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** this.#tries);
    const pause_ms = longest * (0.5 + Math.random() / 2); // Jitter: not all pages at the same moment.
    this.#timer = setTimeout(() => this.#connect(), pause_ms);
    this.#tell.status({ state: 'reconnecting', by: 'page', pause_ms, ...told });
  };

  /** @param {MessageEvent} event */
  #advance(event) {
    if (!event.lastEventId) return;
    this.#cursor = event.lastEventId;
    this.#tell.cursor(this.#cursor);
  }
}
