//! A part of all streams, and what moves them: passes over the window, pages of history, deadlines. A publisher never
//! comes here; the writer only wakes it.
//!
//! The core has no thread, no clock and no I/O of its own, so simulations drive it step by step. The thread around it is
//! in [`shard_thread`](crate::shard_thread).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::catchup::{Beginning, Catchup, CatchupError, LastEventId, Page};
use crate::entry::Entry;
use crate::epoch::Epochs;
use crate::follows::Follows;
use crate::index::{Index, StreamKey};
use crate::limits::{BODY_BYTES_MAX, PASS_ENTRIES_MAX};
use crate::notice::ByeReason;
use crate::outlet::{Outlet, Written};
use crate::position::Position;
use crate::stats::{CloseReason, Counters, bump};
use crate::subscription::{Pull, Subscription, View};
use crate::wheel::Wheel;
use crate::window::{Slots, Window};

/// Something to be read from history for a stream.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: StreamKey,
    pub(crate) work: Work,
}

/// What is to be read.
#[derive(Debug)]
pub(crate) enum Work {
    /// Where a stream begins, and what the head was when it was opened.
    Begin(Arc<Follows>, LastEventId, Position),
    /// The next page.
    Page(Box<Catchup>),
}

/// What was read.
pub(crate) enum Answer {
    Begin(Result<Beginning, CatchupError>),
    Page(Result<(Page, Box<Catchup>), CatchupError>),
}

/// A stream with what surrounds it.
struct Stream {
    subscription: Subscription,
    outlet: Box<dyn Outlet>,
    /// What the outlet had no room for: hub frames, or the rest of a pull. At most one pull's worth.
    backlog: VecDeque<Bytes>,
    /// Whether the outlet had no room the last time; it will tell.
    full: bool,
    /// Frames of the pass under way, with the slot and entry each came from.
    batch: VecDeque<(u64, Arc<Entry>, Bytes)>,
    /// The slot of the last entry offered, so that an event of several channels comes once.
    offered: Option<u64>,
    /// When something was sent last.
    sent_at: Duration,
    /// Since when the reader has taken nothing of what is there, and how often it had taken something before.
    waiting: Option<(Duration, u64)>,
}

/// The settings of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardSettings {
    /// How long a reader may take nothing before its stream is cut.
    pub(crate) stall_max: Duration,
    /// The shortest and longest `retry:` of a bye; each stream gets one of its own in between.
    pub(crate) bye_retry: (Duration, Duration),
}

/// A part of all streams.
pub(crate) struct Shard {
    window: Arc<Window>,
    epochs: Arc<Epochs>,
    counters: Arc<Counters>,
    settings: ShardSettings,
    index: Arc<RwLock<Index>>,
    streams: HashMap<StreamKey, Stream>,
    wheel: Wheel<StreamKey>,
    /// Where it is in the window.
    slot: u64,
    position: Position,
    /// Whether the hub stops: what is opened now ends at once.
    drained: bool,
    /// What is to be read for its streams; whoever drives the shard takes it away.
    jobs: Vec<Job>,
    /// Gives numbers for jitter, evenly from 0 to 1.
    random: Box<dyn FnMut() -> f64 + Send>,
}

impl Shard {
    /// A shard without streams, at the window's end.
    pub(crate) fn new(
        window: Arc<Window>,
        epochs: Arc<Epochs>,
        counters: Arc<Counters>,
        settings: ShardSettings,
        random: Box<dyn FnMut() -> f64 + Send>,
        now: Duration,
    ) -> Self {
        let (position, slot) = window.head();
        Self {
            window,
            epochs,
            counters,
            settings,
            index: Arc::default(),
            streams: HashMap::new(),
            wheel: Wheel::new(now),
            slot,
            position,
            drained: false,
            jobs: Vec::new(),
            random,
        }
    }

    /// Which streams follow what; for receipts.
    pub(crate) fn index(&self) -> Arc<RwLock<Index>> {
        self.index.clone()
    }

    /// Takes away what is to be read.
    pub(crate) fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Whether the window has more than was passed over.
    pub(crate) fn has_work(&self) -> bool {
        self.window.head().1 > self.slot
    }

    /// When the next deadline may be.
    pub(crate) fn next_deadline(&self) -> Duration {
        self.wheel.next()
    }

    /// Takes a new stream, which was opened when the window's head was `head`. `opening` is sent at once, before the stream's
    /// beginning is known.
    #[expect(clippy::too_many_arguments, reason = "a stream is just this many things, and they come from one place")]
    pub(crate) fn open(
        &mut self,
        key: StreamKey,
        subscription: Subscription,
        outlet: Box<dyn Outlet>,
        last: LastEventId,
        head: Position,
        opening: Bytes,
        now: Duration,
    ) {
        let follows = subscription.follows().clone();
        self.index.write().unwrap_or_else(PoisonError::into_inner).insert(key, &follows);
        // The first heartbeat comes after half to a whole interval: streams that open together don't beat together.
        let heartbeat = subscription.heartbeat();
        self.wheel.insert(now + heartbeat.mul_f64(0.5 + 0.5 * (self.random)()), key);
        let stream = Stream {
            subscription,
            outlet,
            backlog: VecDeque::from([opening]),
            full: false,
            batch: VecDeque::new(),
            offered: None,
            sent_at: now,
            waiting: None,
        };
        self.streams.insert(key, stream);
        self.jobs.push(Job { key, work: Work::Begin(follows, last, head) });
        self.pump(key, now);
        if self.drained {
            // It was on its way when the others were sent away.
            self.end(key, ByeReason::Shutdown, CloseReason::Shutdown);
        }
    }

