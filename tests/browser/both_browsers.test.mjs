// What listeners meet besides restarts, in both browsers, with a plain EventSource of another origin.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hub, until } from './harness.mjs';
import { openListeners } from './listeners.mjs';

test('both browsers open, hear, and get every heartbeat that is an event', async (t) => {
  const hub = await Hub.open(t);
  await hub.publish('news', 'long ago');
  await hub.publish('news', 'earlier');
  const listeners = await openListeners(t, `${hub.url}/events?channel=news&since=last:1&heartbeat=event`);
  await hub.publish('news', 'two\nlines é 😀');
  for (const listener of listeners) {
    await listener.hears('two\nlines é 😀');
    await until(`${listener.name} has a ping`, async () => (await listener.says()).pings > 0);
    const { heard, opened, cut, gaps } = await listener.says();
    assert.deepEqual({ heard, opened, cut, gaps }, { heard: ['earlier', 'two\nlines é 😀'], opened: 1, cut: 0, gaps: 0 });
  }
});

test('an id of another log makes gaps in both browsers, and then comes all there is', async (t) => {
  const hub = await Hub.open(t);
  await hub.publish('news', 'one');
  const unknown = 'lastEventId=000001-00000000-0000000001';
  const listeners = await openListeners(t, `${hub.url}/events?channel=news&since=start&${unknown}`);
  for (const listener of listeners) {
    await listener.hears('one');
    const { heard, gaps } = await listener.says();
    // One for `news`, one for `@everyone`.
    assert.deepEqual({ heard, gaps }, { heard: ['one'], gaps: 2 }, listener.name);
  }
});

test('a full hub keeps both browsers waiting, and lets them in when there is room', async (t) => {
  const hub = await Hub.open(t, { flags: ['--streams-max', '2'] });
  const first = await openListeners(t, `${hub.url}/events?channel=news`);
  const second = await openListeners(t, `${hub.url}/events?channel=news`);
  assert.equal((await hub.stats()).streams, 2);
  for (const listener of first) await listener.tab.goto('about:blank');
  await until('the others are in', async () => (await hub.stats()).streams === 2);
  await hub.publish('news', 'room');
  for (const listener of second) await listener.hears('room');
});
