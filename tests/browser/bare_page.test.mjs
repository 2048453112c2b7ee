// A page of somebody's own: ten lines around a plain EventSource, from another origin, and nothing else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTab, whileOffline } from './browser.mjs';
import { Hub, until } from './harness.mjs';
import { barePage, openSite } from './site.mjs';

/**
 * @param {import('node:test').TestContext} test
 * @param {Hub} hub
 */
async function openBarePage(test, hub) {
  const tab = await openTab(test);
  const port = await openSite(test, barePage(hub, 'channel=news'));
  await tab.goto(`http://localhost:${port}/`);
  await until('the stream is open', async () => (await tab.title()) === 'open');
  return tab;
}

/** @param {import('playwright-core').Page} tab */
const heard = (tab) => tab.locator('li').allTextContents();

test('a plain EventSource of another origin goes on after a crash, with nothing missing or doubled', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openBarePage(t, hub);
  await hub.publishAll('news', ['one', 'two', 'three']);
  await until('it hears', async () => (await heard(tab)).includes('three'));

  await hub.kill9();
  await until('it notices', async () => (await tab.title()) === 'cut');
  await whileOffline(tab, async () => {
    await hub.start();
    await hub.publishAll('news', ['four', 'five']);
    assert.equal((await hub.stats()).streams_opened, 0, 'it is not back yet');
  });

  await until('it is back', async () => (await tab.title()) === 'open');
  await hub.publish('news', 'six');
  await until('it hears again', async () => (await heard(tab)).includes('six'));
  assert.deepEqual(await heard(tab), ['one', 'two', 'three', 'four', 'five', 'six']);
});

test('a plain EventSource that has heard nothing yet misses nothing of a restart either', async (t) => {
  const hub = await Hub.open(t);
  await hub.publish('news', 'before its time');
  const tab = await openBarePage(t, hub);
  await hub.stop();
  await until('it notices', async () => (await tab.title()) === 'cut');
  await whileOffline(tab, async () => {
    await hub.start();
    await hub.publishAll('news', ['one', 'two']);
    assert.equal((await hub.stats()).streams_opened, 0, 'it is not back yet');
  });
  await until('it hears', async () => (await heard(tab)).includes('two'));
  assert.deepEqual(await heard(tab), ['one', 'two']);
});
