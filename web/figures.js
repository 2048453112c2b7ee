// The figures: the large current numbers beside the plots, and the small facts above them.
//
// Shows one sample, the newest or the one under the pointer, and says when it is out of date.

import { NONE, bytes, clock, duration, percent, plural } from './format.js';

/** @typedef {import('./samples.js').Sample} Sample */
/** @typedef {import('./samples.js').Hole} Hole */

/** After this long without a new sample the figures are greyed: they are no longer current. */
const STALE_MS = 6_000;

export class Figures {
  #panel = /** @type {HTMLElement} */ (document.getElementById('machine'));
  #when = /** @type {HTMLElement} */ (document.getElementById('figures-when'));
  #holes = /** @type {HTMLElement} */ (document.getElementById('holes'));

  /**
   * @param {Sample|undefined} sample
   * @param {number} now_ms   by the hub's clock
   * @param {boolean} pointed whether someone points at this sample
   */
  show(sample, now_ms, pointed) {
    const metrics = sample?.metrics;
    figure('cpu', percent(metrics?.cpu?.usage));
    figure('memory', percent(metrics?.memory?.percentage));
    for (const way of /** @type {const} */ (['received', 'sent'])) figure(way, rate(metrics?.network?.[way]));
    for (const way of /** @type {const} */ (['read', 'written'])) figure(way, rate(metrics?.disk?.[way]));

    text('note-cpu', cores(metrics?.cpu?.cores));
    text('note-memory', free(metrics?.memory));
    text('fact-uptime', duration(metrics?.uptime));
    text('fact-load', metrics?.load?.map((load) => load.toFixed(2)).join('  ') ?? NONE);
    text('fact-memory', share(metrics?.memory));
    text('fact-disk', share(metrics?.disk));

    const stale = !pointed && sample !== undefined && now_ms - sample.time > STALE_MS;
    this.#panel.classList.toggle('stale', stale);
    this.#panel.classList.toggle('pointed', pointed);
    this.#when.textContent = sample && (pointed || stale) ? `as of ${clock(sample.time)}` : 'last five minutes';
  }

  /** @param {readonly Hole[]} holes */
  tellHoles(holes) {
    const hole = holes.at(-1);
    this.#holes.textContent = hole ? `${clock(hole.from)}–${clock(hole.to)}: ${hole.text}` : '';
    document.body.dataset.holes = String(holes.length);
  }
}

/**
 * @param {string} name
 * @param {[string, string]} figure  number and unit
 */
function figure(name, [number, unit]) {
  text(`figure-${name}`, number);
  text(`unit-${name}`, unit);
}

/**
 * @param {number|undefined} count  bytes per second
 * @returns {[string, string]}
 */
function rate(count) {
  const [number, unit] = bytes(count);
  return [number, unit && `${unit}/s`];
}

/** @param {{used: number, total: number}|undefined} part */
function share(part) {
  if (!part) return NONE;
  const [used, usedUnit] = bytes(part.used);
  const [total, unit] = bytes(part.total);
  return `${used}${usedUnit === unit ? '' : ` ${usedUnit}`} of ${total} ${unit}`;
}

/** @param {{used: number, total: number}|undefined} part */
function free(part) {
  return part ? `${bytes(part.total - part.used).join(' ')} free` : NONE;
}

/** @param {number[]|undefined} usages */
function cores(usages) {
  if (!usages?.length) return NONE;
  if (usages.length === 1) return '1 core';
  return `${plural(usages.length, 'core')}, ${Math.min(...usages).toFixed(0)}–${Math.max(...usages).toFixed(0)} %`;
}

/**
 * @param {string} id
 * @param {string} value
 */
function text(id, value) {
  const element = /** @type {HTMLElement} */ (document.getElementById(id));
  if (element.textContent !== value) element.textContent = value;
}
