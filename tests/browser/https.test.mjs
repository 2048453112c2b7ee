// The same over HTTPS, which browsers speak as HTTP/2: one connection for all streams of a site.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FirstPage, whileOffline } from './browser.mjs';
import { Hub, until } from './harness.mjs';

/** The certificate is signed by nobody. */
const TRUSTING = { ignoreHTTPSErrors: true };

/** More than the six connections that a browser opens to one host. */
const STREAMS = 20;

test('the first page is live over HTTP/2 and misses nothing of a crash', async (t) => {
  const hub = await Hub.open(t, { tls: true });
  const page = await FirstPage.open(t, hub, TRUSTING);
  const protocol = await page.tab.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  assert.equal(protocol, 'h2');
  await hub.publishAll('news', ['one', 'two']);
  await page.showsAll(hub, ['one', 'two']);
  assert.deepEqual(page.problems, []);

  await hub.kill9();
  await page.becomes('reconnecting');
  await whileOffline(page.tab, async () => {
    await hub.start();
    await hub.publishAll('news', ['three', 'four']);
  });
  await page.becomes('live');
  await hub.publish('news', 'five');
  await page.showsAll(hub, ['one', 'two', 'three', 'four', 'five']);
});

test(`a page has ${STREAMS} streams of one host open at once, and all of them hear`, async (t) => {
  const hub = await Hub.open(t, { tls: true });
  const { tab } = await FirstPage.open(t, hub, TRUSTING);
  await tab.evaluate((count) => {
    globalThis.heard = [];
    globalThis.streams = Array.from({ length: count }, (_, n) => {
      const stream = new EventSource(`/events?channel=many&channel=own-${n}`);
      stream.onmessage = ({ data }) => globalThis.heard.push(`${n}: ${data}`);
      return stream;
    });
  }, STREAMS);
  const open = () => tab.evaluate(() => globalThis.streams.filter(({ readyState }) => readyState === 1).length);
  await until('all streams are open', async () => (await open()) === STREAMS);
  await hub.publish('many', 'for all');
  await hub.publish('own-7', 'for one');
  const heard = () => tab.evaluate(() => globalThis.heard);
  await until('all have heard', async () => (await heard()).length === STREAMS + 1);
  const expected = Array.from({ length: STREAMS }, (_, n) => `${n}: for all`).concat('7: for one');
  assert.deepEqual((await heard()).sort(), expected.sort());
  assert.equal((await hub.stats()).connections.http2_connections, 1, 'one connection carries all of them');
});

test('streams that a page closes are gone at the hub, though their connection stays', async (t) => {
  const hub = await Hub.open(t, { tls: true });
  const { tab } = await FirstPage.open(t, hub, TRUSTING);
  const before = (await hub.stats()).streams;
  await tab.evaluate(() => {
    globalThis.stream = new EventSource('/events?channel=short');
  });
  await until('it is open', async () => (await hub.stats()).streams === before + 1);
  await tab.evaluate(() => globalThis.stream.close());
  await until('it is gone', async () => (await hub.stats()).streams === before);
});
