//! Every limit of the HTTP door that a user can meet, each with its reason. The limits of the engine stand in
//! [`fanfare_hub::limits`].

use std::ops::Range;
use std::time::Duration;

use fanfare_hub::limits::EVENT_BYTES_MAX;

/// Largest body of `POST /channels/{channel}`: the largest event and a little more, so that the engine can say by how
/// much the data is too long.
pub const RAW_BODY_BYTES_MAX: usize = EVENT_BYTES_MAX + 1024;

/// Largest body of `POST /publish` (8 MiB): one group commit. A larger batch would only be cut up again.
pub const PUBLISH_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest body of `POST /subscribe` (1 MiB): room for 1,000 names of 255 bytes, each with a `since` of its own.
pub const SUBSCRIBE_BODY_BYTES_MAX: usize = 1024 * 1024;

/// When to repeat a change of a stream for which too many wait: a page of history is read by then.
pub const CHANGE_RETRY: Duration = Duration::from_secs(1);

/// Largest body of `POST /inbox/{user}/ack` (512 KiB): room for 1,000 keys of 255 bytes, escaped.
pub const ACK_BODY_BYTES_MAX: usize = 512 * 1024;

/// Most of a body that is too large which is read before it is refused (16 MiB): twice what any route takes, so that whoever
/// is a little over hears why. Who announces more is refused at once.
pub const DISCARDED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Longest path and query, in bytes (16 KiB). Longer lists of channels belong into `POST /subscribe`.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// Longest request head, in bytes (64 KiB): a long URL and the cookies that browsers send along to localhost.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Most headers of a request. Browsers and proxies send about 30.
pub const HEADERS_MAX: usize = 100;

/// Longest `Content-Type` that is kept with an event, in bytes (RFC 6838 allows type names of 127 + 127).
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// How long a client may take for a request's head, from its first byte; for a connection's first, from the beginning.
pub const HEAD_READ_MAX: Duration = Duration::from_secs(10);

/// How long a connection may idle between two requests where nothing else is said: longer than the 60 s for which nginx
/// and others keep connections to what is behind them. If the server closed first, it might close just as the proxy sends
/// the next request, which then fails (502).
pub const IDLE_MAX: Duration = Duration::from_secs(75);

/// How long a client may take for a request's body: 8 MiB at 300 KB/s.
pub const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// How long a client may take none of what is written to it before its connection is cut. Longer than the hub waits for a
/// reader (25 s), so that the hub ends a stalled stream, and counts it as such, before its socket goes.
/// With heartbeats every 15 s, whoever vanishes without a word is gone 45 s later.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(28);

/// How long nothing may come from the other side before the system asks whether it is still there. With
/// [`WRITE_STALL_MAX`] it also finds those who vanished while nothing was being sent.
pub const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long the system waits for an answer to that before it asks again.
pub const KEEPALIVE_AGAIN: Duration = Duration::from_secs(5);

/// How long a client may take for a TLS handshake.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// TLS handshakes at a time. They cost some 40 KB each and a signature; when a crowd comes, the rest wait for their turn.
pub const TLS_HANDSHAKES_MAX: usize = 512;

/// Spans that may wait for the collector (4,096, some 4 MB): what a busy second makes. Those beyond are dropped and counted.
pub const SPANS_MAX: usize = 4096;

/// Spans that are sent at once, as collectors expect them.
pub const SPANS_BATCH_MAX: usize = 512;

/// How long a collector may take for them.
pub const SPANS_POST_MAX: Duration = Duration::from_secs(10);

/// How long a stop waits for the collector to take what is left.
pub const SPANS_FLUSH_MAX: Duration = Duration::from_secs(3);

/// How often certificates are looked at, whether they were renewed.
pub const TLS_LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// Bytes that TLS holds for a connection that takes nothing (16 KiB, one record).
pub const TLS_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Requests open at a time on one HTTP/2 connection, event streams too. Browsers use one connection for all tabs of a
/// site, and ask for no more than a hundred where they aren't told.
pub const HTTP2_STREAMS_MAX: u32 = 128;

