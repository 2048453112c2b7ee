// Publishing: through the box of the page and from outside, and what the page makes of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FirstPage } from './browser.mjs';
import { Hub, until } from './harness.mjs';

/**
 * Writes into the box, sends, and waits for the hub's answer.
 * @param {FirstPage} page
 * @param {string} text
 */
async function send(page, text) {
  const receipt = page.part('receipt');
  const before = await receipt.innerHTML();
  await page.part('text').fill(text);
  await page.part('send').click();
  await until('there is an answer', async () => (await receipt.innerHTML()) !== before);
  return receipt;
}

test('what the box publishes is in the list once, and the receipt names it', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  const receipt = await send(page, 'from the box');
  assert.match((await receipt.textContent()) ?? '', /^stored durably as \S+ · 1 stream$/);
  await page.showsAll(hub, ['from the box']);
  const [{ id }] = await page.messages();
  assert.equal(await receipt.getAttribute('data-id'), id);
  assert.equal(await page.part('text').inputValue(), '', 'the box is ready for the next text');
  assert.deepEqual(page.problems, []);
});

test('what others publish is in the list once, as text and never as HTML', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  const hostile = '<b>x</b><img src="/nowhere" onerror="document.title = \'lost\'">';
  const receipt = await hub.publish('news', hostile);
  assert.equal(receipt.streams, 1);
  await page.showsAll(hub, [hostile]);
  assert.equal(await page.tab.locator('#list b, #list img').count(), 0);
  assert.equal(await page.tab.title(), 'Fanfare');
  assert.deepEqual(page.problems, []);
});

test('JSON is shown as it was published, and only events with a name show one', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  await page.part('event-name').fill('created');
  await send(page, 'named');
  await hub.publish('news', '{"a": [1, null]}', { type: 'application/json' });
  await until('both are there', async () => (await page.messages()).length === 2);
  assert.deepEqual(
    (await page.messages()).map(({ event, text }) => [event, text]),
    [['created', 'named'], ['message', '{"a":[1,null]}']],
  );
  assert.deepEqual(await page.tab.locator('#list .tag').allTextContents(), ['created']);
});

test('a refusal is told in words, and the text stays in the box', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  await page.part('event-name').fill('error');
  const receipt = await send(page, 'not lost');
  assert.equal(await receipt.getAttribute('data-outcome'), 'refused');
  assert.match((await receipt.textContent()) ?? '', /error/);
  assert.equal(await page.part('text').inputValue(), 'not lost');
  assert.deepEqual(await hub.history('news'), []);
});

test('another channel in the box is followed from then on, with what it had', async (t) => {
  const hub = await Hub.open(t);
  await hub.publishAll('a/b', ['earlier', 'before']);
  await hub.publish('news', 'elsewhere');
  const page = await FirstPage.open(t, hub);
  await page.part('channel').fill('a/b');
  await page.part('channel').press('Enter');
  const texts = async () => (await page.messages()).map(({ text }) => text);
  await until('its events are there', async () => (await texts()).includes('before'));
  await send(page, 'now');
  await until('what is sent goes there', async () => (await texts()).includes('now'));
  assert.deepEqual(await texts(), ['earlier', 'before', 'now']);
});
