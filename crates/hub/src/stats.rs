//! What the hub counts. Every drop, refusal and end has a counter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use self::histogram::{COUNTS, Distribution, Histogram, SIZES};
use crate::inbox::AckReason;
use crate::log::append_error::AppendError;
use crate::retention::Removed;
use crate::rule::Durability;
use crate::window::notice::GapReason;

pub mod histogram;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The reader went away.
    Left,
    /// The reader took nothing for too long.
    Stalled,
    /// The stream was too slow for a channel whose rule is to close such streams.
    Overflow,
    /// The hub stopped.
    Shutdown,
    /// History could not be read.
    StoreFailed,
    /// A pattern was too wide for `since=last:N`.
    PatternTooWide,
    /// The client sent more than a little after its request.
    Noisy,
    /// The other side's system confirmed nothing for too long: it has gone without a word.
    TimedOut,
    /// The reader was behind and took less than the least rate.
    Slow,
    /// The stream was as old as streams may be.
    Aged,
    /// All that the stream followed had ended.
    Ended,
    /// Its listener opened it anew.
    Replaced,
    /// It was ended for good.
    Deleted,
}

impl CloseReason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::Left,
        Self::Stalled,
        Self::Overflow,
        Self::Shutdown,
        Self::StoreFailed,
        Self::PatternTooWide,
        Self::Noisy,
        Self::TimedOut,
        Self::Slow,
        Self::Aged,
        Self::Ended,
        Self::Replaced,
        Self::Deleted,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Stalled => "stalled",
            Self::Overflow => "overflow",
            Self::Shutdown => "shutdown",
            Self::StoreFailed => "store_failed",
            Self::PatternTooWide => "pattern_too_wide",
            Self::Noisy => "noisy",
            Self::TimedOut => "timed_out",
            Self::Slow => "slow",
            Self::Aged => "aged",
            Self::Ended => "ended",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
        }
    }
}

/// The counters, shared by all of the hub.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    published: [AtomicU64; 3],
    pub(crate) duplicates: AtomicU64,
    /// Publishes that were refused, per reason.
    refused: [AtomicU64; AppendError::REASONS.len()],
    pub(crate) commits: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) store_failures: AtomicU64,
    pub(crate) store_reopenings: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) opened: AtomicU64,
    /// The most streams that were open at a time.
    peak: AtomicU64,
    /// When each open stream was opened, in seconds of the hub's clock, all together: what their average age is made of.
    opened_s: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) changed: AtomicU64,
    pub(crate) replaced: AtomicU64,
    pub(crate) forgotten: AtomicU64,
    behind: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_stopping: AtomicU64,
    pub(crate) refused_over: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    gaps: [AtomicU64; GapReason::ALL.len()],
    removed_by: [AtomicU64; 4],
    /// Messages acknowledged, per reason.
    acknowledged: [AtomicU64; AckReason::ALL.len()],
    pub(crate) acknowledgements_failed: AtomicU64,
    pub(crate) pages: AtomicU64,
    pub(crate) page_bytes: AtomicU64,
    pub(crate) fell_behind: AtomicU64,
    pub(crate) flushed: AtomicU64,
    pub(crate) distributions: Distributions,
}

/// How long things took and how large they were.
#[derive(Debug)]
pub(crate) struct Distributions {
    /// From a publisher's asking to its answer.
    pub(crate) publish_latency: Histogram,
    commit_duration: Histogram,
    commit_events: Histogram,
    commit_bytes: Histogram,
}

/// Adds one.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Default for Distributions {
    fn default() -> Self {
        Self {
            publish_latency: Histogram::of_times(),
            commit_duration: Histogram::of_times(),
            commit_events: Histogram::of(COUNTS),
            commit_bytes: Histogram::of(SIZES),
        }
    }
}

impl Counters {
    /// A commit was made, or failed.
    pub(crate) fn committed(&self, took: Duration, events: usize, bytes: usize) {
        bump(&self.commits);
        self.distributions.commit_duration.took(took);
        self.distributions.commit_events.record(events as u64);
        self.distributions.commit_bytes.record(bytes as u64);
    }

