//! A hub in pieces, which a simulation moves one by one: a writer, two shards, what they want to be read, and a disk that
//! fails when told to. Knows nothing of what is published, nor of what should come of it.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::connection::Connection;
use crate::change::remembered::Remembered;
use crate::clock::{Clock, ManualClock};
use crate::history::History;
use crate::history::beginning::{LastEventId, is_now};
use crate::history::catchup::Resumed;
use crate::index::StreamKey;
use crate::outlet::Outlet;
use crate::rule::Rules;
use crate::shard::{Answer, Job, Opening, Shard, ShardSettings};
use crate::space::Space;
use crate::stats::{CloseReason, Counters};
use crate::store::Store;
use crate::store::faulty::{Fate, Fault, FaultyStore};
use crate::subscription::Subscription;
use crate::writer::{Writer, WriterParts};

/// How a hub is built, each time that its process begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) rules: fn() -> Rules,
    /// How many channels the writer has in memory.
    pub(super) channels_max: usize,
    pub(super) window_bytes: usize,
    pub(super) cursor_age_max: Duration,
    /// How long a stream may last.
    pub(super) age_max: Option<Duration>,
}

/// The size of some hub's window: none, about a page, several, all there is.
pub(super) fn random_window(rng: &mut StdRng) -> usize {
    [0, 3_000, 20_000, 1 << 20][rng.random_range(0..4)]
}

/// A hub in pieces.
pub(super) struct Pieces {
    pub(super) plan: Plan,
    pub(super) clock: Arc<ManualClock>,
    pub(super) disk: Arc<FaultyStore>,
    pub(super) writer: Writer,
    pub(super) history: History,
    pub(super) shards: Vec<Shard>,
    pub(super) counters: Arc<Counters>,
    pub(super) remembered: Arc<Remembered>,
    /// Reads that nobody has done yet, with their shard.
    jobs: Vec<(usize, Job)>,
}

/// What was read for a stream and has yet to reach its shard.
pub(super) struct WasRead {
    shard: usize,
    key: StreamKey,
    answer: Answer,
}

fn open_writer(plan: &Plan, disk: &Arc<FaultyStore>, clock: &Arc<ManualClock>, seed: u64) -> Writer {
    let mut rng = StdRng::seed_from_u64(seed);
    let store: Arc<dyn Store> = disk.clone();
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: Arc::new((plan.rules)()),
        clock: clock.clone(),
        random: Box::new(move || rng.random()),
        window_bytes: plan.window_bytes,
        channels_max: plan.channels_max,
        cursor_age_max: plan.cursor_age_max,
    })
    .unwrap()
}

impl Pieces {
    /// A hub on an empty disk.
    pub(super) fn new(plan: Plan, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let disk = Arc::new(FaultyStore::default());
        let writer = open_writer(&plan, &disk, &clock, seed);
        let counters = Arc::<Counters>::default();
        let mut pieces = Self {
            plan,
            history: writer.history(),
            remembered: Arc::new(Remembered::new(clock.clone(), counters.clone())),
            clock,
            disk,
            writer,
            shards: Vec::new(),
            counters,
            jobs: Vec::new(),
        };
        pieces.start_shards();
        pieces
    }

    /// Another process opens the disk.
    pub(super) fn start_again(&mut self, seed: u64) {
        self.writer = open_writer(&self.plan, &self.disk, &self.clock, seed);
        self.history = self.writer.history();
        self.remembered = Arc::new(Remembered::new(self.clock.clone(), self.counters.clone()));
        self.start_shards();
    }

