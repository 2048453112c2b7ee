//! A part of all streams, and what moves them: passes over the window, pages of history, deadlines. A publisher never
//! comes here; the writer only wakes it.
//!
//! The core has no thread and no clock, and of I/O only the writing into outlets, so simulations drive it step by step.
//! The thread around it is in [`thread`].

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use self::portion::Portion;
use self::wheel::Wheel;
use crate::change::remembered::{Remembered, Standing};
use crate::ending::Endings;
use crate::history::beginning::{Beginning, LastEventId};
use crate::history::catchup::{CatchupError, Resumed};
use crate::hub::subscribe::OpenPlace;
use crate::index::{Index, StreamKey};
use crate::limits::{PAGES_BYTES_MAX, PASS_BYTES_MAX, PASS_ENTRIES_MAX, TURN_PULLS_MAX, TURN_STREAMS_MAX};
use crate::log::epoch::Epochs;
use crate::outlet::Outlet;
use crate::outlet::line::Lines;
use crate::position::Position;
use crate::stats::{CloseReason, Counters, PageBytes, bump};
use crate::stream_id::StreamId;
use crate::subscription::{Pull, Subscription, View};
use crate::window::entry::Entry;
use crate::window::notice::ByeReason;
use crate::window::recent::Recent;
use crate::window::{Slots, Window};

pub(crate) mod change;
mod closing;
pub(crate) mod commands;
mod deadlines;
mod ended;
mod gather;
mod give_way;
mod job;
mod pass;
pub(crate) mod portion;
pub(crate) mod progress;
pub(crate) mod readers;
mod settings;
mod slow;
mod streams;
pub(crate) mod thread;
pub(crate) mod wheel;

use self::change::Waiting;
use self::gather::Gathering;
use self::give_way::GiveWay;
pub(crate) use self::job::{Answer, Job, Work};
use self::pass::{NO_RUN, Pass, Passed};
use self::progress::Progress;
pub(crate) use self::settings::ShardSettings;
use self::streams::{Gone, Stream, Streams, place};

/// A stream that is to be opened.
pub(crate) struct Opening {
    pub(crate) subscription: Subscription,
    pub(crate) outlet: Outlet,
    /// What the request says of where it was.
    pub(crate) last: LastEventId,
    /// The backfill that goes on, of a stream that is known.
    pub(crate) resumed: Option<Box<Resumed>>,
    /// The window's head when it was asked for.
    pub(crate) head: Position,
    /// Whether it begins there if the request says nothing, without anything being read.
    pub(crate) is_now: bool,
    /// Given back when the stream ends.
    pub(crate) place: Option<Arc<OpenPlace>>,
}

/// The log as a shard sees it.
struct LogView {
    window: Arc<Window>,
    epochs: Arc<Epochs>,
    /// What the shard has passed over last.
    recent: Recent,
    /// Where it is in the window.
    slot: u64,
    position: Position,
    /// When that is, in milliseconds since the Unix epoch.
    time_ms: u64,
}

impl LogView {
    /// What subscriptions see of it.
    fn view(&self) -> View<'_> {
        let Self { window, epochs, recent, slot, position, time_ms } = self;
        View { window, epochs, recent, slot: *slot, position: *position, time_ms: *time_ms }
    }
}

/// A part of all streams.
pub(crate) struct Shard {
    log: LogView,
    counters: Arc<Counters>,
    /// Whether channels have ever ended.
    endings: Arc<Endings>,
    settings: ShardSettings,
    index: Arc<RwLock<Index>>,
    streams: Streams,
    wheel: Wheel<StreamKey>,
    /// Streams that can be sent more and wait for their turn.
    queue: VecDeque<StreamKey>,
    pass: Pass,
    gathering: Gathering,
    give_way: GiveWay,
    portion: Portion,
    /// Whether the hub stops: what is opened now ends at once.
    drained: bool,
    /// When the last stream ends because the hub stops, and how far away that is.
    drain: (Duration, Duration),
    /// The streams that were named or changed, and those of all shards.
    steered: HashMap<StreamId, StreamKey>,
    remembered: Arc<Remembered>,
    /// Its number among the shards.
    number: usize,
    /// Changes that wait for what is being read; each is somebody's request.
    waiting: Vec<Waiting>,
    /// What is to be read for its streams; whoever drives the shard takes it away.
    jobs: Vec<Job>,
    /// How far it has come.
    progress: Arc<Progress>,
    /// Tells how connections stand; without it their sockets alone must tell.
    lines: Option<Lines>,
    /// Gives numbers for jitter, evenly from 0 to 1.
    random: Box<dyn FnMut() -> f64 + Send>,
}

