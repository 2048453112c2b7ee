// A web site beside the hub: one page, served on a loopback port.

import { createServer } from 'node:http';
import { freePort } from './harness.mjs';

/**
 * Serves a page at all paths until the test has ended, and returns the port.
 * @param {import('node:test').TestContext} test
 * @param {string} body  HTML
 */
export async function openSite(test, body) {
  const server = createServer((_, answer) => {
    answer.setHeader('Content-Type', 'text/html; charset=utf-8');
    answer.end(`<!doctype html><link rel="icon" href="data:,"><title>A site</title>${body}`);
  });
  const port = await freePort();
  await new Promise((listening) => server.listen(port, listening));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return port;
}

/**
 * A page with a plain EventSource and nothing else: a line for each message, and in its title whether it is open or cut.
 * @param {import('./harness.mjs').Hub} hub
 * @param {string} query  of `GET /events`
 */
export const barePage = (hub, query) => `<ol></ol>
<script>
const stream = new EventSource('${hub.url}/events?${query}');
stream.onopen = () => { document.title = 'open'; };
stream.onerror = () => { document.title = 'cut'; };
stream.onmessage = (event) => {
  const line = document.createElement('li');
  line.textContent = event.data;
  document.querySelector('ol').append(line);
};
</script>`;
