// The paths of the hub that this page uses, each in one place: where to listen, publish and read history.

/** The hub's own channel with the figures of its machine. */
export const METRICS = '@system/metrics';

/**
 * Where to listen to a channel and to this machine's figures, beginning five minutes ago or at a cursor.
 * @param {string} channel
 * @param {string} cursor  empty: none yet
 */
export function eventsPath(channel, cursor) {
  const query = [...new Set([METRICS, channel])].map((name) => `channel=${encode(name)}`);
  query.push('since=5m', 'as=json');
  if (cursor) query.push(`lastEventId=${encode(cursor)}`); // It wins over `since`.
  return `/events?${query.join('&')}`;
}

/**
 * Where to publish on a channel.
 * @param {string} channel
 * @param {string} [name]  the event's name, if it is to have one
 */
export function publishPath(channel, name) {
  const query = new URLSearchParams(name ? { event: name } : {});
  return channelPath(channel, '', query);
}

/**
 * Where to read the newest events of a channel.
 * @param {string} channel
 */
export function historyPath(channel) {
  return `/history?channel=${encode(channel)}&since=last:10`;
}

/**
 * Where anyone listens to a channel, in the raw form.
 * @param {string} channel
 */
export function listenPath(channel) {
  return `/events?channel=${encode(channel)}`;
}

/**
 * A channel's path; names that proxies or browsers would mangle go into the query instead.
 * @param {string} channel
 * @param {string} leaf
 * @param {URLSearchParams|string} query
 */
function channelPath(channel, leaf, query) {
  const mangled = channel.includes('/') || channel === '.' || channel === '..';
  const path = mangled ? `/channels${leaf}?channel=${encode(channel)}` : `/channels/${encode(channel)}${leaf}`;
  const rest = String(query);
  if (!rest) return path;
  return `${path}${mangled ? '&' : '?'}${rest}`;
}

/**
 * Percent-encodes a name; the apostrophe too, so that the result fits into a shell's quotes.
 * @param {string} name
 */
function encode(name) {
  return encodeURIComponent(name).replaceAll("'", '%27');
}
