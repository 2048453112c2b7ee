// Many restarts under open pages, in two browsers at once: both are alive at the end, with everything, once and in order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hub } from './harness.mjs';
import { HeldHub } from './held.mjs';
import { openListeners } from './listeners.mjs';

const RESTARTS = process.env.FANFARE_LONG ? 20 : 5;

/** With a hub that is away for long each time. */
const LONG_RESTARTS = process.env.FANFARE_LONG ? 20 : 2;

/** Longer than pages wait before they come back: 6 s at most. */
const AWAY_MS = 8_000;

/** Of so many restarts one is a crash. */
const CRASH_EVERY = 3;

/**
 * Reconnection times that are longer than a restart takes on a machine with much else to do: one refused connection closes
 * Firefox for good. The defaults are 2 s after a crash and 3 s after a stop, when a restart takes a third of a second.
 */
const PATIENT = ['streams.retry_min=5s', 'streams.retry_max=6s', 'drain.retry_min=5s', 'drain.retry_max=6s'];

/**
 * @param {import('node:test').TestContext} test
 * @param {Hub} hub
 * @param {number} restarts
 * @param {number} [away_ms]  how long it is to be away each time
 */
async function outlivesRestarts(test, hub, restarts, away_ms = 0) {
  const listeners = await openListeners(test, `${hub.url}/events?channel=news`);
  const published = [];
  const publish = async (text) => {
    await hub.publish('news', text);
    published.push(text);
  };
  const allHear = (text) => Promise.all(listeners.map((listener) => listener.hears(text)));
  let longest_ms = 0;
  for (let round = 1; round <= restarts; round += 1) {
    await publish(`${round}: before`);
    await allHear(`${round}: before`);
    // Nobody may have heard of it when the hub goes.
    await publish(`${round}: last`);
    const began = performance.now();
    if (round % CRASH_EVERY === 0) await hub.kill9();
    else await hub.stop();
    await new Promise((over) => setTimeout(over, away_ms));
    await hub.start();
    longest_ms = Math.max(longest_ms, performance.now() - began);
    await publish(`${round}: first`);
    await allHear(`${round}: first`);
  }
  assert.deepEqual((await hub.history('news')).map(({ data }) => data), published, 'all of it is stored');
  for (const listener of listeners) {
    const { heard, state, gaps, opened } = await listener.says();
    assert.deepEqual({ heard, state, gaps }, { heard: published, state: 'open', gaps: 0 }, listener.name);
    test.diagnostic(`${listener.name}: ${restarts} restarts, opened ${opened} times`);
  }
  test.diagnostic(`the longest restart took ${Math.round(longest_ms)} ms`);
}

test(`Chromium and Firefox outlive ${RESTARTS} restarts, with nothing missing or doubled`, async (t) => {
  await outlivesRestarts(t, await Hub.open(t, { flags: PATIENT.flatMap((setting) => ['--set', setting]) }), RESTARTS);
});

test('with socket activation it may be away for longer than browsers wait', async (t) => {
  await outlivesRestarts(t, await HeldHub.open(t), LONG_RESTARTS, AWAY_MS);
});
