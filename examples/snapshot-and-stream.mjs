// Rows of one's own and their changes, without a hole: a backend that has a table, changes it and publishes each change,
// and a page that shows the rows as they are and stays right from then on. Needs Node 20 and nothing else.
//
//   node examples/snapshot-and-stream.mjs [hub] [port]
//
// Open http://localhost:3000, reload, restart the hub as you like. How it works: docs/snapshots.md.

import { createServer } from 'node:http';

const [address = 'http://localhost:8080', port = '3000'] = process.argv.slice(2);
if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
  console.error(`${address} is no hub: it must look like http://localhost:8080`);
  process.exit(2);
}
const hub = address.replace(/\/+$/, '');
const setting = (name, otherwise) => Number(process.env[name] ?? otherwise);
const [rows, changes, writers] = [setting('ROWS', 20), setting('CHANGES', Infinity), setting('WRITERS', 1)];
const pause_ms = setting('PAUSE_MS', 200);

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const below = (count) => Math.floor(Math.random() * count);

// --- the table; a database in real life ---------------------------------------------------------------------------------

/** Rows by id. One that was removed stays, with its version, so that no older change brings it back. */
const orders = new Map(Array.from({ length: rows }, (_, id) => [id, { id, version: 1, pieces: below(1000) }]));

/** Changes a row, and returns it as it is now. Each change gives it a higher version. */
function change(id) {
  const version = orders.get(id).version + 1;
  const row = below(8) === 0 ? { id, version, removed: true } : { id, version, pieces: below(1000) };
  orders.set(id, row);
  return row;
}

// --- the backend --------------------------------------------------------------------------------------------------------

/** Statuses below 500 that get better by themselves: too slow, too often. */
const PASSING = [408, 429];

/** Why it waits, as it was said last: once is enough, of a hub that is down or an address with a slip in it. */
let said = '';

/** Asks until the hub has taken it: one that is restarted, or whose disk fails, is back in a moment. */
async function publish(row) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': `orders ${started} ${row.id} ${row.version}` };
  for (;;) {
    let answer, why;
    try {
      answer = await fetch(`${hub}/channels/orders`, { method: 'POST', headers, body: JSON.stringify(row) });
      if (answer.ok) return;
      // What a proxy answers in the hub's stead is no JSON.
      why = (await answer.json().catch(() => ({}))).detail ?? `the answer was ${answer.status}`;
    } catch (error) {
      why = error.cause?.code ?? error.message;
    }
    if (answer && answer.status < 500 && !PASSING.includes(answer.status)) throw new Error(why);
    if (why !== said) console.error(`waiting for ${hub}: ${why}`);
    said = why;
    await pause(Number(answer?.headers.get('Retry-After')) * 1000 || 500);
  }
}

/** Versions begin anew with each start of this program, and so do the keys that make a second try harmless. */
const started = Date.now();
let left = changes;

/** First the table, then the hub: what the hub has, the table has too. */
async function write() {
  while (left-- > 0) {
    await publish(change(below(rows)));
    await pause(pause_ms);
  }
}

// --- the page -----------------------------------------------------------------------------------------------------------

/**
 * Shows all rows, then each that changes. Runs in the page, which is sent its source.
 * @param {string} hub
 * @param {(row: {id: number, version: number, removed?: true, pieces?: number}) => void} show
 */
async function follow(hub, show) {
  const versions = new Map();
  const apply = (row) => {
    if (row.version <= (versions.get(row.id) ?? 0)) return; // The table had it already.
    versions.set(row.id, row.version);
    show(row);
  };
  const { cursor } = await (await fetch(`${hub}/channels/orders`)).json(); // 1. where the hub is
  const rows = await (await fetch('/api/orders')).json(); // 2. your own database
  rows.forEach(apply);
  // 3. everything since 1. What is published to everyone is no row.
  const source = new EventSource(`${hub}/events?channel=orders&everyone=no&as=json&since=${cursor}`);
  source.onmessage = ({ data }) => apply(JSON.parse(data).data);
  source.addEventListener('fanfare.gap', () => location.reload());
  return source;
}

const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Orders</title>
<table></table>
<script type="module">
import { follow } from '/follow.mjs';
const lines = new Map();
const line = (id) => lines.get(id) ?? lines.set(id, document.querySelector('table').insertRow()).get(id);
follow(${JSON.stringify(hub)}, ({ id, pieces, removed }) => {
  line(id).textContent = removed ? '' : \`order \${id}: \${pieces} pieces\`;
});
</script>`;

const server = createServer(({ url }, answer) => {
  const [type, body] = {
    '/': ['text/html', () => page],
    '/api/orders': ['application/json', () => JSON.stringify([...orders.values()])],
    '/follow.mjs': ['text/javascript', () => `export ${follow}`],
  }[url] ?? ['text/plain', () => 'nothing here'];
  answer.setHeader('Content-Type', type);
  answer.end(body());
});
server.listen(Number(port), 'localhost', () => console.log(`http://localhost:${server.address().port}`));

try {
  await Promise.all(Array.from({ length: writers }, write));
  console.log(`${changes} changes are made`);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
