// Figures, times and ids as people read them. Pure functions, all of them.

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** What stands where no figure is known. */
export const NONE = '–';

/**
 * A time of day to the second.
 * @param {number} time_ms  since 1970
 */
export function clock(time_ms) {
  return CLOCK.format(time_ms);
}

/**
 * A time of day to the minute.
 * @param {number} time_ms  since 1970
 */
export function clockMinute(time_ms) {
  return clock(time_ms).slice(0, 5);
}

/**
 * A figure and its unit, apart, so that they can be set in different type.
 * @param {number|null|undefined} count  bytes
 * @returns {[string, string]}
 */
export function bytes(count) {
  if (!Number.isFinite(count)) return [NONE, ''];
  let size = Number(count);
  let step = 0;
  while (size >= 1000 && step < SIZES.length - 1) {
    size /= 1024;
    step += 1;
  }
  return [step > 0 && size < 99.95 ? size.toFixed(1) : size.toFixed(0), SIZES[step]];
}

/**
 * @param {number|null|undefined} share  in per cent
 * @returns {[string, string]}
 */
export function percent(share) {
  return Number.isFinite(share) ? [Number(share).toFixed(1), '%'] : [NONE, '%'];
}

/**
 * A length of time in its two largest units: `3 d 4 h`, `12 min 5 s`.
 * @param {number|null|undefined} seconds
 */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  let rest = Math.round(Number(seconds));
  const parts = [];
  for (const [unit, length] of [['d', 86_400], ['h', 3_600], ['min', 60], ['s', 1]]) {
    const count = Math.floor(rest / Number(length));
    rest -= count * Number(length);
    if (count > 0) parts.push(`${count} ${unit}`);
    else if (parts.length > 0) break;
  }
  return parts.slice(0, 2).join(' ') || '0 s';
}

/**
 * The telling parts of an id, its beginning and its end: the beginning changes when the hub is started, the end with
 * every event.
 * @param {?string} id
 */
export function shortId(id) {
  if (!id) return NONE;
  return id.length > 13 ? `${id.slice(0, 6)}…${id.slice(-6)}` : id;
}

/**
 * A count with its noun.
 * @param {number} count
 * @param {string} noun  in the singular
 */
export function plural(count, noun) {
  return `${count.toLocaleString()} ${noun}${count === 1 ? '' : 's'}`;
}
