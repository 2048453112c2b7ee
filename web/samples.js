// The samples: this machine's figures of the last five minutes, and the holes between them.
//
// A hole is more than five seconds without a figure. Since a stream that was cut gets what it missed, a hole
// in the figures means that nothing was measured (the hub was down), or that the hub said they are gone.

/** How far back the figures reach. */
export const SPAN_MS = 5 * 60_000;

/** Figures come every two seconds; two of them further apart than this have a hole between them. */
const HOLE_MS = 5_000;

/**
 * The data of an event `metrics`. Bytes, bytes per second, per cent, seconds, ms since 1970.
 * @typedef {object} Metrics
 * @property {{usage: number, cores: number[]}} cpu
 * @property {{total: number, used: number, percentage: number}} memory
 * @property {[number, number, number]} load
 * @property {{received: number, sent: number}} network
 * @property {{total: number, used: number, percentage: number, read: number, written: number}} disk
 * @property {number} uptime
 * @property {number} timestamp
 */

/**
 * One reading of the machine.
 * @typedef {object} Sample
 * @property {number} time  in ms, by the hub's clock
 * @property {Metrics} metrics
 */

/**
 * A stretch without readings.
 * @typedef {object} Hole
 * @property {number} from  time of the last sample before it
 * @property {number} to    time of the first sample after it
 * @property {string} text  what it means, in words
 */

export class Samples {
  /** @type {Sample[]} Oldest first. */
  #samples = [];
  /** @type {Hole[]} Oldest first. */
  #holes = [];
  /** How far the hub's clock is ahead of the browser's, in ms; -Infinity until the first sample. */
  #ahead = -Infinity;
  /** @type {?string} Why the hub can't give what comes before the next sample. */
  #lost = null;

  /** @param {Sample} sample */
  push(sample) {
    // Old events arrive late, so the greatest difference is the one of the newest.
    this.#ahead = Math.max(this.#ahead, sample.time - Date.now());
    const before = this.last;
    if (before && sample.time - before.time > HOLE_MS) {
      const seconds = Math.round((sample.time - before.time) / 1000);
      const text = this.#lost ? `${seconds} s lost (${this.#lost})` : `${seconds} s unmeasured (hub was down)`;
      this.#holes.push({ from: before.time, to: sample.time, text });
    }
    this.#lost = null;
    this.#samples.push(sample);
    this.trim();
  }

  /**
   * Notes that the hub no longer has what comes before the next sample.
   * @param {string} reason
   */
  lose(reason) {
    // After a restart the figures of the last moment may be gone, but the hole itself is the hub's absence.
    if (reason !== 'restart') this.#lost = reason;
  }

  /** Forgets what is older than five minutes. */
  trim() {
    const oldest = this.now() - SPAN_MS;
    while (this.#samples.length > 0 && this.#samples[0].time < oldest) this.#samples.shift();
    while (this.#holes.length > 0 && this.#holes[0].to < oldest) this.#holes.shift();
  }

  clear() {
    this.#samples = [];
    this.#holes = [];
    this.#ahead = -Infinity;
    this.#lost = null;
  }

  /** The time by the hub's clock, as well as it is known. */
  now() {
    return Date.now() + (Number.isFinite(this.#ahead) ? this.#ahead : 0);
  }

  /** @returns {Sample|undefined} */
  get last() {
    return this.#samples.at(-1);
  }

  /** @returns {readonly Hole[]} */
  get holes() {
    return this.#holes;
  }

  /**
   * The samples as a plot wants them: a null, and so a break in the line, in the middle of each hole.
   * @returns {{times: number[], samples: (Sample|null)[]}} times in seconds
   */
  columns() {
    const times = [];
    const samples = [];
    let holes = 0;
    for (const sample of this.#samples) {
      while (holes < this.#holes.length && this.#holes[holes].to <= sample.time) {
        const hole = this.#holes[holes];
        holes += 1;
        times.push((hole.from + hole.to) / 2000);
        samples.push(null);
      }
      times.push(sample.time / 1000);
      samples.push(sample);
    }
    return { times, samples };
  }
}
