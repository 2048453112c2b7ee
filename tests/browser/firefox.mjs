// Firefox, driven through WebDriver BiDi by the little that these tests need of it. playwright-core drives a Firefox of its
// own making, and asks Debian's for commands that it doesn't have.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import WebSocket from 'ws';

const EXECUTABLE = process.env.FANFARE_FIREFOX ?? '/usr/bin/firefox-esr';

/** A browser that was just installed on a busy machine takes its time. */
const START_MS = 60_000;

/** What a browser does by itself, switched off, and names that are this machine. */
const PREFERENCES = {
  'app.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.localDomains': 'hub.example.com',
  'network.proxy.type': 0,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
};

/** @type {Set<Firefox>} */
const running = new Set();
process.on('exit', () => {
  for (const firefox of running) firefox.vanish();
});

class Firefox {
  #folder = mkdtempSync(join(tmpdir(), 'fanfare-firefox-'));
  /** @type {import('node:child_process').ChildProcess|undefined} */
  #child;
  /** @type {WebSocket|undefined} */
  #socket;
  #asked = 0;
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();

  async start() {
    running.add(this);
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`);
    writeFileSync(join(this.#folder, 'user.js'), lines.join(''));
    const options = ['--headless', '--no-remote', '--profile', this.#folder, '--remote-debugging-port', '0'];
    const child = spawn(EXECUTABLE, options, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, HOME: this.#folder, MOZ_CRASHREPORTER_DISABLE: '1' },
    });
    this.#child = child;
    let log = '';
    const said = new Promise((resolve) => {
      createInterface(child.stderr).on('line', (line) => {
        log += `${line}\n`;
        const [, url] = /WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? [];
        if (url) resolve(url);
      });
    });
    const fails = Promise.race([
      once(child, 'exit').then(([code]) => assert.fail(`Firefox ended with ${code}:\n${log}`)),
      once(child, 'error').then(([error]) => assert.fail(`Firefox does not start: ${error.message}`)),
    ]);
    fails.catch(() => {}); // Once it listens, its end is wanted.
    const url = await Promise.race([said, fails, late('Firefox does not listen')]);
    this.#socket = new WebSocket(`${url}/session`);
    this.#socket.on('message', (text) => this.#heard(JSON.parse(String(text))));
    await once(this.#socket, 'open');
    await this.ask('session.new', { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    return this;
  }

  #heard({ id, type, result, error, message }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === 'success') waiting?.resolve(result);
    else if (type === 'error') waiting?.reject(new Error(`${error}: ${message}`));
  }

  /**
   * Sends a command (https://w3c.github.io/webdriver-bidi/) and waits for its result.
   * @param {string} method
   * @param {object} params
   */
  async ask(method, params) {
    this.#asked += 1;
    const id = this.#asked;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#socket?.send(JSON.stringify({ id, method, params }));
    return answer;
  }

  vanish() {
    running.delete(this);
    this.#socket?.terminate();
    this.#child?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** @param {string} what */
const late = (what) => new Promise((_, reject) => setTimeout(() => reject(new Error(what)), START_MS).unref());

/** @type {Promise<Firefox>|undefined} */
let firefox;
after(async () => (await firefox)?.vanish());

/**
 * A tab of Firefox that knows of no other; it closes with the test.
 * @param {import('node:test').TestContext} test
 */
export async function openFirefoxTab(test) {
  firefox ??= new Firefox().start();
  const browser = await firefox;
  const { userContext } = await browser.ask('browser.createUserContext', {});
  test.after(() => browser.ask('browser.removeUserContext', { userContext }));
  const { context } = await browser.ask('browsingContext.create', { type: 'tab', userContext });
  return new FirefoxTab(browser, context);
}

/** The part of playwright's `Page` that tests of both browsers use. */
class FirefoxTab {
  /**
   * @param {Firefox} browser
   * @param {string} context
   */
  constructor(browser, context) {
    this.browser = browser;
    this.context = context;
  }

  /** @param {string} url */
  async goto(url) {
    await this.browser.ask('browsingContext.navigate', { context: this.context, url, wait: 'complete' });
  }

  /**
   * Runs a function in the page and returns what it gave, by way of JSON.
   * @param {(argument?: any) => any} work
   * @param {any} [argument]
   */
  async evaluate(work, argument) {
    const { type, result, exceptionDetails } = await this.browser.ask('script.evaluate', {
      expression: `(async () => JSON.stringify(await (${work})(${JSON.stringify(argument)})))()`,
      target: { context: this.context },
      awaitPromise: true,
    });
    assert.equal(type, 'success', exceptionDetails?.text);
    return result.type === 'undefined' ? undefined : JSON.parse(result.value);
  }

  async title() {
    return this.evaluate(() => document.title);
  }
}