    /// Takes what was read for a stream.
    pub(crate) fn answer(&mut self, key: StreamKey, answer: Answer, now: Duration) {
        let view = View { window: &self.window, epochs: &self.epochs, slot: self.slot, position: self.position };
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let failed = match answer {
            Answer::Begin(Ok(beginning)) => {
                beginning.gaps.iter().for_each(|gap| self.counters.gap(gap.reason));
                stream.subscription.begin(beginning, &view);
                None
            }
            Answer::Page(Ok((page, catchup))) => {
                bump(&self.counters.pages);
                page.gaps.iter().for_each(|gap| self.counters.gap(gap.reason));
                stream.subscription.page(page, catchup, &view);
                None
            }
            Answer::Begin(Err(error)) | Answer::Page(Err(error)) => Some(error),
        };
        match failed {
            None => self.pump(key, now),
            Some(error) => {
                let (bye, close) = match error {
                    CatchupError::PatternTooWide => (ByeReason::PatternTooWide, CloseReason::PatternTooWide),
                    CatchupError::Store(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "history can't be read");
                        (ByeReason::StoreFailed, CloseReason::StoreFailed)
                    }
                };
                self.end(key, bye, close);
            }
        }
    }

    /// The outlet of a stream has room again.
    pub(crate) fn ready(&mut self, key: StreamKey, now: Duration) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.full = false;
        }
        self.pump(key, now);
    }

    /// Sends a stream what it is to get next, as far as its outlet has room.
    fn pump(&mut self, key: StreamKey, now: Duration) {
        loop {
            let view = View { window: &self.window, epochs: &self.epochs, slot: self.slot, position: self.position };
            let Some(stream) = self.streams.get_mut(&key) else { return };
            stream.flush(now);
            if stream.full {
                return;
            }
            let mut frames = Vec::new();
            let pull = stream.subscription.pull(&view, BODY_BYTES_MAX, &mut frames);
            stream.backlog.extend(frames);
            match pull {
                Pull::Enough => {}
                Pull::Page(catchup) => {
                    self.jobs.push(Job { key, work: Work::Page(catchup) });
                    stream.flush(now);
                    return;
                }
                Pull::Waiting | Pull::Live => return stream.flush(now),
                Pull::Ahead => {
                    stream.flush(now);
                    self.pass(now);
                }
                Pull::End(reason) => {
                    stream.flush(now);
                    return self.end(key, reason, CloseReason::Overflow);
                }
            }
        }
    }

    /// Passes over everything new in the window: what live streams get leaves in one write for each.
    pub(crate) fn pass(&mut self, now: Duration) {
        loop {
            let entries = match self.window.entries(self.slot, PASS_ENTRIES_MAX) {
                Slots::Entries(entries) if entries.is_empty() => return,
                Slots::Entries(entries) => entries,
                Slots::Gone => {
                    self.fall_below();
                    continue;
                }
            };
            let mut touched = Vec::new();
            {
                let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
                for (slot, entry) in (self.slot..).zip(&entries) {
                    offer(&index, &mut self.streams, slot, entry, &mut touched);
                }
            }
            self.slot += entries.len() as u64;
            if let Some(last) = entries.last() {
                self.position = self.position.max(last.position);
            }
            for key in touched {
                if let Some(stream) = self.streams.get_mut(&key)
                    && stream.deliver(now)
                {
                    bump(&self.counters.fell_behind);
                }
            }
        }
    }

    /// The shard was slower than the whole window: its live streams go on from history.
    fn fall_below(&mut self) {
        tracing::warn!("a shard fell behind the window; its streams go on from history");
        let fallen = self.streams.iter_mut().filter_map(|(key, stream)| {
            stream.subscription.fall_below(self.position).map(|catchup| Job { key: *key, work: Work::Page(catchup) })
        });
        self.jobs.extend(fallen);
        self.jobs.sort_by_key(|job| job.key);
        let (position, slot) = self.window.head();
        self.position = self.position.max(position);
        self.slot = slot;
    }

    /// Looks at streams whose deadline has come: heartbeats, readers that take nothing.
    pub(crate) fn tick(&mut self, now: Duration, time_ms: u64) {
        for key in self.wheel.due(now) {
            let view = View { window: &self.window, epochs: &self.epochs, slot: self.slot, position: self.position };
            let Some(stream) = self.streams.get_mut(&key) else { continue };
            if stream.is_stalled(now, self.settings.stall_max) {
                self.close(key, CloseReason::Stalled);
                continue;
            }
            let heartbeat = stream.subscription.heartbeat();
            // A live stream that was sent nothing for about an interval; one that is behind is sent something anyway.
            let quiet = now.saturating_sub(stream.sent_at) + heartbeat / 8 >= heartbeat;
            if quiet && stream.subscription.is_live() && !stream.full {
                let ping = stream.subscription.ping(time_ms, &view);
                stream.backlog.push_back(ping);
                stream.flush(now);
            }
            self.wheel.insert(now + heartbeat.mul_f64(0.95 + 0.05 * (self.random)()), key);
        }
    }

    /// The reader of a stream went away, or takes nothing.
    pub(crate) fn close(&mut self, key: StreamKey, reason: CloseReason) {
        let Some(mut stream) = self.streams.remove(&key) else { return };
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(key, stream.subscription.follows());
        stream.outlet.end();
        self.counters.closed(reason);
    }

    /// Ends a stream from the hub's side: it is told why and when to come back.
    fn end(&mut self, key: StreamKey, bye: ByeReason, reason: CloseReason) {
        let (shortest, longest) = self.settings.bye_retry;
        let retry = shortest + longest.saturating_sub(shortest).mul_f64((self.random)());
        let view = View { window: &self.window, epochs: &self.epochs, slot: self.slot, position: self.position };
        if let Some(stream) = self.streams.get_mut(&key) {
            // A stream whose outlet is full ends without a bye: it must not be sent out of turn.
            if !stream.full && stream.backlog.is_empty() {
                let bye = stream.subscription.bye(bye, retry, &view);
                stream.outlet.write(&mut VecDeque::from([bye]));
            }
        }
        self.close(key, reason);
    }

    /// Ends all streams because the hub stops.
    pub(crate) fn drain(&mut self) {
        self.drained = true;
        let keys: Vec<StreamKey> = self.streams.keys().copied().collect();
        for key in keys {
            self.end(key, ByeReason::Shutdown, CloseReason::Shutdown);
        }
    }
}