/// Bytes of a request's body that a client may send ahead on one HTTP/2 stream (64 KiB).
pub const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all streams of a connection together (256 KiB): what a connection may make the server hold.
pub const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;

/// Bytes that are held for one HTTP/2 stream whose client takes nothing (32 KiB).
pub const HTTP2_SEND_BYTES_MAX: usize = 32 * 1024;

/// Largest piece of an answer that is given to HTTP/2 at a time (16 KiB, the largest frame that every client takes).
pub const HTTP2_PIECE_BYTES_MAX: usize = 16 * 1024;

/// Requests that a client may take back (reset) before the server has looked at them; more is an attack ("rapid reset").
pub const HTTP2_RESETS_MAX: usize = 20;

/// How often an HTTP/2 client is asked whether it is there, unless it says something.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long it may take to answer that.
pub const HTTP2_PING_WAIT_MAX: Duration = Duration::from_secs(20);

/// How long an HTTP/2 connection may be without a request. Longer than people pause between two pages.
pub const HTTP2_IDLE_MAX: Duration = Duration::from_mins(2);

/// Shortest answer that is compressed (1 KiB). A shorter one fits one packet anyway.
pub const GZIP_BYTES_MIN: u64 = 1024;

/// Longest answer that is compressed without a thread for it (64 KiB, less than a millisecond).
pub const GZIP_IN_PLACE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of request bodies that are being read, of all connections together (256 MiB). One HTTP/2 connection alone could
/// otherwise send 128 batches at a time.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// When a publisher shall come back whose body found no room.
pub const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Unsent bytes that the kernel holds for a connection (32 KiB), so that lag stays in the log, which is shared.
pub const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// How many streams there may be where nothing else is said.
pub const STREAMS_MAX: usize = 10_000;

/// Addresses that a rate tells apart (a million, some 64 MB); beyond them neighbours count as one client.
pub const ADDRESSES_MAX: usize = 1_000_000;

/// Questions about a rate after which addresses that did nothing lately are forgotten.
pub const FORGET_EVERY: u32 = 4_096;

/// When a listener whose address has as many streams as it may have shall come back, or one that came too often: so much
/// later than it may, so that those who share an address don't come together.
pub const LIMIT_RETRY: Range<Duration> = Duration::from_secs(1)..Duration::from_secs(10);

/// Connections beyond the most streams a hub may have: publishers, readers, and those who are told that it is full.
pub const CONNECTIONS_BESIDE_STREAMS: usize = 2_048;

/// Connections that the system may hold ready before they are accepted (it may have a lower limit of its own, on Linux
/// `net.core.somaxconn`): when a crowd comes back at once, nobody is turned away.
pub const BACKLOG: u32 = 16_384;

/// Reads of history and figures at a time. They block a thread each, and more would only compete for the disk.
pub const READS_MAX: usize = 16;

/// Events in one answer of the history endpoint, and names in one list of channels, where the request doesn't say.
pub const PAGE_LENGTH: usize = 100;

/// Most names in one list of channels.
pub const CHANNELS_PAGE_MAX: usize = 1_000;

/// Longest time to live of an event (ten years): a longer one is a typing error, and nothing is kept that long.
pub const TTL_MAX: Duration = Duration::from_hours(10 * 365 * 24);

/// When a listener shall come back to a hub that is full: not soon, and not all at once.
pub const FULL_RETRY: Range<Duration> = Duration::from_secs(10)..Duration::from_secs(20);

/// When a listener shall come back to a hub that is stopping: longer than a restart takes, and not all at once.
pub const DRAINING_RETRY: Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);

/// When a publisher shall come back to a hub whose disk is full. Space is looked for every second.
pub const DISK_FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// When a client shall try again after the store failed: it is mostly open again at once, and looked after every few
/// seconds.
pub const STORE_RETRY: Duration = Duration::from_secs(2);

/// How long a stop waits for requests that are being answered.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a browser may keep the answer to a preflight (two hours, the most that Chromium keeps).
pub const PREFLIGHT_AGE: Duration = Duration::from_hours(2);
