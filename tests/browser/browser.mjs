// The browser: one Chromium for a file of tests, and the first page as a person sees it.
//
// `evil.example` is this machine too, so that a test has a web site whose origin is not a loopback one.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { chromium } from 'playwright-core';
import { until } from './harness.mjs';

const EXECUTABLE = process.env.FANFARE_BROWSER ?? '/usr/bin/chromium';

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  '--no-proxy-server',
  '--host-resolver-rules=MAP evil.example 127.0.0.1',
];

/** @type {Promise<import('playwright-core').Browser>|undefined} */
let browser;
after(async () => (await browser)?.close());

/**
 * A tab with nothing in it and no memory of other tabs; it closes with the test.
 * @param {import('node:test').TestContext} test
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function openTab(test, options) {
  browser ??= chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
  const context = await (await browser).newContext(options);
  test.after(() => context.close());
  return context.newPage();
}

/**
 * Does something while the browser reaches nothing, so that its next try can't come in between.
 * @param {import('playwright-core').Page} tab
 * @param {() => Promise<void>} work
 */
export async function whileOffline(tab, work) {
  await tab.context().setOffline(true);
  await work();
  await tab.context().setOffline(false);
}

/** The hub's first page. */
export class FirstPage {
  /** What no visitor should meet: errors, failed requests, violations of the content security policy. */
  problems = [];

  /** @param {import('playwright-core').Page} tab */
  constructor(tab) {
    this.tab = tab;
    tab.on('console', (message) => message.type() === 'error' && this.problems.push(message.text()));
    tab.on('pageerror', (error) => this.problems.push(String(error)));
    tab.on('requestfailed', (request) => this.problems.push(`${request.url()}: ${request.failure()?.errorText}`));
    tab.on('response', (answer) => answer.status() >= 400 && this.problems.push(`${answer.url()}: ${answer.status()}`));
  }

  /**
   * Opens the page of a hub and waits until it is live.
   * @param {import('node:test').TestContext} test
   * @param {import('./harness.mjs').Hub} hub
   * @param {import('playwright-core').BrowserContextOptions} [options]
   */
  static async open(test, hub, options) {
    const page = new FirstPage(await openTab(test, options));
    await page.tab.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => {
        console.error(`forbidden by ${event.violatedDirective}: ${event.blockedURI}`);
      });
    });
    await page.tab.goto(hub.url);
    await page.becomes('live');
    return page;
  }

  /**
   * What has this `data-testid`.
   * @param {string} id
   */
  part(id) {
    return this.tab.getByTestId(id);
  }

  /**
   * What the page says about itself in the `data-` attributes of its body.
   * @returns {Promise<Record<string, string>>}
   */
  async says() {
    return this.tab.evaluate(() => ({ ...document.body.dataset }));
  }

  /** @param {'connecting'|'live'|'reconnecting'|'closed'} state */
  async becomes(state) {
    await until(`the page is ${state}`, async () => (await this.says()).state === state);
  }

  /** What stands in the list, oldest first. */
  async messages() {
    return this.tab.evaluate(() =>
      [...document.querySelectorAll('#list > li')]
        .map((row) => ({
          id: row.getAttribute('data-id'),
          event: row.getAttribute('data-event'),
          text: row.querySelector('.data')?.textContent ?? row.textContent,
        }))
        .reverse(),
    );
  }

  /**
   * Waits until the list shows what the channel's history has, and nothing else: all of it, once, in order.
   * @param {import('./harness.mjs').Hub} hub
   * @param {string[]} texts  what was published
   */
  async showsAll(hub, texts) {
    const last = texts.at(-1);
    await until(`${last} is in the list`, async () => (await this.messages()).some(({ text }) => text === last));
    const stored = await hub.history('news');
    assert.deepEqual(stored.map(({ data }) => data), texts);
    const shown = await this.messages();
    assert.deepEqual(shown.map(({ id, text }) => [id, text]), stored.map(({ id, data }) => [id, data]));
    const { inOrder, gaps } = await this.says();
    assert.deepEqual({ inOrder, gaps }, { inOrder: 'true', gaps: '0' });
  }
}
