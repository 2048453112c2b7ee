// A streamed answer: the example's producer writes a text token by token, and the page shows it, whatever happens meanwhile.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { TOKENS } from '../../web/answer_sample.js';
import { openTab, whileOffline } from './browser.mjs';
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

/** Settings by which a channel keeps so few tokens that an answer loses its beginning. */
const SHORT = '[[rule]]\npattern = "short"\nhistory.count_max = 16\n';

/** What the page says of the text. */
const stateOf = (tab) => tab.locator('#state').textContent();

test('what is published to everyone is no word of the answer', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  await tab.goto(`${hub.url}/assets/answer.html?channel=story`);
  await until('it is open', async () => (await stateOf(tab)) === 'live');
  await hub.publish('story', 'Once');
  await hub.publishItem({ to: 'everyone', data: '<<<MAINTENANCE AT NOON>>>' });
  await hub.publish('story', ' upon');
  await hub.end('story', { data: { tokens: 2 } });
  await until('it has ended', async () => (await stateOf(tab)) === 'ended: done');
  assert.equal(await shown(tab), 'Once upon');
});

test('an answer whose beginning is gone, or that was begun anew, is not shown as whole', async (t) => {
  const hub = await Hub.open(t, { settings: SHORT });
  const tab = await openTab(t);
  const says = async (channel, state) => {
    await tab.goto(`${hub.url}/assets/answer.html?channel=${channel}`);
    await until(`it says ${state}`, async () => state.test(await stateOf(tab)));
  };
  const tokens = Array.from({ length: 40 }, (_, at) => `t${at + 1} `);
  await hub.publishAll('short', tokens);
  await hub.end('short', { data: { tokens: 40 } });
  await says('short', /^incomplete \(done\): \d+ of 40 tokens$/);
  const left = await shown(tab);
  assert(left.length > 0 && tokens.join('').endsWith(left) && left !== tokens.join(''), left);

  await hub.publishAll('twice', ['one ', 'two ', 'one ', 'two ', 'three']);
  await hub.end('twice', { data: { tokens: 3 } });
  await says('twice', /^doubtful \(done\): 5 tokens, and its writer counted 3$/);
  await hub.publish('failed', 'Once');
  await hub.end('failed', { reason: 'failed' });
  await says('failed', /^ended: failed$/);
});

test('a page that was away while history was shortened says that something is missing', async (t) => {
  const hub = await Hub.open(t, { settings: SHORT });
  const tab = await openTab(t);
  await tab.goto(`${hub.url}/assets/answer.html?channel=short`);
  await hub.publish('short', 'Once');
  await until('it has the beginning', async () => (await shown(tab)) === 'Once');
  await hub.stop();
  await until('it notices', async () => (await stateOf(tab)) === 'reconnecting');
  await whileOffline(tab, async () => {
    await hub.start();
    await hub.publishAll('short', Array.from({ length: 40 }, (_, at) => ` ${at}`));
  });
  await until('it says so', async () => (await stateOf(tab)) === 'live, something is missing (trimmed)');
  await hub.end('short');
  await until('at the end too', async () => (await stateOf(tab)) === 'incomplete (done): something is missing (trimmed)');
});

test('after a lost disk the text is the new log\'s, from its beginning', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  await tab.goto(`${hub.url}/assets/answer.html?channel=story`);
  await hub.publishAll('story', ['one ', 'two ']);
  await until('it has two words', async () => (await shown(tab)) === 'one two ');
  await hub.stop();
  await until('it notices', async () => (await stateOf(tab)) === 'reconnecting');
  await whileOffline(tab, async () => {
    rmSync(hub.data, { recursive: true });
    await hub.start();
    await hub.publishAll('story', ['one ', 'two ', 'three ']);
  });
  await until('it has the new text', async () => (await shown(tab)) === 'one two three ');
  assert.deepEqual([await stateOf(tab), await tab.locator('#count').textContent()], ['live', '3']);
  await hub.publish('story', 'four');
  await hub.end('story', { data: { tokens: 4 } });
  await until('it has ended', async () => (await stateOf(tab)) === 'ended: done');
  assert.equal(await shown(tab), 'one two three four');
});

test('a channel in a link is one word of the lines to copy, whatever it says', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  for (const channel of ["x';echo gotcha;'", '$(echo gotcha)`echo gotcha`', `a"b\\'c' d`, '答え:1']) {
    await tab.goto(`${hub.url}/assets/answer.html?channel=${encodeURIComponent(channel)}`);
    await until('it shows the channel', async () => (await tab.locator('#channel').textContent()) === channel);
    /** The words that a shell makes of a line, but for what is read from a file. */
    const words = async (id) => {
      const line = (await tab.locator(id).textContent()).replace(/ < README.md$/, '');
      return execFileSync('sh', ['-c', `printf '%s\\n' ${line}`], { encoding: 'utf8' }).split('\n').slice(0, -1);
    };
    assert.deepEqual(await words('#program'), ['node', 'examples/streamed-answer.mjs', hub.url, channel]);
    const [curl, option, url, ...more] = await words('#curl');
    assert.deepEqual([curl, option, more], ['curl', '-N', []]);
    assert.equal(new URL(url).searchParams.get('channel'), channel);
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
