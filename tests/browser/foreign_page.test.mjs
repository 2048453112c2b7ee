// Pages of other web sites: whatever a browser lets them send, none of it is published, and they hear nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTab } from './browser.mjs';
import { Hub, until } from './harness.mjs';
import { openSite } from './site.mjs';

/** A page with a form that sends into a frame, so that the page itself stays. */
const FORM = `<iframe name="frame"></iframe>
<form method="post" enctype="text/plain" target="frame"><input name="x"></form>`;

/** Everything by which a page can send a POST without asking first. */
const WAYS = 4;

/**
 * Sends in all these ways.
 * @param {import('playwright-core').Page} tab
 * @param {string} url
 */
async function attack(tab, url) {
  await tab.evaluate(async (url) => {
    await fetch(url, { method: 'POST', body: 'x', mode: 'no-cors' });
    const silent = { credentials: 'include', referrerPolicy: 'no-referrer' };
    await fetch(url, { method: 'POST', body: 'x', mode: 'no-cors', ...silent });
    if (!navigator.sendBeacon(url, 'x')) throw new Error('the beacon was not sent');
    const form = document.forms[0];
    form.action = url;
    form.submit();
  }, url);
}

/**
 * How many requests were refused for this reason.
 * @param {Hub} hub
 * @param {string} code
 */
const refused = async (hub, code) => (await hub.stats()).requests_refused[code] ?? 0;

/**
 * What is on the channel after a sentinel was published: nothing but the sentinel.
 * @param {Hub} hub
 */
async function onlySentinel(hub) {
  await hub.publish('news', 'sentinel');
  assert.deepEqual((await hub.history('news')).map(({ data }) => data), ['sentinel']);
}

test('a page of this machine publishes in every way that a page has', async (t) => {
  // The other tests would prove nothing if these ways led nowhere anyhow.
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  await tab.goto(`http://localhost:${await openSite(t, FORM)}/`);
  await attack(tab, `${hub.url}/channels/news`);
  await until('all of it arrived', async () => (await hub.history('news')).length === WAYS);
});

test('a page of another site publishes in none of them', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  await tab.goto(`http://evil.example:${await openSite(t, FORM)}/`);
  await attack(tab, `${hub.url}/channels/news`);
  await until('all of it was refused', async () => (await refused(hub, 'foreign_origin')) === WAYS);
  await onlySentinel(hub);
});

test('a frame without an origin publishes in none of them', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  const sends = `fetch("${hub.url}/channels/news", {method: "POST", body: "x", mode: "no-cors"})`;
  const frame = `<iframe sandbox="allow-scripts" srcdoc='<script>${sends}</script>'></iframe>`;
  await tab.goto(`http://localhost:${await openSite(t, frame)}/`);
  await until('it was refused', async () => (await refused(hub, 'foreign_origin')) === 1);
  await onlySentinel(hub);
});

test('a page of another site hears nothing', async (t) => {
  const hub = await Hub.open(t);
  await hub.publish('news', 'for friends');
  const tab = await openTab(t);
  await tab.goto(`http://evil.example:${await openSite(t, FORM)}/`);
  const outcome = await tab.evaluate(async (url) => {
    const source = new EventSource(`${url}/events?channel=news&since=start`);
    const stream = await new Promise((resolve) => {
      source.onopen = () => resolve('open');
      source.onmessage = ({ data }) => resolve(data);
      source.onerror = () => resolve(source.readyState === EventSource.CLOSED ? 'closed for good' : 'cut');
    });
    const history = await fetch(`${url}/history?channel=news`).then((answer) => answer.text(), () => 'unreadable');
    return { stream, history };
  }, hub.url);
  assert.deepEqual(outcome, { stream: 'closed for good', history: 'unreadable' });
  assert.equal(await refused(hub, 'foreign_origin'), 2);
  assert.equal((await hub.stats()).streams_opened, 0);
});

test('a foreign name that was pointed at this machine opens no door', async (t) => {
  const hub = await Hub.open(t);
  const tab = await openTab(t);
  const url = `http://evil.example:${hub.port}`;
  const answer = await tab.goto(`${url}/`);
  assert.equal(answer?.status(), 421);
  // The browser takes this for one origin, so the page may send what it likes and read the answers.
  const statuses = await tab.evaluate(async () => {
    const asked = [
      fetch('/channels/news', { method: 'POST', body: 'x' }),
      fetch('/publish', { method: 'POST', body: '{"channel":"news","data":"x"}' }),
      fetch('/events?channel=news'),
      fetch('/history?channel=news'),
      fetch('/channels'),
    ];
    return (await Promise.all(asked)).map(({ status }) => status);
  });
  assert.deepEqual(statuses, [421, 421, 421, 421, 421]);
  assert((await refused(hub, 'wrong_host')) >= 6);
  await onlySentinel(hub);
  assert.deepEqual((await hub.channels()).filter((name) => name !== '@system/metrics'), ['news']);
});