    fn start_shards(&mut self) {
        let settings = ShardSettings {
            stall_max: Duration::from_secs(30),
            rate_min: 20,
            slow_max: Duration::from_mins(1),
            age_max: self.plan.age_max,
            retry: (Duration::from_secs(2), Duration::from_secs(4)),
            bye_retry: (Duration::from_secs(3), Duration::from_secs(6)),
        };
        let new = |number: usize| {
            let mut rng = StdRng::seed_from_u64(number as u64 + 1);
            let (window, epochs) = (self.writer.window.clone(), self.writer.epochs.clone());
            let random = Box::new(move || rng.random::<f64>());
            let counted = (self.counters.clone(), self.writer.endings.clone());
            let remembered = (number, self.remembered.clone());
            Shard::new(window, epochs, counted, remembered, settings, random, self.clock.elapsed())
        };
        self.shards = vec![new(0), new(1)];
        self.jobs.clear();
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Some commit to come fails, in one way or another.
    pub(super) fn break_store(&self, rng: &mut StdRng) {
        let fate = [Fate::Kept, Fate::Dropped, Fate::DroppedWithUnsynced][rng.random_range(0..3)];
        let failed_reopenings = rng.random_range(0..4);
        let closed_meanwhile = rng.random_bool(0.5);
        self.disk.fail(Fault { fate, failed_reopenings, closed_meanwhile });
    }

    /// One of the shards, any of them, takes in what is new in the window.
    pub(super) fn pass(&mut self, rng: &mut StdRng) {
        let (which, now) = (rng.random_range(0..self.shards.len()), self.now());
        self.shards[which].set_time(self.clock.unix_ms());
        self.shards[which].pass(now);
        self.shards[which].turn(now);
        self.shards[which].flush(now);
    }

    /// Takes up what shards want to be read.
    pub(super) fn gather_jobs(&mut self) {
        for (at, shard) in self.shards.iter_mut().enumerate() {
            self.jobs.extend(shard.take_jobs().into_iter().map(|job| (at, job)));
        }
    }

    /// Does one of the reads, any of them.
    pub(super) fn read(&mut self, rng: &mut StdRng) -> Option<WasRead> {
        if self.jobs.is_empty() {
            return None;
        }
        let job = self.jobs.swap_remove(rng.random_range(0..self.jobs.len()));
        self.run(job)
    }

    /// Does a read, or puts it off where the store can't be read.
    fn run(&mut self, (shard, job): (usize, Job)) -> Option<WasRead> {
        let Job { key, work, place } = job;
        match work.run(&self.history) {
            Ok(answer) => Some(WasRead { shard, key, answer }),
            Err(work) => {
                assert!(self.disk.is_closed(), "only then reading is put off");
                self.jobs.push((shard, Job { key, work, place }));
                None
            }
        }
    }

    /// What was read reaches its shard.
    pub(super) fn answer(&mut self, read: WasRead) {
        let now = self.now();
        self.shards[read.shard].answer(read.key, read.answer, now);
    }

    /// All is read that shards want. Then they do all that they can, and gather nothing that is to leave until `flushed`.
    /// Whether there was nothing to be read.
    pub(super) fn work_off(&mut self, flushed: Duration) -> bool {
        self.gather_jobs();
        let jobs = std::mem::take(&mut self.jobs);
        let was_idle = jobs.is_empty();
        for job in jobs {
            if let Some(read) = self.run(job) {
                self.answer(read);
            }
        }
        let now = self.now();
        for shard in &mut self.shards {
            shard.set_time(self.clock.unix_ms());
            while shard.has_work() {
                shard.pass(now);
                shard.turn(now);
            }
            shard.flush(flushed);
        }
        was_idle
    }

    /// Whether nobody waits to be read for.
    pub(super) fn has_read_all(&mut self) -> bool {
        self.gather_jobs();
        self.jobs.is_empty()
    }

    /// One of the shards, any of them, opens a stream.
    pub(super) fn open_anywhere(
        &mut self,
        asked: (Subscription, Outlet, LastEventId),
        rng: &mut StdRng,
    ) -> (usize, StreamKey) {
        let shard = rng.random_range(0..self.shards.len());
        (shard, self.open(shard, asked, None))
    }

    /// A shard opens a stream.
    pub(super) fn open(
        &mut self,
        shard: usize,
        (subscription, outlet, last): (Subscription, Outlet, LastEventId),
        resumed: Option<Box<Resumed>>,
    ) -> StreamKey {
        let now = self.now();
        let (head, _) = self.writer.window.head();
        let is_now = is_now(&self.history, subscription.follows());
        self.shards[shard].open(Opening { subscription, outlet, last, resumed, head, is_now, place: None }, now)
    }

    /// The shard of a stream hears that there is room in its mailbox, if it waits for that.
    pub(super) fn hear_room(&mut self, connection: &mut Connection) {
        if let (true, Some((shard, key))) = (connection.take_room(), connection.at) {
            self.shards[shard].ready(key);
        }
    }

    /// The shard of a stream hears that its listener has left.
    pub(super) fn leave(&mut self, connection: &Connection) {
        if let Some((shard, key)) = connection.at {
            self.shards[shard].close(key, CloseReason::Left);
        }
    }
}