    /// A stream was opened. It counts from now on, before its shard has it.
    pub(crate) fn opened(&self) {
        bump(&self.opened);
        let open = self.streams.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    /// A shard has a new stream, or had one that is gone: `opened_s` is when it was opened.
    pub(crate) fn has(&self, is_there: bool, opened_s: u32) {
        if is_there {
            self.opened_s.fetch_add(opened_s.into(), Ordering::Relaxed);
        } else {
            self.opened_s.fetch_sub(opened_s.into(), Ordering::Relaxed);
        }
    }

    /// A stream fell behind, or is so no longer.
    pub(crate) fn behind(&self, is_behind: bool) {
        if is_behind {
            self.behind.fetch_add(1, Ordering::Relaxed);
        } else {
            self.behind.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The average age of open streams, in seconds; 0 where there are none.
    fn age(&self, now: Duration) -> f64 {
        let streams = self.streams.load(Ordering::Relaxed);
        if streams == 0 {
            return 0.0;
        }
        let opened = self.opened_s.load(Ordering::Relaxed) as f64 / streams as f64;
        (now.as_secs_f64() - opened).max(0.0)
    }

    pub(crate) fn published(&self, durability: Durability) {
        let [transient, memory, durable] = &self.published;
        bump(match durability {
            Durability::Transient => transient,
            Durability::Memory => memory,
            Durability::Durable => durable,
        });
    }

    pub(crate) fn refused(&self, error: AppendError) {
        let reason = error.reason();
        if let Some(counter) =
            AppendError::REASONS.iter().position(|r| *r == reason).and_then(|at| self.refused.get(at))
        {
            bump(counter);
        }
    }

    pub(crate) fn removed(&self, removed: &Removed) {
        let counts = [removed.by_history, removed.by_disk, removed.by_ttl, removed.by_key];
        for (counter, count) in self.removed_by.iter().zip(counts) {
            counter.fetch_add(count, Ordering::Relaxed);
            self.removed.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        if let Some(counter) = CloseReason::ALL.iter().position(|r| *r == reason).and_then(|at| self.closed.get(at)) {
            bump(counter);
        }
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn acknowledged(&self, reason: AckReason, count: usize) {
        if let Some(counter) = AckReason::ALL.iter().position(|r| *r == reason).and_then(|at| self.acknowledged.get(at))
        {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn gap(&self, reason: GapReason) {
        if let Some(counter) = GapReason::ALL.iter().position(|r| *r == reason).and_then(|at| self.gaps.get(at)) {
            bump(counter);
        }
    }
}

/// Bytes of a page that a stream holds; counted while it is there.
#[derive(Debug)]
pub(crate) struct PageBytes {
    counters: Arc<Counters>,
    bytes: u64,
}

impl PageBytes {
    pub(crate) fn new(counters: &Arc<Counters>, bytes: usize) -> Self {
        let bytes = bytes as u64;
        counters.page_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { counters: counters.clone(), bytes }
    }
}

impl Drop for PageBytes {
    fn drop(&mut self) {
        self.counters.page_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What the hub is and has done, at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// The current epoch.
    pub epoch: String,
    /// The cursor of the newest event.
    pub head: String,
    /// Open streams.
    pub streams: u64,
    /// How many there may be.
    pub streams_max: u64,
    /// The most that were open at a time since the start.
    pub streams_peak: u64,
    /// Open streams that are sent history, or what waits in the window, and not yet what is new.
    pub streams_behind: u64,
    /// The average age of open streams, in seconds.
    pub streams_age: f64,
    /// Streams opened since the start.
    pub streams_opened: u64,
    /// Streams opened since the start that took up where their listener had stopped.
    pub streams_resumed: u64,
    /// Changes of what open streams, or those that are remembered, follow.
    pub streams_changed: u64,
    /// Streams whose listener opened them anew before they had ended.
    pub streams_replaced: u64,
    /// Streams that are not open, of which it is remembered what they followed.
    pub streams_remembered: u64,
    /// Streams that were forgotten before their time, for want of room.
    pub streams_forgotten: u64,
    /// Streams refused because the hub was full.
    pub streams_refused_full: u64,
    /// Streams refused because the hub was stopping.
    pub streams_refused_stopping: u64,
    /// Streams not opened because all that they would follow had ended, and their listener had all of it.
    pub streams_refused_over: u64,
    /// Streams closed since the start, by reason.
    pub streams_closed: BTreeMap<&'static str, u64>,
    /// How often a stream was not taken up by its reader and fell behind.
    pub fell_behind: u64,
    /// How often a stream was sent what it had gathered for a flush interval.
    pub flushed: u64,
    /// Gaps told, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Events published since the start, by durability.
    pub published: BTreeMap<&'static str, u64>,
    /// Publishes that were answered as duplicates.
    pub duplicates: u64,
    /// Publishes that the log did not take, or of which it isn't known, by [reason](AppendError::reason).
    pub refused: BTreeMap<&'static str, u64>,
    /// Channels that ended since the start, by reason.
    pub ends: BTreeMap<&'static str, u64>,
    /// Messages of inboxes that were acknowledged since the start: because somebody said so (`asked`), because a device came back
    /// from behind them (`cursor`), because the inbox was emptied (`emptied`).
    pub acknowledged: BTreeMap<&'static str, u64>,
    /// How often the log did not take what a device acknowledged by coming back. Its stream was opened all the same.
    pub acknowledgements_failed: u64,
    /// Events removed since the start, by reason: beyond the limits of their channel (`history`), as the oldest when the disk limit
    /// was reached (`disk`), at the end of their time to live (`ttl`), values whose key got another one or was deleted (`key`). An event of several channels counts with each.
    pub removed_by_reason: BTreeMap<&'static str, u64>,
    /// Group commits.
    pub commits: u64,
    /// From a publisher's asking to its acknowledgement, in seconds.
    pub publish_latency: Distribution,
    /// How long group commits took, in seconds.
    pub commit_duration: Distribution,
    /// Events that group commits were asked to write.
    pub commit_events: Distribution,
    /// Bytes that group commits were asked to write.
    pub commit_bytes: Distribution,
    /// Requests that wait for the log's writer.
    pub queue: u64,
    /// Bytes that wait for the log's writer, in steps of 1 KiB.
    pub queue_bytes: u64,
    /// Events removed since the start, for whatever reason; an event of several channels counts with each.
    pub removed: u64,
    /// Events in the window that the slowest shard has not passed on yet.
    pub lag_events: u64,
    /// How long the oldest of them has been waiting, in seconds.
    pub lag: f64,
    /// How often the store failed, so that it had to be reopened.
    pub store_failures: u64,
    /// How often it was reopened.
    pub store_reopenings: u64,
    /// Pages of history read for streams.
    pub pages_read: u64,
    /// Bytes of history that streams hold because their readers are slow.
    pub page_bytes: u64,
    /// Bytes in the window.
    pub window_bytes: u64,
    /// Events in the window.
    pub window_events: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes of events and their indexes among them: what the disk limit bounds.
    pub disk_table_bytes: u64,
    /// The disk limit, in bytes; `None` where there is none.
    pub disk_bytes_max: Option<u64>,
    /// Bytes that are free on the data folder's disk; `None` where nothing bounds the store.
    pub disk_free_bytes: Option<u64>,
    /// Free bytes below which durable events are refused.
    pub disk_reserve_bytes: u64,
    /// Whether they are being refused.
    pub disk_full: bool,
    /// Places of the store that were found damaged since the start.
    pub damaged: u64,
}

impl Counters {
    /// The counters' part of the stats.
    pub(crate) fn snapshot(&self, now: Duration) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let durabilities = [Durability::Transient, Durability::Memory, Durability::Durable];
        Stats {
            epoch: String::new(),
            head: String::new(),
            streams: read(&self.streams),
            streams_max: 0,
            streams_peak: read(&self.peak),
            streams_behind: read(&self.behind),
            streams_age: self.age(now),
            streams_opened: read(&self.opened),
            streams_resumed: read(&self.resumed),
            streams_changed: read(&self.changed),
            streams_replaced: read(&self.replaced),
            streams_remembered: 0,
            streams_forgotten: read(&self.forgotten),
            streams_refused_full: read(&self.refused_full),
            streams_refused_stopping: read(&self.refused_stopping),
            streams_refused_over: read(&self.refused_over),
            streams_closed: CloseReason::ALL.iter().map(|r| r.as_str()).zip(self.closed.iter().map(read)).collect(),
            fell_behind: read(&self.fell_behind),
            flushed: read(&self.flushed),
            gaps: GapReason::ALL.iter().map(|r| r.as_str()).zip(self.gaps.iter().map(read)).collect(),
            published: durabilities.iter().map(|d| d.as_str()).zip(self.published.iter().map(read)).collect(),
            duplicates: read(&self.duplicates),
            refused: AppendError::REASONS.into_iter().zip(self.refused.iter().map(read)).collect(),
            ends: BTreeMap::new(),
            acknowledged: AckReason::ALL.iter().map(|r| r.as_str()).zip(self.acknowledged.iter().map(read)).collect(),
            acknowledgements_failed: read(&self.acknowledgements_failed),
            removed_by_reason: ["history", "disk", "ttl", "key"]
                .into_iter()
                .zip(self.removed_by.iter().map(read))
                .collect(),
            commits: read(&self.commits),
            publish_latency: self.distributions.publish_latency.distribution(),
            commit_duration: self.distributions.commit_duration.distribution(),
            commit_events: self.distributions.commit_events.distribution(),
            commit_bytes: self.distributions.commit_bytes.distribution(),
            queue: 0,
            queue_bytes: 0,
            removed: read(&self.removed),
            lag_events: 0,
            lag: 0.0,
            store_failures: read(&self.store_failures),
            store_reopenings: read(&self.store_reopenings),
            pages_read: read(&self.pages),
            page_bytes: read(&self.page_bytes),
            window_bytes: 0,
            window_events: 0,
            disk_bytes: 0,
            disk_table_bytes: 0,
            disk_bytes_max: None,
            disk_free_bytes: None,
            disk_reserve_bytes: 0,
            disk_full: false,
            damaged: 0,
        }
    }
}
