// Screens: on a phone and on a desk everything is there, inside the screen, by day and by night.
//
// `FANFARE_SHOTS=folder` keeps a picture of each.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { FirstPage } from './browser.mjs';
import { Hub, until } from './harness.mjs';

const SHOTS = process.env.FANFARE_SHOTS;

const SCREENS = [
  { name: 'phone', viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true, hasTouch: true },
  { name: 'small phone', viewport: { width: 320, height: 640 }, colorScheme: 'dark', isMobile: true, hasTouch: true },
  { name: 'desk', viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  { name: 'desk by night', viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
];

/** What a visitor comes for. */
const PARTS = [
  ['header h1', 'section#connection', '#stop', '#start', 'section#machine', '#figure-cpu', '#figure-memory'],
  ['#plot-cpu canvas', '#plot-memory canvas', '#plot-network canvas', '#plot-disk canvas'],
  ['#channel', '#event-name', '#text', '#send', '#receipt', '#list > li'],
  ['pre:has(#snippet-listen)', 'pre:has(#snippet-history)', 'pre:has(#snippet-page)'],
].flat();

for (const { name, ...screen } of SCREENS) {
  test(`on a ${name} everything is there and nothing is wider than the screen`, async (t) => {
    const hub = await Hub.open(t);
    const page = await FirstPage.open(t, hub, screen);
    await page.part('event-name').fill('paid');
    await page.part('event-name').press('Tab'); // Left, it counts: from now on the page hears this name.
    const long = 'a-word-without-an-end-'.repeat(30);
    await hub.publishAll('news', ['hello', 'Zweite Nachricht — mit „Anführung“', long]);
    await hub.publish('news', '{"order": 7, "state": "paid"}', { event: 'paid', type: 'application/json' });
    await until('all are in the list', async () => (await page.messages()).length === 4);
    await until('figures came', async () => Number((await page.says()).metrics) >= 2);

    const { width } = screen.viewport;
    const wide = await page.tab.evaluate(() => document.documentElement.scrollWidth);
    assert(wide <= width, `the page is ${wide} px wide on a screen of ${width} px`);
    for (const part of PARTS) {
      const element = page.tab.locator(part).first();
      assert(await element.isVisible(), `${part} can be seen`);
      const box = await element.boundingBox();
      assert(box && box.width > 0 && box.height > 0, `${part} has a size`);
      assert(box.x >= 0 && box.x + box.width <= width, `${part} is inside the screen`);
    }
    const cut = await page.tab.locator('dd').evaluateAll((facts) =>
      facts.filter((fact) => fact.scrollWidth > fact.clientWidth).map((fact) => fact.id));
    assert.deepEqual(cut, [], 'these facts are wider than their places');
    if (SHOTS) await page.tab.screenshot({ path: join(SHOTS, `${name.replaceAll(' ', '-')}.png`), fullPage: true });
  });
}
