// The examples' programs where things are not as they should be: a hub that is down or busy, an address with a slip in
// it, a name that headers can't carry.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort, Hub, until } from './harness.mjs';

const example = (name) => fileURLToPath(new URL(`../../examples/${name}.mjs`, import.meta.url));
const ANSWER = example('streamed-answer');
const SNAPSHOT = example('snapshot-and-stream');

/** A program that runs, what it has said so far, and how it will end. */
function run(t, program, options, { input = '', ...environment } = {}) {
  const child = spawn(process.execPath, [program, ...options], { env: { ...process.env, PAUSE_MS: '0', ...environment } });
  t.after(() => child.kill());
  const running = { out: '', err: '', ended: once(child, 'exit').then(([code]) => code) };
  child.stdout.on('data', (text) => (running.out += text));
  child.stderr.on('data', (text) => (running.err += text));
  child.stdin.end(input);
  return running;
}

/** A server that gives these answers one after the other, each `[status, headers, body]`, and when it was asked. */
async function openAnswers(t, answers) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push({ at: performance.now(), path: request.url });
    const [status, headers, body] = answers[Math.min(asked.length, answers.length) - 1];
    request.resume().on('end', () => response.writeHead(status, headers).end(body));
  });
  await new Promise((listening) => server.listen(0, 'localhost', listening));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return { url: `http://localhost:${server.address().port}`, asked };
}

const data = (events) => events.filter(({ event }) => event === null).map(({ data }) => data).join('');

test('a name in any script takes an answer, and an address may end with a slash', async (t) => {
  const hub = await Hub.open(t);
  for (const channel of ['答え:1', '答'.repeat(85)]) {
    const producer = run(t, ANSWER, [`${hub.url}/`, channel], { input: 'once upon a time' });
    assert.equal(await producer.ended, 0, producer.err);
    assert.equal(producer.out, `${hub.url}/assets/answer.html?channel=${encodeURIComponent(channel)}\n`);
    const events = await hub.history(channel);
    assert.equal(data(events), 'once upon a time');
    assert.deepEqual(events.at(-1).data, { channel, reason: 'done', data: { tokens: 4 } });
  }
});

test('without a channel each answer has one of its own', async (t) => {
  const hub = await Hub.open(t);
  const channels = new Set();
  for (const input of ['one', 'two']) {
    const producer = run(t, ANSWER, [hub.url], { input });
    assert.equal(await producer.ended, 0, producer.err);
    const channel = new URL(producer.out.trim()).searchParams.get('channel');
    assert.equal(data(await hub.history(channel)), input);
    channels.add(channel);
  }
  assert.equal(channels.size, 2);
});

test('a hub that is down is waited for, and that is said once', async (t) => {
  const hub = await Hub.open(t);
  await hub.stop();
  const producer = run(t, ANSWER, [hub.url, 'story'], { input: 'once upon a time' });
  const backend = run(t, SNAPSHOT, [hub.url, await freePort()], { CHANGES: '5' });
  await until('both say it', async () => /ECONNREFUSED/.test(producer.err) && /ECONNREFUSED/.test(backend.err));
  await hub.start();
  assert.equal(await producer.ended, 0);
  await until('all changes are made', async () => /5 changes are made/.test(backend.out));
  for (const { err } of [producer, backend]) assert.equal(err, `waiting for ${hub.url}: ECONNREFUSED\n`);
  assert.equal(data(await hub.history('story')), 'once upon a time');
  assert.equal((await hub.history('orders')).length, 5);
});

test('what passes is tried again, when the hub says so', async (t) => {
  const problem = JSON.stringify({ detail: 'not so fast' });
  const asItMay = [[429, { 'Retry-After': '1' }, problem], [408, {}, problem], [507, { 'Retry-After': '1' }, 'no JSON']];
  const taken = [200, {}, '{"fence":1}'];
  for (const [program, options] of [[ANSWER, ['story']], [SNAPSHOT, [await freePort()]]]) {
    const { url, asked } = await openAnswers(t, [...asItMay, taken]);
    const running = run(t, program, [url, ...options], { CHANGES: '1' });
    await until('it is done', async () => asked.length >= 4 && /\n/.test(running.out));
    const waited = asked.slice(1).map(({ at }, index) => at - asked[index].at);
    assert(waited[0] >= 990 && waited[2] >= 990, `it waits as long as it is told: ${waited}`);
    assert(waited[1] >= 490, `and some time where it is told nothing: ${waited}`);
    assert.equal(new Set(asked.slice(0, 4).map(({ path }) => path)).size, 1, 'it asks the same');
    assert.equal(running.err, `waiting for ${url}: not so fast\nwaiting for ${url}: the answer was 507\n`);
  }
});

test('what does not pass ends it in one line', async (t) => {
  const { url } = await openAnswers(t, [[404, {}, '<h1>no hub here</h1>']]);
  const producer = run(t, ANSWER, [url], { input: 'once' });
  assert.equal(await producer.ended, 1);
  assert.equal(producer.err, 'after 0 of 1 tokens: the answer was 404\n');
  const backend = run(t, SNAPSHOT, [url, await freePort()]);
  assert.equal(await backend.ended, 1);
  assert.equal(backend.err, 'the answer was 404\n');
  for (const program of [ANSWER, SNAPSHOT]) {
    for (const address of ['localhost:8080', 'hub', 'http://']) {
      const running = run(t, program, [address]);
      assert.equal(await running.ended, 2);
      assert.equal(running.err, `${address} is no hub: it must look like http://localhost:8080\n`);
    }
  }
});
