//! Every limit of the engine that a user can meet, each with its reason. The limits of the HTTP door stand in the
//! server's own `limits.rs`. Nothing here is configuration: what differs from channel to channel is a [`Rule`](crate::Rule),
//! what differs from hub to hub is [`HubConfig`](crate::HubConfig).

use std::time::Duration;

/// The limit that holds, or a small one in the crate's own tests, so that simulations meet every edge of paging.
const fn in_tests(small: usize, real: usize) -> usize {
    if cfg!(test) { small } else { real }
}

/// Longest channel name or pattern, in bytes. Long enough for a URL as a name, short enough for an index key.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// Longest event name, in bytes. A name is compared by every listener; nobody needs more.
pub const EVENT_NAME_BYTES_MAX: usize = 255;

/// Largest event data, in bytes (1 MiB). An event is a message, not a file; one event must fit every reader's buffer.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Most channels one event may name. Each costs an index entry and a look at its floor when the event is removed.
pub const EVENT_CHANNELS_MAX: usize = 100;

/// Most channels that one event goes to by a pattern: a thousand rooms that are open now. What is for more is for everyone,
/// or for a channel that all of them follow. Each costs what a named one costs, and together they must fit one record.
pub const PATTERN_CHANNELS_MAX: usize = in_tests(20, 10 * EVENT_CHANNELS_MAX);

/// Longest idempotency key, in bytes (a UUID has 36).
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Longest key of a state channel, in bytes: a URL or a path fits, and the key table's rows stay small.
pub const KEY_BYTES_MAX: usize = 255;

/// Most messages that an inbox holds, unless a rule says otherwise: what a page can take up at once when it opens.
pub const INBOX_MESSAGES_MAX: u64 = 1_000;

/// How long an inbox holds a message, unless a rule says otherwise (30 days): as long as a device that is away may come back
/// with its cursor.
pub const INBOX_AGE_MAX: Duration = CURSOR_AGE_MAX;

/// Bytes that an inbox holds, unless a rule says otherwise (8 MiB): it is sent as a whole to each new device.
pub const INBOX_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Longest name of a device, in bytes: a UUID fits, and a word before it.
pub const DEVICE_BYTES_MAX: usize = 64;

/// Devices of one user that the hub remembers for implicit acknowledgement. Of more, those longest away are forgotten.
pub const DEVICES_MAX: u64 = in_tests(3, 100) as u64;

/// How long a device is remembered that doesn't come back: no cursor of it is older than [`CURSOR_AGE_MAX`] then.
pub const DEVICE_AGE_MAX: Duration = Duration::from_hours(60 * 24);

/// After this long a device that comes back is remembered anew: at most one write a day for each.
pub const DEVICE_REFRESH: Duration = Duration::from_hours(24);

/// Longest user name, in bytes: long enough for any subject of a token, short enough for `@inbox/` before it.
pub const USER_BYTES_MAX: usize = 240;

/// How long an idempotency key is remembered: longer than any sensible publisher retries.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_mins(10);

/// Least `retry` a publisher may send to browsers. Below this one tab makes thousands of requests a minute.
pub const RETRY_MIN: Duration = Duration::from_millis(500);

/// Greatest `retry` a publisher may send to browsers: a typing error must not silence a page for a day.
pub const RETRY_MAX: Duration = Duration::from_mins(10);

/// Most events in one batch. A batch is one write and one release; a larger one would hold up everybody else.
pub const BATCH_EVENTS_MAX: usize = 1_000;

/// Most channels that the events of one batch have together, so that one request never is more than so many index entries
/// of one commit: a thousand events of ten channels each, or ten of a pattern that meets a thousand.
pub const BATCH_CHANNELS_MAX: usize = 10_000;

/// Most different patterns that one batch publishes to. For each, all names are looked at that open streams follow.
pub const BATCH_PATTERNS_MAX: usize = 50;

/// Most channels and patterns that one stream follows.
pub const FOLLOWS_MAX: usize = 1_000;

/// Most patterns among them. Each is tried against the channels of every event that a stream which is behind looks at.
pub const PATTERNS_MAX: usize = 50;

/// How long it is remembered what a stream followed that was named or changed, after it has ended: as long as any browser
/// that still wants it takes to come back.
pub const REMEMBERED_AGE_MAX: Duration = Duration::from_mins(5);

