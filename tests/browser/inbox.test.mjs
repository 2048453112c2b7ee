// An inbox on two devices of one user: each in a window of its own, with nothing of the other's.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openTab, whileOffline } from './browser.mjs';
import { Hub, until } from './harness.mjs';
import { barePage, openSite } from './site.mjs';

const MESSAGES = Array.from({ length: 100 }, (_, at) => `message ${at}`);

/** The page of the guide, which shows Ada's messages and acknowledges the one that is clicked. */
const GUIDE = readFileSync(new URL('../../docs/inbox.md', import.meta.url), 'utf8');
const [, PAGE] = /```html\n(<ol>.*?)```/s.exec(GUIDE);

/** That page at another origin than the hub's, with its connection's state as its title. */
const inboxPage = (hub) => `${PAGE.replaceAll("'/", `'${hub.url}/`)}
<script>
stream.onopen = () => { document.title = 'open'; };
stream.onerror = () => { document.title = 'cut'; };
</script>`;

/** @param {import('playwright-core').Page} tab */
const shown = (tab) => tab.locator('li').allTextContents();

/** @param {Hub} hub */
const waiting = async (hub) => (await hub.inbox('ada')).events.map(({ data }) => data);

test('what one device acknowledges clears on the other, and on one that was away', async (t) => {
  const hub = await Hub.open(t);
  const port = await openSite(t, inboxPage(hub));
  const [first, second] = [await openTab(t), await openTab(t)];
  for (const text of MESSAGES.slice(0, 50)) await hub.send('ada', text);
  for (const tab of [first, second]) {
    await tab.goto(`http://localhost:${port}/`);
    await until('half of them are shown', async () => (await shown(tab)).length === 50);
  }
  // Both are away for the rest.
  await hub.stop();
  for (const tab of [first, second]) {
    await until('it notices', async () => (await tab.title()) === 'cut');
    await tab.context().setOffline(true);
  }
  await hub.start();
  for (const text of MESSAGES.slice(50)) await hub.send('ada', text);
  await first.context().setOffline(false);
  await until('the first is back', async () => (await shown(first)).length === 100);
  await first.getByText('message 7', { exact: true }).click();
  await until('it cleared', async () => (await shown(first)).length === 99);
  await second.context().setOffline(false);
  const rest = MESSAGES.filter((text) => text !== 'message 7');
  await until('the second is back', async () => (await shown(second)).length === 99);
  assert.deepEqual(await shown(second), rest, 'what was acknowledged while it was away is gone there, too');
  await first.getByText('message 77', { exact: true }).click();
  const fewer = rest.filter((text) => text !== 'message 77');
  for (const tab of [first, second]) {
    await until('it cleared on both', async () => (await shown(tab)).length === 98);
    assert.deepEqual(await shown(tab), fewer);
  }
  const late = await openTab(t);
  await late.goto(`http://localhost:${port}/`);
  await until('a third one shows them', async () => (await shown(late)).length === 98);
  assert.deepEqual(await shown(late), fewer);
  assert.deepEqual(await waiting(hub), fewer);
  assert.equal((await hub.inbox('ada')).unread, 98);
});

test('the page shows texts, JSON and names, nothing for everyone, and clears what waits no more', async (t) => {
  const hub = await Hub.open(t);
  await hub.publishItem({ user: 'ada', event: 'mail', data: 'Lunch?' });
  await hub.publishItem({ user: 'ada', data: { export: 7 } });
  const tab = await openTab(t);
  await tab.goto(`http://localhost:${await openSite(t, inboxPage(hub))}/`);
  await until('they are shown', async () => (await shown(tab)).length >= 2);
  await hub.publishItem({ user: 'ada', data: 'soon over', ttl: 1 });
  await hub.publishItem({ to: 'everyone', data: 'Back at noon.' });
  await hub.send('ada', 'last');
  await until('the last is shown', async () => (await shown(tab)).includes('last'));
  assert.deepEqual(await shown(tab), ['Lunch?', '{"export":7}', 'soon over', 'last']);
  await until('its time is over', async () => !(await waiting(hub)).includes('soon over'));
  for (const text of ['soon over', 'Lunch?']) await tab.getByText(text).click();
  await until('both are gone', async () => (await shown(tab)).length === 2);
  assert.deepEqual(await shown(tab), ['{"export":7}', 'last']);
  assert.deepEqual(await waiting(hub), [{ export: 7 }, 'last']);
});

test('a bare EventSource acknowledges by coming back', async (t) => {
  const hub = await Hub.open(t);
  for (const text of ['one', 'two']) await hub.send('ada', text);
  const tab = await openTab(t);
  await tab.goto(`http://localhost:${await openSite(t, barePage(hub, 'user=ada&inbox=1&device=wall&ack=auto'))}/`);
  await until('both are shown', async () => (await shown(tab)).length === 2);
  assert.deepEqual(await waiting(hub), ['one', 'two'], 'nothing is acknowledged before it comes back');
  await hub.kill9();
  await until('it notices', async () => (await tab.title()) === 'cut');
  await whileOffline(tab, async () => {
    await hub.start();
    await hub.send('ada', 'three');
  });
  await until('the third is shown', async () => (await shown(tab)).includes('three'));
  assert.deepEqual(await shown(tab), ['one', 'two', 'three'], 'nothing came twice');
  assert.deepEqual(await waiting(hub), ['three'], 'it had the others');
  await hub.stop();
  await until('it notices again', async () => (await tab.title()) === 'cut');
  await hub.start();
  await until('all is acknowledged', async () => (await waiting(hub)).length === 0);
  assert.deepEqual(await shown(tab), ['one', 'two', 'three']);
});