impl Shard {
    /// Says what time it is, in milliseconds since the Unix epoch: for heartbeats, and for what is out of time.
    pub(crate) fn set_time(&mut self, time_ms: u64) {
        self.log.time_ms = time_ms;
    }

    /// A shard without streams, at the window's end; the one with a number, of those that remember together.
    pub(crate) fn new(
        window: Arc<Window>,
        epochs: Arc<Epochs>,
        (counters, endings): (Arc<Counters>, Arc<Endings>),
        (number, remembered): (usize, Arc<Remembered>),
        settings: ShardSettings,
        random: Box<dyn FnMut() -> f64 + Send>,
        now: Duration,
    ) -> Self {
        let (position, slot) = window.head();
        Self {
            log: LogView { window, epochs, recent: Recent::default(), slot, position, time_ms: 0 },
            counters,
            endings,
            settings,
            index: Arc::default(),
            streams: Streams::default(),
            wheel: Wheel::new(now),
            queue: VecDeque::new(),
            pass: Pass::default(),
            gathering: Gathering::default(),
            give_way: GiveWay::default(),
            portion: Portion::default(),
            drained: false,
            drain: (Duration::ZERO, Duration::ZERO),
            steered: HashMap::new(),
            remembered,
            number,
            waiting: Vec::new(),
            jobs: Vec::new(),
            progress: Arc::default(),
            lines: None,
            random,
        }
    }

    /// Which streams follow what; for receipts.
    pub(crate) fn index(&self) -> Arc<RwLock<Index>> {
        self.index.clone()
    }

    /// How far it has come; for who watches from outside.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Takes away what is to be read.
    pub(crate) fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Whether nobody listens, so that what is published concerns it not.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether there is something to be done at once: the window has more than was passed over, or streams wait for
    /// their turn.
    pub(crate) fn has_work(&self) -> bool {
        !self.streams.is_empty() && (!self.queue.is_empty() || self.log.window.head().1 > self.log.slot)
    }

    /// When the next deadline may be.
    pub(crate) fn next_deadline(&self) -> Duration {
        self.gathering.next().map_or(self.wheel.next(), |next| next.min(self.wheel.next()))
    }

    /// The stream at a place, as its socket's events name it.
    fn key_at(&self, place: usize) -> Option<StreamKey> {
        self.streams.key_at(place)
    }

    /// Takes a new stream. Its opening is sent at once, before its beginning is known.
    pub(crate) fn open(&mut self, opening: Opening, now: Duration) -> StreamKey {
        let Opening { mut subscription, outlet, last, resumed, head, is_now, place } = opening;
        subscription.opened_s = now.as_secs() as u32;
        if self.streams.is_empty() {
            self.jump();
        }
        let follows = subscription.follows().clone();
        let heartbeat = subscription.heartbeat();
        let mut stream = Stream::new(subscription, outlet, place, now);
        // Streams that open together don't end together.
        stream.end_by(self.settings.age_max.map(|age| now + age.mul_f64(0.9 + 0.1 * (self.random)())));
        let key = self.streams.insert(stream);
        let standing = self.name(key);
        self.counters.has(true, now.as_secs() as u32);
        self.progress.stands(self.log.slot);
        self.index.write().unwrap_or_else(PoisonError::into_inner).insert(key, &follows);
        // The first heartbeat comes after half to a whole interval: streams that open together don't beat together.
        let beat = heartbeat.mul_f64(0.5 + 0.5 * (self.random)());
        // Whoever takes nothing from the beginning must not wait for it.
        self.wheel.insert(now + beat.min(self.settings.stall_max).min(self.settings.slow_max), key);
        let view = self.log.view();
        if let Some(stream) = self.streams.get_mut(key) {
            stream.outlet.belongs_to(key);
            let is_plain = resumed.as_ref().is_none_or(|resumed| !resumed.may_be_nothing());
            if last == LastEventId::Now && is_plain || last == LastEventId::None && is_now {
                // Nothing needs to be read.
                stream.subscription.begin(Beginning::now(follows, head, resumed.map(|resumed| *resumed)), &view);
            } else {
                self.jobs.push(stream.job(Work::Begin(follows, last, head, resumed)));
            }
        }
        self.pump(key, now);
        if self.drained {
            // It was on its way when the others were sent away.
            self.end(key, ByeReason::Shutdown, CloseReason::Shutdown);
        }
        match standing {
            Standing::Counts => {}
            Standing::Replaced => self.end(key, ByeReason::Replaced, CloseReason::Replaced),
            Standing::Ended => self.end(key, ByeReason::Deleted, CloseReason::Deleted),
        }
        key
    }