#[cfg(test)]
impl Shard {
    /// That no stream holds more than a page, what one pull gives, and the hub's own words.
    pub(crate) fn assert_bounds(&self) {
        for stream in self.streams.values() {
            let own_words = stream.subscription.follows().len() + 2;
            assert!(stream.subscription.page_len() <= crate::limits::PAGE_EVENTS_MAX);
            assert!(stream.batch.is_empty(), "between passes nothing is on its way");
            let backlog: usize = stream.backlog.iter().map(Bytes::len).sum();
            assert!(backlog <= BODY_BYTES_MAX + 300 * own_words, "{backlog} bytes wait for one stream");
        }
    }
}

/// Offers an entry to the live streams that follow one of its channels.
fn offer(
    index: &Index,
    streams: &mut HashMap<StreamKey, Stream>,
    slot: u64,
    entry: &Arc<Entry>,
    touched: &mut Vec<StreamKey>,
) {
    for (channel, name) in entry.record.channels.iter().enumerate() {
        for key in index.followers(name) {
            let Some(stream) = streams.get_mut(&key) else { continue };
            let wants = stream.subscription.is_live() && stream.subscription.is_for_it(entry.durability, slot);
            if !wants || stream.offered.replace(slot) == Some(slot) {
                continue;
            }
            if stream.batch.is_empty() {
                touched.push(key);
            }
            let frame = stream.subscription.offer(entry, channel);
            stream.batch.push_back((slot, entry.clone(), frame));
        }
    }
}

impl Stream {
    /// Writes the backlog, as far as there is room.
    fn flush(&mut self, now: Duration) {
        if self.backlog.is_empty() || self.full {
            return;
        }
        self.full = self.outlet.write(&mut self.backlog) == Written::Full;
        self.sent_at = now;
    }

    /// Writes what a pass brought. What there is no room for is left in the window: the stream is behind from there on.
    /// Returns whether that is so.
    fn deliver(&mut self, now: Duration) -> bool {
        let mut places: VecDeque<(u64, Arc<Entry>)> = VecDeque::with_capacity(self.batch.len());
        let mut frames: VecDeque<Bytes> = VecDeque::with_capacity(self.batch.len());
        for (slot, entry, frame) in self.batch.drain(..) {
            places.push_back((slot, entry));
            frames.push_back(frame);
        }
        if !self.full && self.backlog.is_empty() {
            self.full = self.outlet.write(&mut frames) == Written::Full;
            self.sent_at = now;
        }
        let Some(first_left) = places.len().checked_sub(frames.len()).and_then(|at| places.get(at)) else {
            return false;
        };
        let (slot, entry) = first_left;
        self.subscription.fall_behind(*slot, entry);
        true
    }

    /// Whether the reader has taken nothing for too long.
    fn is_stalled(&mut self, now: Duration, stall_max: Duration) -> bool {
        let waits_after = self.outlet.waits_after();
        let same = self.waiting.filter(|(_, takes)| waits_after == Some(*takes));
        self.waiting = same.or(waits_after.map(|takes| (now, takes)));
        same.is_some_and(|(since, _)| now.saturating_sub(since) >= stall_max)
    }
}
