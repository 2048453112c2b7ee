// A streamed answer: the example's producer writes a text token by token, and the page shows it, whatever happens meanwhile.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TOKENS } from '../../web/answer_sample.js';
import { openTab } from './browser.mjs';
import { Hub, until } from './harness.mjs';

const PRODUCER = fileURLToPath(new URL('../../examples/streamed-answer.mjs', import.meta.url));

/** Words, line ends of all kinds, spaces in numbers, letters of several bytes. */
const TEXT = Array.from({ length: 300 }, (_, at) => ['once', '\n\nupon', ' \ta', '\r\ntime', ' 🎺', '  ä'][at % 6] + ` ${at}`).join('');

/** @param {import('playwright-core').Page} tab */
const shown = (tab) => tab.locator('#text').evaluate((text) => text.textContent);

test('a streamed answer survives reloads, a crash and a restart in mid-text, byte for byte', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  const page = `${hub.url}/assets/answer.html?channel=story`;
  await tab.goto(page);

  const producer = spawn(process.execPath, [PRODUCER, hub.url, 'story'], {
    env: { ...process.env, PAUSE_MS: '15' },
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  t.after(() => producer.kill());
  const produced = once(producer, 'exit');
  producer.stdin.end(TEXT);

  const reaches = (length) => until(`${length} letters are there`, async () => (await shown(tab)).length >= length);
  const third = Math.floor(TEXT.length / 3);
  await reaches(third / 2);
  await tab.reload();
  await reaches(third);
  await hub.kill9();
  await hub.start();
  await reaches(third * 1.5);
  await tab.reload();
  await reaches(third * 2);
  await hub.stop();
  await hub.start();

  assert.deepEqual(await produced, [0, null]);
  const ended = () => until('the end is there', async () => (await tab.locator('#state').textContent()) === 'ended: done');
  await ended();
  assert.equal(await shown(tab), TEXT);
  const events = await hub.history('story');
  assert.equal(events.filter(({ event }) => event === 'fanfare.end').length, 1);

  // Whoever comes late gets the same.
  await tab.goto(page);
  await ended();
  assert.equal(await shown(tab), TEXT);
});

test('a page that writes goes on after a reload and a crash, and gives way to another that takes over', async (t) => {
  const hub = await Hub.open(t);
  const first = await openTab(t);
  await first.goto(`${hub.url}/assets/answer.html`);
  await first.click('#write');
  const count = async (tab) => Number(await tab.locator('#count').textContent());
  await until('the first window writes', async () => (await count(first)) >= 20);
  assert.match(first.url(), /\?channel=answer:\w+$/, 'on a channel of its own');

  await first.reload();
  await until('it goes on by itself', async () => (await count(first)) >= 60);
  await hub.kill9();
  await hub.start();
  await until('it goes on when the hub is back', async () => (await count(first)) >= 90);

  const second = await openTab(t);
  await second.goto(first.url());
  await until('the second window has it, too', async () => (await count(second)) >= 90);
  await second.click('#write');
  await until('the first hears of it', async () => /fence/.test((await first.locator('#writer').textContent()) ?? ''));
  for (const tab of [first, second]) {
    await until('the end is there', async () => (await tab.locator('#state').textContent()) === 'ended: done');
    assert.equal(await shown(tab), TOKENS.join(''), 'each token once');
    assert.equal(await count(tab), TOKENS.length);
  }
});

test('a page that does not listen for the end stays away all the same', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  await hub.publish('story', 'once');
  await tab.goto(`${hub.url}/assets/answer.html?channel=other`);
  await tab.evaluate(() => {
    const source = new EventSource('/events?channel=story&since=start');
    source.onerror = () => {
      document.title = source.readyState === EventSource.CLOSED ? 'closed' : 'cut';
    };
    source.onmessage = () => {
      document.title = 'heard';
    };
  });
  await until('it hears', async () => (await tab.title()) === 'heard');
  const answer = await fetch(`${hub.url}/channels/story/end`, { method: 'POST' });
  assert.equal(answer.status, 200);
  await until('it is closed for good', async () => (await tab.title()) === 'closed');
  assert.equal((await hub.stats()).streams_refused_over, 1, 'it was told so when it came back, once');
});
