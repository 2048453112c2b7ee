// A page in Chromium and in Firefox that listens with a plain EventSource and keeps all it is told.

import assert from 'node:assert/strict';
import { openTab } from './browser.mjs';
import { openFirefoxTab } from './firefox.mjs';
import { until } from './harness.mjs';
import { openSite } from './site.mjs';

const PAGE = `<script>
const heard = [];
const told = { opened: 0, cut: 0, gaps: 0, pings: 0 };
function listen(url) {
  const stream = new EventSource(url);
  stream.onopen = () => { told.opened += 1; };
  stream.onerror = () => { told.cut += 1; };
  stream.onmessage = ({ data }) => { heard.push(data); };
  stream.addEventListener('fanfare.gap', () => { told.gaps += 1; });
  stream.addEventListener('fanfare.ping', () => { told.pings += 1; });
  globalThis.says = () => ({ ...told, heard, state: ['connecting', 'open', 'closed'][stream.readyState] });
}
</script>`;

/** A page in one of the browsers. */
export class Listener {
  /**
   * @param {string} name  of the browser
   * @param {{evaluate: (work: (argument?: any) => any, argument?: any) => Promise<any>}} tab
   */
  constructor(name, tab) {
    this.name = name;
    this.tab = tab;
  }

  /** What it was told, and how it is. */
  async says() {
    return this.tab.evaluate(() => says());
  }

  /** @param {string} text */
  async hears(text) {
    await until(`${this.name} hears ${text}`, async () => {
      const { heard, state } = await this.says();
      assert.notEqual(state, 'closed', `${this.name} has given up before ${text}`);
      return heard.includes(text);
    });
  }

  /** @param {'open'|'closed'} wanted */
  async becomes(wanted) {
    await until(`${this.name} is ${wanted}`, async () => (await this.says()).state === wanted);
  }
}

/**
 * Opens the page in both browsers, at a site of its own, and waits until it listens.
 * @param {import('node:test').TestContext} test
 * @param {string} url  what to listen to
 */
export async function openListeners(test, url) {
  const site = await openSite(test, PAGE);
  const tabs = await Promise.all([openTab(test, { ignoreHTTPSErrors: true }), openFirefoxTab(test)]);
  const listeners = tabs.map((tab, at) => new Listener(['Chromium', 'Firefox'][at], tab));
  for (const listener of listeners) {
    await listener.tab.goto(`http://localhost:${site}/`);
    await listener.tab.evaluate((address) => listen(address), url);
    await until(`${listener.name} listens`, async () => (await listener.says()).opened > 0);
  }
  return listeners;
}
