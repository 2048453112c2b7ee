// The first page: it goes live, its figures move, and nothing goes wrong that a visitor's console would show.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FirstPage } from './browser.mjs';
import { Hub, until } from './harness.mjs';

test('the first page goes live and its figures move, without an error or a failed request', async (t) => {
  const hub = await Hub.open(t);
  const page = await FirstPage.open(t, hub);
  const figures = async () => (await page.tab.locator('.figure').allTextContents()).join(' ');

  await until('first figures are there', async () => Number((await page.says()).metrics) >= 1);
  const before = await figures();
  assert.match(before, /^\d+\.\d%/, 'the processor has a figure');
  await until('more figures came', async () => Number((await page.says()).metrics) >= 3);
  await until('other figures are shown', async () => (await figures()) !== before);

  assert.match(await page.part('fact-uptime').textContent() ?? '', /^\d+ (s|min|h|d)/);
  assert.match(await page.part('fact-memory').textContent() ?? '', /of \d/);
  const { inOrder, gaps, holes, reconnects } = await page.says();
  assert.deepEqual({ inOrder, gaps, holes, reconnects }, { inOrder: 'true', gaps: '0', holes: '0', reconnects: '0' });
  assert.deepEqual(page.problems, []);
});

test('a page that is opened later shows the figures of before at once', async (t) => {
  const hub = await Hub.open(t);
  await until('figures are stored', async () => (await hub.history('@system/metrics')).length >= 2);
  const page = await FirstPage.open(t, hub);
  await until('they are shown', async () => Number((await page.says()).metrics) >= 2);
});
