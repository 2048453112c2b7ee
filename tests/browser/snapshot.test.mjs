// Rows of a database and their changes: the example's backend changes its table as fast as it can, and pages that read
// it meanwhile, as slowly as they like, end with what it has.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openTab } from './browser.mjs';
import { freePort, Hub, until } from './harness.mjs';

const BACKEND = fileURLToPath(new URL('../../examples/snapshot-and-stream.mjs', import.meta.url));

const ROUNDS = process.env.FANFARE_LONG ? 40 : 3;
const READERS = 25;

/** The example's backend: where it is, and when it has made all its changes. */
async function openBackend(t, hub, environment) {
  const backend = spawn(process.execPath, [BACKEND, hub.url, await freePort()], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => backend.kill());
  const lines = createInterface(backend.stdout);
  const [url] = await once(lines, 'line');
  return { url, done: once(lines, 'line'), close: () => backend.kill() };
}

/**
 * Begins readers in a tab, one after the other, each with a delay of its own between any two of its steps. What they
 * show is in the tab's `readers`.
 * @param {{hubs: string[], withSince: boolean}} settings
 */
async function beginReaders({ hubs, withSince }) {
  const delay = () => new Promise((done) => setTimeout(done, Math.random() * 150));
  const { fetch: ask, EventSource: Source } = window;
  window.fetch = async (...asked) => {
    await delay();
    const answer = await ask(...asked);
    await delay();
    return answer;
  };
  window.EventSource = class extends Source {
    constructor(url) {
      super(withSince ? url : url.replace(/&since=[^&]*/, ''));
    }
  };
  const { follow } = await import('/follow.mjs');
  window.readers = [];
  const opened = [];
  for (const hub of hubs) {
    const reader = { rows: new Map(), older: 0 };
    window.readers.push(reader);
    const show = (row) => {
      if (row.version <= (reader.rows.get(row.id)?.version ?? 0)) reader.older += 1;
      reader.rows.set(row.id, row);
    };
    opened.push(follow(hub, show).then((source) => new Promise((open) => (source.onopen = open))));
    await new Promise((done) => setTimeout(done, 20));
  }
  await Promise.all(opened);
}

/**
 * How many rows each reader in the tab has wrong, how many it should not have, and how often it showed a version that
 * is no newer than what it had.
 */
function compare(rows) {
  return window.readers.map(({ rows: shown, older }) => {
    const isWrong = (row) => JSON.stringify(shown.get(row.id)) !== JSON.stringify(row);
    return { wrong: rows.filter(isWrong).length, more: shown.size - 1 - rows.length, older };
  });
}

/** What readers that came while changes went on have wrong once all is said. */
async function resultsOf(t, { rounds, withSince }) {
  const hub = await Hub.open(t);
  const results = [];
  for (let round = 0; round < rounds; round += 1) {
    const backend = await openBackend(t, hub, { ROWS: '1000', CHANGES: '1500', WRITERS: '4', PAUSE_MS: '0' });
    const tab = await openTab(t);
    // Not the example's page: a reader fewer.
    await tab.goto(`${backend.url}/nothing`);
    // A name for each, since a browser opens six connections to one and no more.
    const hubs = Array.from({ length: READERS }, (_, at) => `http://reader-${at}.localhost:${hub.port}`);
    await tab.evaluate(beginReaders, { hubs, withSince });
    await backend.done;
    await hub.publish('orders', '{"id": "last", "version": 1}', { type: 'application/json' });
    await until('all readers have the last event', () =>
      tab.evaluate(() => window.readers.every(({ rows }) => rows.has('last'))),
    );
    const rows = await (await fetch(`${backend.url}/api/orders`)).json();
    results.push(...(await tab.evaluate(compare, rows)));
    await tab.close();
    backend.close();
  }
  return results;
}

test('whoever asks for the cursor first ends with the table, however slow, and never goes back', async (t) => {
  const results = await resultsOf(t, { rounds: ROUNDS, withSince: true });
  assert.deepEqual(results, results.map(() => ({ wrong: 0, more: 0, older: 0 })));
});

test('whoever listens from now on misses what came in between', async (t) => {
  const results = await resultsOf(t, { rounds: 1, withSince: false });
  assert(results.some(({ wrong }) => wrong > 0), 'else the other test proves nothing');
});

test('the page shows the rows, and nothing that is for everyone', async (t) => {
  const hub = await Hub.open(t);
  const backend = await openBackend(t, hub, { CHANGES: '300', WRITERS: '1', PAUSE_MS: '5' });
  const tab = await openTab(t);
  await tab.goto(backend.url);
  const shown = async () => (await tab.locator('tr').allTextContents()).filter((line) => line !== '');
  await until('the page has asked where the hub is', async () => (await shown()).length > 0);
  await hub.publishItem({ to: 'everyone', data: { version: 1, pieces: 'maintenance' } });
  await backend.done;
  const rows = await (await fetch(`${backend.url}/api/orders`)).json();
  const there = rows.filter(({ removed }) => !removed).map(({ id, pieces }) => `order ${id}: ${pieces} pieces`);
  await until('the page shows the rows', async () => String((await shown()).sort()) === String(there.sort()));
});