/// Streams that are remembered so: about as many as large hubs have, should all of them come back at once.
pub const REMEMBERED_MAX: usize = in_tests(4, 100_000);

/// What they may weigh together (64 MiB).
pub const REMEMBERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What one owner's may be of either, a sixteenth: nobody has everybody else's forgotten.
pub const REMEMBERED_OF_ONE_MAX: usize = in_tests(2, REMEMBERED_MAX / 16);

/// The same in bytes (4 MiB).
pub const REMEMBERED_OF_ONE_BYTES_MAX: usize = in_tests(8 * 1024, REMEMBERED_BYTES_MAX / 16);

/// Changes of one stream that wait while history is read for it: more than one page's user sends meanwhile.
pub const CHANGES_WAITING_MAX: usize = in_tests(3, 64);

/// Largest `N` in `since=last:N`. With [`FOLLOWS_MAX`] it bounds what finding a stream's beginning may read: a million
/// index entries. Who wants more takes `start`, or reads history in pages.
pub const LAST_MAX: u32 = 1_000;

/// Most channels a pattern may match for `since=last:N`, where each channel has a start of its own to be remembered.
pub const LAST_CHANNELS_MAX: usize = 1_000;

/// Channels of one pattern for which a gap is told one by one; beyond this one gap is told for the whole pattern.
pub const PATTERN_GAPS_MAX: usize = in_tests(3, 100);

/// How old a cursor may be; older cursors gap (`expired`). Floors of channels that fell silent are kept a little longer.
pub const CURSOR_AGE_MAX: Duration = Duration::from_hours(30 * 24);

/// Drafts that may wait for the writer. Publishers beyond this wait for a place.
pub const QUEUE_DRAFTS_MAX: usize = 8_192;

/// Bytes of drafts that may wait for the writer (64 MiB), so that large events can't fill memory within the count.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most drafts in one group commit. More would only lengthen everyone's wait for the sync.
pub const COMMIT_DRAFTS_MAX: usize = 4_096;

/// Bytes in one group commit (8 MiB), for the same reason.
pub const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long the end of the log may take to write tables that make the next start shorter. A second is plenty on a disk that
/// is well.
pub const CLOSE_FLUSH_MAX: Duration = Duration::from_secs(2);

/// Free bytes on the data folder's disk below which `durable` events are refused (256 MiB), unless the hub is told
/// otherwise: what flushes and compactions of a store of many GB may need at once.
pub const DISK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// Disks smaller than this (4 GiB) have a sixteenth of their size as reserve, unless the hub is told otherwise.
pub const DISK_RESERVE_SMALL_DISK: u64 = 16 * DISK_RESERVE_BYTES;

/// The least reserve (64 MiB): what is in memory only when the last event is taken still has to be written, and sweeps
/// go on. Below this a commit may fail after all.
pub const DISK_RESERVE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// The least disk limit (64 MiB): below it there would be no history to speak of beside the journal.
pub const DISK_BYTES_MAX_MIN: u64 = in_tests(1, 64) as u64 * 1024 * 1024;

/// Bytes of the oldest events that are removed in one step while the disk is full (32 MiB): what the removal itself writes,
/// about a third of small events, must fit in the reserve until their files are dropped.
pub const REMOVE_BYTES_FULL: u64 = 32 * 1024 * 1024;

/// What must be there to be given back to the disk before a table is written anew for it (16 MiB).
pub const RECLAIM_BYTES_MIN: u64 = in_tests(1, 16) as u64 * 1024 * 1024;

/// How often the hub looks at its disk and at what is due.
pub const KEEP_EVERY: Duration = Duration::from_millis(in_tests(20, 1_000) as u64);

/// Memory of the window (64 MiB): the newest events, in memory, for all streams together.
pub const WINDOW_BYTES: usize = 64 * 1024 * 1024;

/// Events in one page of history, read for one stream.
pub const PAGE_EVENTS_MAX: usize = in_tests(5, 512);

/// Bytes in one page of history, read for one stream (256 KiB): with the number of reader threads and of streams that
/// hold a page, this bounds the memory of catching up.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of pages that streams may hold together while their readers take nothing (64 MiB). Beyond it they put theirs down
/// and read it again when there is room.
pub const PAGES_BYTES_MAX: u64 = in_tests(2_000, 64 * 1024 * 1024) as u64;

/// Log records looked at for one page when a pattern is too wide for the channel index. The page then ends early and
/// the stream goes on from there, so that one wide pattern can't hold a reader thread.
pub const PAGE_RECORDS_SCANNED_MAX: usize = in_tests(16, 16_384);