    /// Takes what was read for a stream.
    pub(crate) fn answer(&mut self, key: StreamKey, answer: Answer, now: Duration) {
        if let Answer::Look(look) = answer {
            return self.looked(key, look);
        }
        let view = self.log.view();
        let Some(stream) = self.streams.get_mut(key) else { return };
        let failed = match answer {
            Answer::Look(_) => return,
            Answer::Begin(Ok(beginning)) => {
                beginning.gaps.iter().for_each(|gap| self.counters.gap(gap.reason));
                if beginning.resumed {
                    bump(&self.counters.resumed);
                }
                stream.subscription.begin(*beginning, &view);
                None
            }
            Answer::Page(Ok((page, catchup))) => {
                bump(&self.counters.pages);
                page.gaps.iter().for_each(|gap| self.counters.gap(gap.reason));
                let bytes = page.entries.iter().map(|(entry, _)| entry.weight()).sum();
                stream.subscription.page(page, catchup, PageBytes::new(&self.counters, bytes), &view);
                None
            }
            Answer::Begin(Err(error)) | Answer::Page(Err(error)) => Some(error),
        };
        match failed {
            None => {
                self.change_at_last(key);
                self.pump(key, now);
            }
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
    pub(crate) fn ready(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.full) {
            stream.full = false;
            stream.outlet.has_room();
            stream.queue_up(&mut self.queue);
        }
    }

    /// Gives some of the streams that wait for their turn one; those that are live shall not wait for all of them.
    pub(crate) fn turn(&mut self, now: Duration) {
        for _ in 0..self.queue.len().min(TURN_STREAMS_MAX) {
            let Some(key) = self.queue.pop_front() else { return };
            if let Some(stream) = self.streams.get_mut(key) {
                stream.queued = false;
                self.pump(key, now);
            }
        }
    }

    /// Sends a stream what it is to get next, as far as its outlet has room, but not for so long that others wait.
    fn pump(&mut self, key: StreamKey, now: Duration) {
        if let Some(stream) = self.streams.get_mut(key) {
            // It goes on from its own place.
            stream.gathered = None;
        }
        if self.try_pump(key, now).is_err() {
            self.close(key, CloseReason::Left);
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.count_behind(&self.counters, !stream.subscription.is_live());
        }
    }

    fn try_pump(&mut self, key: StreamKey, now: Duration) -> Result<(), Gone> {
        let mut pulls = 0;
        loop {
            let view = self.log.view();
            let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
            stream.flush(now)?;
            if stream.full {
                if self.counters.page_bytes.load(Ordering::Relaxed) > PAGES_BYTES_MAX {
                    stream.subscription.put_down();
                }
                return Ok(());
            }
            if pulls == TURN_PULLS_MAX {
                stream.queue_up(&mut self.queue);
                return Ok(());
            }
            self.portion.clear();
            match stream.subscription.pull(&view, &mut self.portion) {
                Pull::Some => {
                    pulls += 1;
                    self.give_way.wrote();
                    stream.send(&self.portion, now)?;
                }
                Pull::Ahead => {
                    stream.queue_up(&mut self.queue);
                    return Ok(());
                }
                Pull::Page(catchup) => {
                    self.jobs.push(stream.job(Work::Page(catchup)));
                    return Ok(());
                }
                Pull::Waiting => return Ok(()),
                Pull::Live => {
                    self.ask_for_end(key);
                    return Ok(());
                }
                Pull::End(reason) => {
                    self.end(key, reason, CloseReason::Overflow);
                    return Ok(());
                }
            }
        }
    }

    /// Passes over what is new in the window, or over a part of it where there is much: what a live stream gets leaves in
    /// one write.
    pub(crate) fn pass(&mut self, now: Duration) {
        if self.streams.is_empty() {
            self.jump();
            return;
        }
        let entries = match self.log.window.entries(self.log.slot, PASS_ENTRIES_MAX, PASS_BYTES_MAX) {
            Slots::Entries(entries) if entries.is_empty() => return,
            Slots::Entries(entries) => entries,
            Slots::Gone => return self.fall_below(),
        };
        self.learn(&entries);
        {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            self.pass.offer(&index, &mut self.streams, self.log.slot, &entries);
        }
        let (slot, position) = (self.log.slot, self.log.position);
        self.log.slot += entries.len() as u64;
        if let Some(last) = entries.last() {
            self.log.position = self.log.position.max(last.position);
        }
        let touched = self.pass.take_touched(&mut self.streams);
        let passed = Passed { entries: &entries, slot, position };
        let mut together = NO_RUN;
        let mut gone = Vec::new();
        for key in &touched {
            if self.deliver(*key, &passed, &mut together, now).is_err() {
                gone.push(*key);
            }
        }
        self.pass.end(touched);
        self.gathering.end_pass();
        self.progress.stands(self.log.slot);
        if entries.iter().any(|entry| entry.is_end()) {
            self.hear_ends(&entries);
        }
        self.log.recent.push(slot, entries);
        self.log.recent.forget_before(self.log.window.first());
        for key in gone {
            self.close(key, CloseReason::Left);
        }
    }

    /// Finds out which patterns match the channels of entries, where that isn't known.
    fn learn(&self, entries: &[Arc<Entry>]) {
        let names = || entries.iter().flat_map(|entry| &entry.record.channels);
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let is_known = names().all(|name| index.knows(name));
        drop(index);
        if !is_known {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            names().for_each(|name| index.learn(name));
        }
    }

    /// Without streams there is nothing to pass over.
    fn jump(&mut self) {
        let (position, slot) = self.log.window.head();
        self.log.position = self.log.position.max(position);
        self.log.slot = slot;
        self.progress.stands(if self.streams.is_empty() { Progress::NOWHERE } else { slot });
        self.log.recent.forget_before(slot);
    }

    /// The window has not what comes next: the shard was slower than all of it, a group of events larger, or something was
    /// never in it. Live streams go on from history.
    fn fall_below(&mut self) {
        let mut streams = 0;
        for stream in self.streams.iter_mut() {
            if let Some(catchup) = stream.subscription.fall_below(self.log.position) {
                self.jobs.push(stream.job(Work::Page(catchup)));
                stream.count_behind(&self.counters, true);
                streams += 1;
            } else if stream.gathered.take().is_some() {
                // It goes on from its own place, and nobody else would have it do so.
                stream.queue_up(&mut self.queue);
            }
        }
        if streams > 0 {
            tracing::warn!(streams, "what live streams are to get next is not in the window; they go on from history");
        }
        self.jump();
    }
}

#[cfg(test)]
impl Shard {
    /// The id of a stream.
    pub(crate) fn id_of(&mut self, key: StreamKey) -> Option<StreamId> {
        self.streams.get_mut(key).map(|stream| stream.subscription.id())
    }

    /// That no stream holds more than a page, the rest of one frame, and the hub's own words.
    pub(crate) fn assert_bounds(&self) {
        for stream in self.streams.iter() {
            // It may have followed more when they were said.
            let own_words = stream.subscription.follows().len().max(16) + 2;
            assert!(stream.subscription.page_len() <= crate::limits::PAGE_EVENTS_MAX);
            assert_eq!(stream.run, NO_RUN, "between passes nothing is on its way");
            let rest = stream.rest_len();
            assert!(rest <= 300 * own_words, "{rest} bytes wait for one stream");
            assert!(!stream.subscription.is_live() || stream.is_clear(), "what is live waits for nothing");
            let gathers = stream.gathered.is_some();
            assert!(!gathers || (stream.is_clear() && !stream.subscription.is_live() && !stream.queued));
        }
    }
}
