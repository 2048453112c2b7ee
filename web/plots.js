// The plots: four small multiples on one time axis, drawn by uPlot.
//
// Colours come from the style sheet (custom properties), so light and dark need no code here. The plots know
// samples and holes; where these come from and what the figures beside them say is not their business.

import uPlot from './vendor/uPlot.esm.js';
import { clockMinute, bytes } from './format.js';
import { SPAN_MS } from './samples.js';

/** @typedef {import('./samples.js').Sample} Sample */
/** @typedef {import('./samples.js').Samples} Samples */

/**
 * One line of a plot.
 * @typedef {object} Line
 * @property {(sample: Sample) => number|null|undefined} value
 * @property {string} colour  name of a custom property
 * @property {string} [fill]  name of a custom property
 * @property {number} [width]
 */

/**
 * @typedef {object} Kind
 * @property {(cores: number) => Line[]} lines
 * @property {object} axis     uPlot's y axis
 * @property {Function} range  of the y scale
 * @property {boolean} [first] has the words about holes above it
 * @property {boolean} [last]  has the time axis below it
 */

const FONT = '11px system-ui, sans-serif';
const AXIS_TOP_PX = 18;
const AXIS_LEFT_PX = 52;
const AXIS_BOTTOM_PX = 24;

/** Room that a time of day takes on the axis. */
const TIME_PX = 34;

/** Narrower plots name every second minute only. */
const NARROW_PX = 320;

const PERCENT = {
  range: () => [0, 100],
  axis: { splits: () => [0, 50, 100], values: (_, splits) => splits.map((split) => `${split} %`) },
};

/** Steps of a byte scale: 1, 2, 4 … 512 of each unit, so that the ticks are round in KiB and MiB. */
const BYTE_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);

const RATE = {
  range: (_, __, max) => [0, Math.max(4096, (max ?? 0) * 1.08)],
  axis: {
    incrs: BYTE_STEPS,
    space: 24,
    values: (_, splits) => splits.map((split) => (split === 0 ? '0' : bytes(split).join(' ').replace('.0', ''))),
  },
};

/** @type {Record<string, Kind>} */
const KINDS = {
  cpu: {
    ...PERCENT,
    first: true,
    lines: (cores) => [
      ...Array.from({ length: cores }, (_, core) => ({
        value: ({ metrics }) => metrics.cpu?.cores?.[core],
        colour: '--line-faint',
        width: 1,
      })),
      { value: ({ metrics }) => metrics.cpu?.usage, colour: '--line-one', fill: '--fill-one' },
    ],
  },
  memory: {
    ...PERCENT,
    lines: () => [{ value: ({ metrics }) => metrics.memory?.percentage, colour: '--line-one', fill: '--fill-one' }],
  },
  network: {
    ...RATE,
    lines: () => [
      { value: ({ metrics }) => metrics.network?.received, colour: '--line-one', fill: '--fill-one' },
      { value: ({ metrics }) => metrics.network?.sent, colour: '--line-two' },
    ],
  },
  disk: {
    ...RATE,
    last: true,
    lines: () => [
      { value: ({ metrics }) => metrics.disk?.read, colour: '--line-one', fill: '--fill-one' },
      { value: ({ metrics }) => metrics.disk?.written, colour: '--line-two' },
    ],
  },
};

export class Plots {
  /** @type {Map<string, {kind: Kind, host: HTMLElement, lines: Line[], plot: uPlot}>} */
  #plots = new Map();
  /** @type {Samples} */
  #samples;
  /** @type {(Sample|null)[]} What the plots show now, by index. */
  #shown = [];
  /** Processor cores in the newest sample; another number means other lines. */
  #cores = 0;

  /** @type {(sample: ?Sample) => void} Told which sample is under the pointer. */
  #point;

