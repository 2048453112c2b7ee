// Behind nginx, over HTTP/2: what pages see of a hub that goes and comes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTab } from './browser.mjs';
import { Hub, until } from './harness.mjs';
import { openListeners } from './listeners.mjs';
import { missing, openNginx } from './nginx.mjs';
import { openSite } from './site.mjs';

/** A hub that is away for longer than this is away when every page comes back: they wait 6 s at most. */
const AWAY_MS = 8_000;

/** More than a browser opens connections to an origin. */
const STREAMS = 12;

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test('pages outlive a hub that is away for long, with the documented lines', { skip: missing }, async (t) => {
  const hub = await Hub.open(t);
  const listeners = await openListeners(t, `${await openNginx(t, hub)}/events?channel=news`);
  const allHear = (text) => Promise.all(listeners.map((listener) => listener.hears(text)));
  await hub.publish('news', 'before');
  await allHear('before');
  for (const [end, text] of [[() => hub.stop(), 'after a stop'], [() => hub.kill9(), 'after a crash']]) {
    await end();
    await pause(AWAY_MS);
    await hub.start();
    await hub.publish('news', text);
    await allHear(text);
  }
  for (const listener of listeners) {
    const { heard, gaps, cut } = await listener.says();
    assert.deepEqual({ heard, gaps }, { heard: ['before', 'after a stop', 'after a crash'], gaps: 0 }, listener.name);
    assert(cut > 2, `${listener.name} came back while the hub was away`);
  }
});

test('without these lines a 502 closes both pages for good', { skip: missing }, async (t) => {
  const hub = await Hub.open(t);
  const url = await openNginx(t, hub, (site) => site.replace(/error_page .*;/, ''));
  const listeners = await openListeners(t, `${url}/events?channel=news`);
  await hub.stop();
  for (const listener of listeners) await listener.becomes('closed');
});

test('one page has more streams than HTTP/1.1 has connections', { skip: missing }, async (t) => {
  const hub = await Hub.open(t);
  const url = await openNginx(t, hub);
  const tab = await openTab(t, { ignoreHTTPSErrors: true });
  await tab.goto(`http://localhost:${await openSite(t, '')}/`);
  await tab.evaluate(([address, count]) => {
    globalThis.heard = [];
    for (let at = 0; at < count; at += 1) {
      const stream = new EventSource(`${address}/events?channel=news&channel=${at}`);
      stream.onmessage = ({ data }) => globalThis.heard.push(`${at}: ${data}`);
    }
  }, [url, STREAMS]);
  await until('all streams are open', async () => (await hub.stats()).streams === STREAMS);
  await hub.publish('news', 'hello');
  await until('all streams hear', async () => (await tab.evaluate(() => globalThis.heard)).length === STREAMS);
});
