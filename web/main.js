// The page: gives every part its place and leads what arrives to the parts that show it.
//
// One stream carries everything: events of the hub's own channel go to the plots, all others to the list.

import { Counters } from './counters.js';
import { Figures } from './figures.js';
import { List } from './list.js';
import { METRICS } from './paths.js';
import { Plots } from './plots.js';
import { Publish } from './publish.js';
import { Samples } from './samples.js';
import { Snippets } from './snippets.js';
import { State } from './state.js';
import { Stream } from './stream.js';

/** How often the time axis moves on, in ms; between two of these the line would move by less than a pixel. */
const TICK_MS = 500;

const counters = new Counters();
const figures = new Figures();
const list = new List();
const samples = new Samples();
const snippets = new Snippets();

/** @type {?import('./samples.js').Sample} The sample under the pointer. */
let pointed = null;
const plots = new Plots(samples, (sample) => {
  pointed = sample;
  showFigures();
});

const stream = new Stream({ event, gap, status, cursor: (cursor) => counters.cursor(cursor) });
const state = new State({ stop: () => stream.close(), start: () => stream.resume() });
const publish = new Publish({ follow, listen: (name) => stream.listen(name) });

follow(publish.channel);
setInterval(() => {
  samples.trim();
  counters.tick();
  draw();
}, TICK_MS);

/**
 * Follows a channel from five minutes ago; the figures come anew as well.
 * @param {string} channel
 */
function follow(channel) {
  samples.clear();
  counters.open();
  list.open(channel);
  snippets.open(channel);
  stream.open(channel);
}

/** @param {import('./stream.js').Envelope} envelope */
function event(envelope) {
  counters.event(envelope);
  const metrics = envelope.channel === METRICS && envelope.event === 'metrics';
  if (metrics) {
    samples.push({ time: envelope.time, metrics: envelope.data });
    drawSoon();
  }
  if (!metrics || publish.channel === METRICS) list.add(envelope);
}

/** @param {import('./stream.js').Gap} gap */
function gap(gap) {
  counters.gap(gap);
  list.addGap(gap);
  if (gap.channel === METRICS) samples.lose(gap.reason);
}

/** @param {import('./stream.js').Status} status */
function status(status) {
  const before = document.body.dataset.state;
  if (status.state === 'live' && before === 'reconnecting') counters.reconnected();
  state.show(status);
}

/** A stream that begins brings many figures at once; they are drawn together. */
let drawing = false;
function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function draw() {
  plots.draw();
  showFigures();
  figures.tellHoles(samples.holes);
}

function showFigures() {
  figures.show(pointed ?? samples.last, samples.now(), pointed !== null);
}
