// The page of docs/subscriptions.md, as it stands there: rooms that are entered and left on one stream.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openTab, whileOffline } from './browser.mjs';
import { Hub, until } from './harness.mjs';
import { openSite } from './site.mjs';

const DOCUMENT = readFileSync(new URL('../../docs/subscriptions.md', import.meta.url), 'utf8');

/** Where the documented page looks for its hub. */
const HUB = '"http://localhost:8080"';

/** The documented page for another hub. */
function documented(hub) {
  const page = /```html\n(.*?)```/s.exec(DOCUMENT)?.[1] ?? '';
  assert(page.includes(HUB), `the documented page has no ${HUB}`);
  return page.replace(HUB, `"${hub.url}"`);
}

/** A tab with the documented page, and everything that goes wrong there. */
async function openRooms(t, hub) {
  const tab = await openTab(t);
  const errors = [];
  tab.on('pageerror', (error) => errors.push(String(error)));
  const site = `http://localhost:${await openSite(t, documented(hub))}`;
  await tab.goto(`${site}/rooms`);
  const lines = () => tab.locator('#lines li').allTextContents();
  return {
    tab,
    site,
    errors,
    lines,
    enter: async (room) => {
      await tab.locator('input').fill(room);
      await tab.locator('form button').click();
    },
    rooms: () => tab.locator('#rooms button').allTextContents(),
    shows: (what, expected) => until(what, async () => String(await lines()) === String(expected)),
  };
}

const texts = (room, from, upto) => Array.from({ length: upto - from + 1 }, (_, at) => `${room} ${from + at}`);
const shown = (room, from, upto) => texts(room, from, upto).map((text) => `${room}: ${text}`);
const isOpen = (hub) => until('the stream is open', async () => (await hub.stats()).streams === 1);

test('after the hub was killed a room has everything once, however much came, and so has one in which nothing had', async (t) => {
  const hub = await Hub.open(t);
  await hub.publishAll('tea', texts('tea', 1, 60));
  const { tab, enter, lines, shows, errors } = await openRooms(t, hub);
  await isOpen(hub);
  await enter('tea');
  await shows('the last fifty', shown('tea', 11, 60));
  await enter('quiet');
  await until('both are followed', async () => (await hub.channel('quiet')).streams === 1);
  await hub.publishAll('tea', texts('tea', 61, 70));
  await shows('what is new', shown('tea', 11, 70));
  await hub.kill9();
  await whileOffline(tab, async () => {
    await hub.start();
    await hub.publishAll('tea', texts('tea', 71, 130));
    await hub.publishAll('quiet', texts('quiet', 1, 60));
  });
  const of = async (room) => (await lines()).filter((line) => line.startsWith(`${room}: `));
  await until('all of it came', async () => (await lines()).length >= 180);
  await hub.publish('quiet', 'quiet 61');
  await until('and goes on', async () => (await of('quiet')).length >= 61);
  assert.deepEqual(await of('tea'), shown('tea', 11, 130));
  assert.deepEqual(await of('quiet'), shown('quiet', 1, 61));
  assert.deepEqual(errors, []);
});

test('a reload begins with the last of each room, and a room that was left is left', async (t) => {
  const hub = await Hub.open(t);
  await hub.publishAll('tea', texts('tea', 1, 3));
  await hub.publishAll('milk', texts('milk', 1, 3));
  const { tab, enter, rooms, shows, errors } = await openRooms(t, hub);
  await isOpen(hub);
  await enter('tea');
  await enter('milk');
  await shows('both rooms', [...shown('tea', 1, 3), ...shown('milk', 1, 3)]);
  await tab.getByText('Leave milk').click();
  await until('it is left', async () => (await hub.channel('milk')).streams === 0);
  await tab.reload();
  assert.deepEqual(await rooms(), ['Leave tea']);
  await shows('the room once more', shown('tea', 1, 3));
  await hub.publish('milk', 'milk 4');
  await hub.publish('tea', 'tea 4');
  await shows('what is new of it', shown('tea', 1, 4));
  assert.deepEqual(errors, []);
});

test('another page of the site has rooms of its own, in the same tab', async (t) => {
  const hub = await Hub.open(t);
  await hub.publish('tea', 'tea 1');
  const { tab, site, enter, rooms, shows, errors } = await openRooms(t, hub);
  await isOpen(hub);
  await enter('tea');
  await shows('the room', shown('tea', 1, 1));
  await tab.goto(`${site}/another`);
  assert.deepEqual(await rooms(), []);
  await until('the other stream has the lobby', async () => (await hub.channel('lobby')).streams === 1);
  await hub.publish('tea', 'tea 2');
  await hub.publish('lobby', 'all');
  await shows('the lobby alone', ['lobby: all']);
  await tab.goto(`${site}/rooms`);
  await shows('the room of the first page', shown('tea', 1, 2));
  assert.deepEqual(errors, []);
});

test('a room that is entered before there is a stream is there when it opens', async (t) => {
  const hub = await Hub.open(t);
  await hub.publish('tea', 'tea 1');
  await hub.stop();
  const { enter, rooms, shows, errors } = await openRooms(t, hub);
  await enter('tea');
  assert.deepEqual(await rooms(), ['Leave tea']);
  await hub.start();
  await shows('the room', shown('tea', 1, 1));
  assert.deepEqual(errors, []);
});
