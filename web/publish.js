// The box to publish: one HTTP POST, and what the hub answers, a receipt or a refusal.
//
// The channel in the box is also the one that the page follows; the name is optional, and the page hears it.

import { plural, shortId } from './format.js';
import { publishPath } from './paths.js';

/** Where the page begins. */
const CHANNEL = 'news';

/**
 * What the hub answers to a POST.
 * @typedef {object} Receipt
 * @property {?string} id
 * @property {string} channel
 * @property {'durable'|'memory'|'transient'} durability
 * @property {number} streams     matching live streams
 * @property {boolean} duplicate  whether it was stored before, under the same key
 */

export class Publish {
  #form = /** @type {HTMLFormElement} */ (document.getElementById('publish'));
  #channel = /** @type {HTMLInputElement} */ (document.getElementById('channel'));
  #name = /** @type {HTMLInputElement} */ (document.getElementById('event-name'));
  #text = /** @type {HTMLInputElement} */ (document.getElementById('text'));
  #receipt = /** @type {HTMLOutputElement} */ (document.getElementById('receipt'));

  /** @param {{follow: (channel: string) => void, listen: (name: string) => void}} page */
  constructor({ follow, listen }) {
    const query = new URLSearchParams(location.search);
    this.#channel.value = query.get('channel') || CHANNEL;
    this.#name.value = query.get('event') ?? '';
    this.#hear(listen);
    this.#channel.addEventListener('change', () => {
      this.#channel.value ||= CHANNEL;
      this.#remember();
      follow(this.#channel.value);
    });
    this.#channel.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault(); // Enter here means this channel; in the text it means publish.
      this.#text.focus();
    });
    this.#name.addEventListener('change', () => {
      this.#remember();
      this.#hear(listen);
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#publish();
    });
  }

  get channel() {
    return this.#channel.value;
  }

  async #publish() {
    const body = this.#text.value;
    this.#text.value = '';
    try {
      const response = await fetch(publishPath(this.channel, this.#name.value), { method: 'POST', body });
      if (!response.ok) throw new Error(await refusal(response));
      this.#say(await response.json());
    } catch (error) {
      this.#fail(error);
      this.#text.value ||= body; // Not published, so not thrown away either.
    }
  }

  /** @param {Receipt} receipt */
  #say({ id, durability, streams, duplicate }) {
    const stored = { durable: 'stored durably as ', memory: 'kept in memory as ', transient: 'sent, not stored' }[durability];
    const mark = document.createElement('code');
    mark.textContent = durability === 'transient' ? '' : shortId(id);
    mark.title = id ?? '';
    const told = ` · ${plural(streams, 'stream')}`;
    this.#receipt.replaceChildren(duplicate ? 'already there as ' : (stored ?? `${durability}: `), mark, told);
    this.#receipt.dataset.outcome = 'stored';
    this.#receipt.dataset.id = id ?? '';
  }

  /** @param {unknown} error */
  #fail(error) {
    // A fetch that got no answer throws a TypeError; whether the hub stored the event is then unknown.
    const unanswered = error instanceof TypeError;
    const text = unanswered ? 'no answer from the hub; whether it was stored is unknown' : String(Object(error).message);
    this.#receipt.replaceChildren(text);
    this.#receipt.dataset.outcome = 'refused';
    this.#receipt.dataset.id = '';
  }

  /** @param {(name: string) => void} listen */
  #hear(listen) {
    if (this.#name.value) listen(this.#name.value);
  }

  /** Keeps channel and name in the page's address. */
  #remember() {
    const url = new URL(location.href);
    url.searchParams.set('channel', this.channel);
    if (this.#name.value) url.searchParams.set('event', this.#name.value);
    else url.searchParams.delete('event');
    history.replaceState(null, '', url);
  }
}

/**
 * The hub's reason, from its problem details (RFC 9457).
 * @param {Response} response
 */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return problem.detail ?? problem.title ?? `${response.status} ${response.statusText}`;
}