/// Channels that one page merges through the index; wider subscriptions scan the log instead.
pub const PAGE_CHANNELS_MAX: usize = in_tests(6, 64);

/// Events in one answer of the history endpoint.
pub const HISTORY_EVENTS_MAX: usize = 1_000;

/// Bytes of data after which an answer of the history endpoint takes up no further page of the store (4 MiB).
pub const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often a key is looked up whose value is superseded each time before its record is read. A commit takes longer than
/// a look, so hardly ever more than once; a hundred only bounds it.
pub(crate) const VALUE_READS_MAX: usize = 100;

/// Longest flush interval of a rule: what a page shows may be that old without anybody noticing, and what is gathered
/// meanwhile is held in memory.
pub const FLUSH_MAX: Duration = Duration::from_secs(10);

/// Bytes, about, that a stream gathers before they are sent ahead of time (64 KiB): as much as a stream is given in one write.
pub const GATHERED_BYTES_MAX: usize = in_tests(1_000, 64 * 1024);

/// Entries that a shard takes from the window in one pass: what one stream gets at most in one write.
pub const PASS_ENTRIES_MAX: usize = in_tests(4, 256);

/// Bytes of data in one pass (256 KiB), but at least one event: what no socket takes at once would only be cut.
pub const PASS_BYTES_MAX: usize = in_tests(200, 256 * 1024);

/// Entries of the window that a stream which is behind looks at before others have their turn.
pub const PULL_ENTRIES_MAX: usize = in_tests(4, 1_024);

/// Bytes that a stream which is behind is given in one write (64 KiB), but at least one event.
pub const PULL_BYTES_MAX: usize = in_tests(300, 64 * 1024);

/// Writes of a stream which is behind before others have their turn.
pub const TURN_PULLS_MAX: usize = in_tests(2, 4);

/// Streams which are behind that have their turn before live streams get what is new.
pub const TURN_STREAMS_MAX: usize = in_tests(2, 64);

/// Entries that a shard remembers for its streams that are a little behind; they are the window's own.
pub const RECENT_ENTRIES_MAX: usize = in_tests(6, 4_096);

/// How long the window holds an event: long enough for those who come back after a cut, short enough that a burst doesn't
/// stay in memory.
pub const WINDOW_AGE_MAX: Duration = Duration::from_mins(1);

/// Events, of channels that a stream doesn't follow, after which a heartbeat tells it its cursor anew: few enough that
/// reading on from an old one is a page's work, many enough that a quiet stream costs three bytes a heartbeat.
pub const CURSOR_LAG_MAX: u64 = in_tests(5, 10_000) as u64;

/// Bytes that a client may send on a stream's socket after its request (64 KiB), all ignored.
pub const IGNORED_BYTES_MAX: u32 = 64 * 1024;

/// Channels for which a shard remembers which patterns match them.
pub const MATCHED_CHANNELS_MAX: usize = in_tests(8, 100_000);

/// Matches that it remembers for all of them together (8 MiB).
pub const MATCHES_MAX: usize = in_tests(12, 1_000_000);

/// What a response body holds at most before its stream counts as behind.
pub const BODY_BYTES_MAX: usize = in_tests(250, 16 * 1024);

/// How long a read waits for a store that is being reopened: long enough for one that opens again at once, short enough
/// for whoever waits for an answer. Streams wait as long as it takes, so much at a time.
pub const STORE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Channels whose state the writer keeps in memory; the ones longest unused are read from the store again.
pub const ACTIVE_CHANNELS_MAX: usize = 100_000;

/// Index entries that retention removes in one step while nobody publishes: some milliseconds, for which whoever publishes
/// next may have to wait.
pub const TRIM_ENTRIES_MAX: usize = 1_024;

/// The least that a commit of events removes, if there is so much to remove. A larger commit removes twice what it appends,
/// so that removing keeps up with publishing, and publishers wait for it no longer than for what they publish.
pub const TRIM_ENTRIES_MIN: usize = 64;

/// Index entries that may be condemned and not removed yet before the disk limit condemns further ones (some 3 MB).
pub const CONDEMNED_MAX: usize = 65_536;

/// Due entries that one sweep takes up, so that publishers never wait long for it.
pub const SWEEP_ENTRIES_MAX: usize = 1_024;
