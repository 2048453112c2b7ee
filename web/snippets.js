// The lines to copy: three for a shell, six for a page of one's own. They name this hub and this channel.

import { historyPath, listenPath, publishPath } from './paths.js';

/** How long a button says that it has copied. */
const COPIED_MS = 1_500;

export class Snippets {
  constructor() {
    for (const button of document.querySelectorAll('button[data-copy]')) {
      button.addEventListener('click', () => copy(/** @type {HTMLButtonElement} */ (button)));
    }
  }

  /**
   * Writes the lines for a channel.
   * @param {string} channel
   */
  open(channel) {
    const { origin } = location;
    write('snippet-listen', `curl -N '${origin}${listenPath(channel)}'`);
    write('snippet-publish', `curl -d hello ${quoted(origin + publishPath(channel))}`);
    write('snippet-history', `curl '${origin}${historyPath(channel)}'`);
    write('snippet-page', page(origin + listenPath(channel)));
  }
}

/** @param {string} url */
function page(url) {
  return `const stream = new EventSource('${url}&since=last:10');
stream.onmessage = (event) => {
  const line = document.createElement('p');
  line.textContent = event.data;
  document.body.append(line);
};`;
}

/**
 * Quotes a URL for the shell if it needs that.
 * @param {string} url
 */
function quoted(url) {
  return /^[\w:/.%[\]-]+$/.test(url) ? url : `'${url}'`;
}

/**
 * @param {string} id
 * @param {string} text
 */
function write(id, text) {
  const element = /** @type {HTMLElement} */ (document.getElementById(id));
  element.textContent = text;
}

/** @param {HTMLButtonElement} button */
async function copy(button) {
  const code = /** @type {HTMLElement} */ (document.getElementById(button.dataset.copy ?? ''));
  try {
    await navigator.clipboard.writeText(code.textContent ?? '');
    button.textContent = 'Copied';
  } catch {
    // No clipboard without TLS, except on localhost: select the text, so that the keyboard can copy it.
    getSelection()?.selectAllChildren(code);
    button.textContent = 'Selected';
  }
  setTimeout(() => {
    button.textContent = 'Copy';
  }, COPIED_MS);
}
