// A streamed answer: publishes a text token by token, with a fence, and ends it. Needs Node 20 and nothing else.
//
//   node examples/streamed-answer.mjs [hub] [channel] < some.txt
//
// It says where to look at it; reload, cut, restart as you like. Without a channel it takes a new one, since a channel
// that has ended takes no more.

import { randomUUID } from 'node:crypto';

const [address = 'http://localhost:8080', channel = `answer:${randomUUID().slice(0, 8)}`] = process.argv.slice(2);
if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
  console.error(`${address} is no hub: it must look like http://localhost:8080`);
  process.exit(2);
}
const hub = address.replace(/\/+$/, '');
const base = `${hub}/channels/${encodeURIComponent(channel)}`;
const pause_ms = Number(process.env.PAUSE_MS ?? 40);

/** Statuses below 500 that get better by themselves: too slow, too often. */
const PASSING = [408, 429];

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Why it waits, as it was said last: once is enough, of a hub that is down or an address with a slip in it. */
let said = '';

/** Asks until there is an answer: a hub that is restarted, or whose disk fails, is back in a moment. */
async function post(path, data, headers = {}) {
  for (;;) {
    let answer, why;
    try {
      answer = await fetch(base + path, { method: 'POST', body: data, headers });
      if (answer.ok) return await answer.json();
      // What a proxy answers in the hub's stead is no JSON.
      why = (await answer.json().catch(() => ({}))).detail ?? `the answer was ${answer.status}`;
    } catch (error) {
      why = error.cause?.code ?? error.message;
    }
    // `fenced`: another producer has taken over. `ended`: it has been called off. Neither gets better.
    if (answer && !answer.ok && answer.status < 500 && !PASSING.includes(answer.status)) throw new Error(why);
    if (why !== said) console.error(`waiting for ${hub}: ${why}`);
    said = why;
    await pause(Number(answer?.headers.get('Retry-After')) * 1000 || 500);
  }
}

let text = '';
for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
const tokens = text.match(/\s*\S+|\s+$/gu) ?? [];

/** Names this run's tokens, whatever letters the channel's name has: headers take few. */
const run = randomUUID();
let at = 0;
try {
  const { fence } = await post('/producer');
  console.log(`${hub}/assets/answer.html?channel=${encodeURIComponent(channel)}`);
  for (const token of tokens) {
    // The key makes a second try harmless: nobody knows what became of a request whose answer was lost.
    await post(`?fence=${fence}`, token, { 'Content-Type': 'text/plain', 'Idempotency-Key': `${run} ${at}` });
    at += 1;
    await pause(pause_ms);
  }
  // With the number of tokens, so that a reader knows whether it has them all.
  await post('/end', JSON.stringify({ reason: 'done', data: { tokens: at }, fence }), { 'Content-Type': 'application/json' });
} catch (error) {
  console.error(`after ${at} of ${tokens.length} tokens: ${error.message}`);
  process.exitCode = 1;
}
