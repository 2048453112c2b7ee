// Restarts: the hub goes and comes back, in order or not, and the page goes on by itself with nothing missing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FirstPage, whileOffline } from './browser.mjs';
import { Hub, until } from './harness.mjs';

/** A hub that is away for longer than this leaves a break in the plots. */
const BREAK_MS = 6_000;

/**
 * Publishes, lets the hub end, starts it again, and publishes before the page is back: all of it must be there.
 * @param {Hub} hub
 * @param {FirstPage} page
 * @param {() => Promise<void>} end  ends the hub, and waits as long as it is to be away
 */
async function survives(hub, page, end) {
  await hub.publishAll('news', ['one', 'two', 'three']);
  await page.showsAll(hub, ['one', 'two', 'three']);
  const { cursor } = await page.says();

  await end();
  await page.becomes('reconnecting');
  await whileOffline(page.tab, async () => {
    await hub.start();
    await hub.publishAll('news', ['four', 'five', 'six']);
    assert.equal((await hub.stats()).streams_opened, 0, 'the page is not back yet');
  });

  await page.becomes('live');
  await page.showsAll(hub, ['one', 'two', 'three', 'four', 'five', 'six']);
  await hub.publish('news', 'seven');
  await page.showsAll(hub, ['one', 'two', 'three', 'four', 'five', 'six', 'seven']);

  assert.match((await page.part('state-detail').textContent()) ?? '', /resumed where it stopped/);
  const says = await page.says();
  assert.equal(says.reconnects, '1');
  assert(says.cursor > cursor, 'ids go on');
}

test('a hub that is stopped and started again is heard again, with nothing missing or doubled', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  await survives(hub, page, () => hub.stop());
  assert.equal((await hub.stats()).streams_opened, 1, 'the page came back once');
});

test('a hub that was killed and away for a while is heard again, and the break is drawn', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  await until('figures came', async () => Number((await page.says()).metrics) >= 2);
  await survives(hub, page, async () => {
    await hub.kill9();
    const killed = performance.now();
    await page.becomes('reconnecting');
    await until('the hub was away long enough', () => performance.now() - killed >= BREAK_MS);
  });
  await until('the break is drawn', async () => (await page.says()).holes === '1');
  assert.match((await page.part('holes').textContent()) ?? '', /: \d+ s unmeasured \(hub was down\)$/);

  await until('each figure that is stored has arrived, once', async () => {
    const stored = await hub.history('@system/metrics');
    return Number((await page.says()).metrics) === stored.length;
  });
});

test('what is published while the page is stopped is filled in when it is started', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  await hub.publishAll('news', ['one', 'two']);
  await page.showsAll(hub, ['one', 'two']);
  await until('figures came', async () => Number((await page.says()).metrics) >= 1);

  await page.part('stop').click();
  await page.becomes('closed');
  await until('the hub has let the stream go', async () => (await hub.stats()).streams === 0);
  const { events } = await page.says();
  const figures = (await hub.history('@system/metrics')).length;
  await hub.publishAll('news', ['three', 'four']);
  await until('figures went by', async () => (await hub.history('@system/metrics')).length >= figures + 3);
  assert.equal((await page.says()).events, events, 'a stopped page hears nothing');

  await page.part('start').click();
  await page.becomes('live');
  await hub.publish('news', 'five');
  await page.showsAll(hub, ['one', 'two', 'three', 'four', 'five']);
  assert.equal((await page.says()).holes, '0', 'the figures of the pause are there too');
});