  /**
   * @param {Samples} samples
   * @param {(sample: ?Sample) => void} point  called with the sample under the pointer, or none
   */
  constructor(samples, point) {
    this.#samples = samples;
    this.#point = point;
    for (const [name, kind] of Object.entries(KINDS)) {
      const host = /** @type {HTMLElement} */ (document.getElementById(`plot-${name}`));
      this.#plots.set(name, this.#build(kind, host));
      new ResizeObserver(() => this.#plots.get(name)?.plot.setSize(size(host))).observe(host);
    }
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  /** Draws the samples as they are now, and moves the time axis on to now. */
  draw() {
    const cores = this.#samples.last?.metrics.cpu?.cores?.length ?? this.#cores;
    if (cores !== this.#cores) this.#rebuild(cores);
    const { times, samples } = this.#samples.columns();
    this.#shown = samples;
    const now = this.#samples.now() / 1000;
    for (const { plot, lines } of this.#plots.values()) {
      const columns = lines.map(({ value }) => samples.map((sample) => (sample ? (value(sample) ?? null) : null)));
      plot.batch(() => {
        plot.setData([times, ...columns], false);
        plot.setScale('x', { min: now - SPAN_MS / 1000, max: now });
      });
    }
  }

  /** @param {number} cores */
  #rebuild(cores) {
    this.#cores = cores;
    const { kind, host, plot } = /** @type {any} */ (this.#plots.get('cpu'));
    plot.destroy();
    this.#plots.set('cpu', this.#build(kind, host));
  }

  /**
   * @param {Kind} kind
   * @param {HTMLElement} host
   */
  #build(kind, host) {
    const lines = kind.lines(this.#cores);
    const axis = { stroke: colour('--ink-soft'), font: FONT, ticks: { show: false }, grid: { stroke: colour('--rule'), width: 1 } };
    const plot = new uPlot(
      {
        ...size(host),
        padding: [kind.first ? AXIS_TOP_PX : 10, 0, kind.last ? 0 : 8, 0],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { show: false },
          sync: { key: 'time' },
        },
        scales: { x: { time: false, range: (_, min, max) => [min, max] }, y: { range: kind.range } },
        axes: [
          { ...axis, size: kind.last ? AXIS_BOTTOM_PX : 0, splits: minutes, values: kind.last ? times : () => [], gap: 6 },
          { ...axis, size: AXIS_LEFT_PX, gap: 8, ...kind.axis },
        ],
        series: [{}, ...lines.map(series)],
        hooks: {
          drawClear: [(plot) => drawHoles(plot, this.#samples.holes, Boolean(kind.first))],
          setCursor: kind.first ? [(plot) => this.#point(this.#shown[plot.cursor.idx ?? -1] ?? null)] : [],
        },
      },
      [[], ...lines.map(() => [])],
      host,
    );
    return { kind, host, lines, plot };
  }
}

/** @param {Line} line */
function series(line) {
  return {
    stroke: colour(line.colour),
    fill: line.fill && colour(line.fill),
    width: line.width ?? 2,
    points: { show: false },
  };
}

/**
 * A light band for each hole; with words above it where there is room for them, the newest first.
 * @param {uPlot} plot
 * @param {readonly import('./samples.js').Hole[]} holes
 * @param {boolean} words
 */
function drawHoles(plot, holes, words) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const right = left + width;
  let free = right;
  ctx.save();
  ctx.font = FONT.replace(/^\d+/, (px) => String(Number(px) * devicePixelRatio));
  ctx.textAlign = 'left'; // The axes leave their own alignment behind.
  ctx.textBaseline = 'bottom';
  for (const hole of holes.toReversed()) {
    const from = Math.max(left, plot.valToPos(hole.from / 1000, 'x', true));
    const to = Math.min(right, plot.valToPos(hole.to / 1000, 'x', true));
    if (to <= from) continue;
    ctx.fillStyle = colour('--band')();
    ctx.fillRect(from, top, to - from, height);
    const wide = ctx.measureText(hole.text).width;
    const begin = Math.max(left, Math.min((from + to - wide) / 2, right - wide));
    if (!words || begin + wide > free) continue;
    ctx.fillStyle = colour('--ink-soft')();
    ctx.fillText(hole.text, begin, top - 3 * devicePixelRatio);
    free = begin - 8 * devicePixelRatio;
  }
  ctx.restore();
}

/**
 * Every full minute, in seconds.
 * @param {uPlot} _
 * @param {number} __
 * @param {number} min  seconds
 * @param {number} max  seconds
 */
function minutes(_, __, min, max) {
  const splits = [];
  for (let at = Math.ceil(min / 60) * 60; at <= max; at += 60) splits.push(at);
  return splits;
}

/**
 * Words for the minutes, where there is room for them.
 * @param {uPlot} plot
 * @param {number[]} splits  seconds
 */
function times(plot, splits) {
  const every = plot.width < NARROW_PX ? 120 : 60;
  const right = plot.over.clientWidth - TIME_PX / 2;
  const fits = (split) => split % every === 0 && plot.valToPos(split, 'x') <= right;
  return splits.map((split) => (fits(split) ? clockMinute(split * 1000) : ''));
}

/**
 * A custom property of the style sheet, read whenever it is needed.
 * @param {string} name
 */
function colour(name) {
  return () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** @param {HTMLElement} host */
function size(host) {
  return { width: host.clientWidth, height: host.clientHeight };
}
