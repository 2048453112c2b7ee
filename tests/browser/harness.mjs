// The hub under test: the real binary in a process of its own, with its own port and its own data folder.
//
// Tests tell a story with it: start, publish, kill, start again, read the history. Requests go out as curl's do, each
// on a connection of its own, so that a hub that went away leaves no half-dead connection behind.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as requestEncrypted } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** The hub under test. */
export const BINARY = process.env.FANFARE_BINARY ?? fileURLToPath(new URL('../../target/debug/fanfare', import.meta.url));

/** Longer than any condition takes on a busy machine; a test that waits this long has failed. */
const PATIENCE_MS = 30_000;

/** Between two looks at a condition. */
const LOOK_MS = 50;

/** The ports to choose from: none that an outgoing connection could be given while a hub is down. */
const PORTS = { first: 20_000, count: 12_000 };

/** Hubs that are there now. None may outlive the tests, however these end. */
const hubs = new Set();
process.on('exit', () => {
  for (const hub of hubs) hub.vanish();
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export class Hub {
  /** @type {import('node:child_process').ChildProcess|null} */
  #child = null;
  #port = 0;
  #folder = mkdtempSync(join(tmpdir(), 'fanfare-test-'));
  #log = '';
  /** What makes it speak TLS: options of its command line. */
  #tls = [];
  /** More of those. */
  #flags = [];

  /**
   * A hub that runs, and is gone with its data once the test has ended.
   * @param {import('node:test').TestContext} test
   * @param {{tls?: boolean, flags?: string[], settings?: string}} [options]  with `tls` it has a certificate that it
   *   signed itself; `flags` are for its command line, `settings` are the text of its file
   */
  static async open(test, { tls = false, flags = [], settings } = {}) {
    const hub = new this();
    hubs.add(hub);
    test.after(() => hub.vanish());
    hub.#port = await freePort();
    hub.#flags = flags;
    if (tls) hub.#tls = makeCertificate(hub.#folder);
    if (settings) {
      const file = join(hub.#folder, 'hub.toml');
      writeFileSync(file, settings);
      hub.#flags = [...flags, '--config', file];
    }
    await hub.start();
    return hub;
  }

  /** Where browsers and publishers find it. */
  get url() {
    return `${this.#tls.length > 0 ? 'https' : 'http'}://localhost:${this.#port}`;
  }

  /** The folder of its data. */
  get data() {
    return join(this.#folder, 'data');
  }

  get port() {
    return this.#port;
  }

  /** Starts the process, for the first time or again: same port, same data. Returns once it accepts connections. */
  async start() {
    assert.equal(this.#child, null, 'the hub runs already');
    const options = ['--listen', `localhost:${this.#port}`, '--data', this.data, ...this.#tls, ...this.#flags];
    const child = spawn(BINARY, options, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    child.stderr.on('data', (text) => {
      this.#log += text;
    });
    const listens = new Promise((listening) => {
      createInterface(child.stdout).on('line', (line) => line.startsWith('listening on http') && listening(true));
    });
    const fails = once(child, 'exit').then(([code]) => assert.fail(`the hub ended with ${code}:\n${this.#log}`));
    await Promise.race([listens, fails]);
    fails.catch(() => {}); // From now on its end is wanted.
  }

  /** Ends it as an operator does (SIGTERM). */
  async stop() {
    assert.equal(await this.#end('SIGTERM'), 0, `the hub did not end in order:\n${this.#log}`);
  }

  /** Ends it as a crash does (SIGKILL): it gets no chance to say anything. */
  async kill9() {
    await this.#end('SIGKILL');
  }

  /** @param {NodeJS.Signals} signal */
  async #end(signal) {
    const child = this.#child;
    assert(child, 'the hub runs');
    const [code] = await new Promise((ended) => {
      child.once('exit', (...how) => ended(how));
      child.kill(signal);
    });
    this.#child = null;
    return code;
  }

  /** Ends it, if it runs, and removes its data. */
  vanish() {
    hubs.delete(this);
    this.#child?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }

  /**
   * Publishes one event and returns its receipt.
   * @param {string} channel
   * @param {string} data
   * @param {{event?: string, type?: string}} [options]
   */
  async publish(channel, data, { event, type } = {}) {
    const query = event ? `?event=${encodeURIComponent(event)}` : '';
    const headers = type ? { 'Content-Type': type } : {};
    return this.#ask('POST', `/channels/${encodeURIComponent(channel)}${query}`, headers, data);
  }

  /**
   * Publishes several texts, one after the other.
   * @param {string} channel
   * @param {string[]} texts
   */
  async publishAll(channel, texts) {
    for (const text of texts) await this.publish(channel, text);
  }

  /**
   * Publishes what only JSON can say, and returns the receipt.
   * @param {Record<string, unknown>} item
   */
  async publishItem(item) {
    return this.#ask('POST', '/publish', { 'Content-Type': 'application/json' }, JSON.stringify(item));
  }

  /**
   * Ends a channel and returns the receipt.
   * @param {string} channel
   * @param {{reason?: string, data?: unknown}} [how]
   */
  async end(channel, how = {}) {
    return this.#ask('POST', `/channels/${encodeURIComponent(channel)}/end`, {}, JSON.stringify(how));
  }

  /**
   * Publishes a message to a user and returns its receipt.
   * @param {string} user
   * @param {string} data
   */
  async send(user, data) {
    return this.#ask('POST', `/inbox/${encodeURIComponent(user)}`, {}, data);
  }

  /**
   * What waits for a user.
   * @param {string} user
   */
  async inbox(user) {
    return this.#ask('GET', `/inbox/${encodeURIComponent(user)}?limit=1000`);
  }

  /**
   * All events that a channel has, oldest first.
   * @param {string} channel
   */
  async history(channel) {
    const page = await this.#ask('GET', `/history?channel=${encodeURIComponent(channel)}&limit=1000`);
    assert.equal(page.next, null, 'one page holds the history of a test');
    return page.events;
  }

  /** What the hub has counted since its start. */
  async stats() {
    return this.#ask('GET', '/stats');
  }

  /**
   * What is known of a channel.
   * @param {string} name
   */
  async channel(name) {
    return this.#ask('GET', `/channels/${encodeURIComponent(name)}`);
  }

  /** The names of all channels. */
  async channels() {
    return (await this.#ask('GET', '/channels')).channels;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Record<string, string>} [headers]
   * @param {string} [body]
   */
  async #ask(method, path, headers = {}, body = '') {
    const ask = this.#tls.length > 0 ? requestEncrypted : request;
    const asked = ask(this.url + path, { method, headers, agent: false, rejectUnauthorized: false });
    asked.end(body);
    const [answer] = await once(asked, 'response');
    const text = (await answer.setEncoding('utf8').toArray()).join('');
    assert.equal(answer.statusCode, 200, `${method} ${path}: ${text}`);
    return JSON.parse(text);
  }
}

/**
 * Makes a certificate for localhost, signed by itself, and returns the options that make a hub use it.
 * @param {string} folder
 */
function makeCertificate(folder) {
  const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync('openssl', ['req', ...kind, ...name, '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  return ['--tls-certificate', certificate, '--tls-key', key];
}

/**
 * Waits until a condition holds, and returns what it gave.
 * @template T
 * @param {string} what  the condition, in words, for the failure
 * @param {() => T|Promise<T>} condition
 */
export async function until(what, condition) {
  const began = performance.now();
  for (;;) {
    const value = await condition();
    if (value) return value;
    const waited_ms = performance.now() - began;
    assert(waited_ms < PATIENCE_MS, `after ${Math.round(waited_ms / 1000)} s still not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** A port that nobody listens on, for IPv4 and IPv6. */
export async function freePort() {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const server = createServer();
    const bound = await new Promise((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, () => resolve(true));
    });
    if (!bound) continue;
    await new Promise((closed) => server.close(closed));
    return port;
  }
}
