//! State channels in the whole engine, without threads, against a naive reference: random values and deletions, cuts in the
//! midst of beginnings, slow readers, restarts and crashes, stores that fail. Whoever listens ends with the values that
//! there are, hears no key's values out of order, and nothing of what was deleted before it was on its way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::AppendError;
use crate::channel::ChannelName;
use crate::clock::{Clock, ManualClock};
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::history::History;
use crate::pattern::Pattern;
use crate::remembered::Remembered;
use crate::rule::{Durability, Overflow, Rule, Rules, WhenFull};
use crate::shard::{Job, Opening, Shard, ShardSettings};
use crate::space::Space;
use crate::stats::{CloseReason, Counters};
use crate::store::Store;
use crate::store::faulty::{Fate, Fault, FaultyStore};
use crate::writer::{Group, Writer, WriterParts};

mod client;

use client::Client;

/// Channels with keys: two on disk, of which one is conflated, and one in memory.
const STATES: [&str; 3] = ["skip", "flow", "memory"];

/// A channel without keys beside them.
const EVENTS: &str = "events";

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What channels hold: keys with the numbers that are their values.
type Values = BTreeMap<(&'static str, &'static str), u64>;

/// What was published, whatever became of it.
#[derive(Clone, Copy, Debug)]
struct Change {
    channel: &'static str,
    key: Option<&'static str>,
    number: u64,
    is_deleted: bool,
}

fn rules() -> Arc<Rules> {
    let rule = |pattern| Rule::new(Pattern::new(pattern).unwrap()).keys(4, WhenFull::Refuse);
    let memory = rule("memory").durability(Durability::Memory).overflow(Overflow::Conflate);
    Arc::new(Rules::new(vec![rule("skip"), rule("flow").overflow(Overflow::Conflate), memory]))
}

struct World {
    rng: StdRng,
    clock: Arc<ManualClock>,
    disk: Arc<FaultyStore>,
    /// What is unknown until the store is back, and what will turn out then.
    doubts: Vec<Change>,
    fate: Option<Fate>,
    writer: Writer,
    history: History,
    shards: Vec<Shard>,
    jobs: Vec<(usize, Job)>,
    clients: Vec<Client>,
    values: Values,
    next: u64,
    window_bytes: usize,
    met: Vec<&'static str>,
}

fn open_writer(disk: &Arc<FaultyStore>, clock: &Arc<ManualClock>, seed: u64, window_bytes: usize) -> Writer {
    let mut rng = StdRng::seed_from_u64(seed);
    let store: Arc<dyn Store> = disk.clone();
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: rules(),
        clock: clock.clone(),
        random: Box::new(move || rng.random()),
        window_bytes,
        channels_max: 2,
        cursor_age_max: Duration::from_hours(1_000),
    })
    .unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let clock = Arc::new(ManualClock::at(1_000_000));
        let disk = Arc::new(FaultyStore::default());
        let window_bytes = [0, 3_000, 20_000, 1 << 20][rng.random_range(0..4)];
        let writer = open_writer(&disk, &clock, rng.random(), window_bytes);
        let history = writer.history();
        let clients = (0..rng.random_range(1..6)).map(|_| Client::random(&mut rng)).collect();
        let mut world = Self {
            rng,
            clock,
            disk,
            doubts: Vec::new(),
            fate: None,
            writer,
            history,
            shards: Vec::new(),
            jobs: Vec::new(),
            clients,
            values: Values::new(),
            next: 1,
            window_bytes,
            met: Vec::new(),
        };
        world.start_shards();
        world
    }

    fn start_shards(&mut self) {
        let settings = ShardSettings {
            stall_max: Duration::from_secs(30),
            rate_min: 20,
            slow_max: Duration::from_mins(1),
            age_max: None,
            retry: (Duration::from_secs(2), Duration::from_secs(4)),
            bye_retry: (Duration::from_secs(3), Duration::from_secs(6)),
        };
        let new = |seed: u64| {
            let mut rng = StdRng::seed_from_u64(seed);
            let (window, epochs) = (self.writer.window.clone(), self.writer.epochs.clone());
            let random = Box::new(move || rng.random::<f64>());
            let counters = Arc::<Counters>::default();
            let remembered = (0, Arc::new(Remembered::new(self.clock.clone(), counters.clone())));
            let shared = (counters, self.writer.endings.clone());
            Shard::new(window, epochs, shared, remembered, settings, random, self.clock.elapsed())
        };
        self.shards = vec![new(1), new(2)];
        self.jobs.clear();
    }

    fn step(&mut self) {
        if self.writer.is_failed() && self.rng.random_bool(0.2) {
            self.reopen();
        }
        let now = self.clock.elapsed();
        match self.rng.random_range(0..100) {
            0..35 => self.publish(),
            35..45 => {
                let which = self.rng.random_range(0..self.shards.len());
                self.shards[which].pass(now);
                self.shards[which].turn(now);
            }
            45..62 => self.read_one(),
            62..80 => {
                let which = self.rng.random_range(0..self.clients.len());
                let count = if self.rng.random_bool(0.4) { self.rng.random_range(1..150) } else { usize::MAX };
                self.carry(which, count);
            }
            80..88 => self.connect_or_cut(),
            88..92 => self.clock.advance(Duration::from_millis(self.rng.random_range(1..5_000))),
            92..95 => {
                self.writer.sweep();
            }
            95 if self.rng.random_bool(0.5) => self.restart(),
            96..98 => {
                let fate = [Fate::Kept, Fate::Dropped, Fate::DroppedWithUnsynced][self.rng.random_range(0..3)];
                let (failed_reopenings, closed_meanwhile) = (self.rng.random_range(0..3), self.rng.random_bool(0.5));
                self.disk.fail(Fault { fate, failed_reopenings, closed_meanwhile });
            }
            _ => {}
        }
        self.gather_jobs();
    }

    fn change(&mut self) -> Change {
        self.next += 1;
        let number = self.next - 1;
        if self.rng.random_bool(0.1) {
            return Change { channel: EVENTS, key: None, number, is_deleted: false };
        }
        let channel = STATES[self.rng.random_range(0..STATES.len())];
        let key = Some(KEYS[self.rng.random_range(0..KEYS.len())]);
        Change { channel, key, number, is_deleted: self.rng.random_bool(0.25) }
    }

    fn publish(&mut self) {
        let mut groups = Vec::new();
        let mut changes = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let mut drafts = Vec::new();
            for _ in 0..self.rng.random_range(1..5) {
                let change = self.change();
                let event = match change.key {
                    Some(key) if change.is_deleted => Event::deletion(key),
                    Some(key) => Event::text(change.number.to_string()).keyed(key),
                    None => Event::text(change.number.to_string()),
                };
                let channels = vec![ChannelName::new(change.channel).unwrap()];
                drafts.push(Draft::new(channels, event, Publisher::Anyone).unwrap());
                changes.push(change);
            }
            groups.push(Group { drafts, atomic: self.rng.random_bool(0.3) });
        }
        let was_failed = self.writer.is_failed();
        let outcomes = self.writer.append(groups);
        for (change, outcome) in changes.into_iter().zip(outcomes.into_iter().flatten()) {
            match outcome {
                Ok(_) => self.apply(change, true),
                Err(AppendError::OutcomeUnknown) if !was_failed => self.doubts.push(change),
                Err(AppendError::UnknownKey | AppendError::TooManyKeys | AppendError::Batch(_)) => {}
                Err(AppendError::Reopening) if was_failed => {}
                Err(error) => panic!("{change:?}: {error}"),
            }
        }
        if !was_failed && self.writer.is_failed() {
            self.fate = self.disk.fate();
        }
    }

    /// A change has come to be.
    fn apply(&mut self, change: Change, is_acknowledged: bool) {
        let Change { channel, key: Some(key), number, is_deleted } = change else { return };
        if !is_deleted {
            self.values.insert((channel, key), number);
            return;
        }
        self.values.remove(&(channel, key));
        if is_acknowledged {
            self.clients.iter_mut().for_each(|client| client.withdraw(channel, key, number));
        }
    }

    /// The store is back, or the process: what was unknown is so or not.
    fn find_out(&mut self, same_process: bool) {
        let doubts = std::mem::take(&mut self.doubts);
        let is_kept = self.fate == Some(Fate::Kept) && doubts.iter().any(|change| change.channel != "memory");
        for change in doubts {
            if is_kept && (same_process || change.channel != "memory") {
                self.met.push("found");
                self.apply(change, false);
            }
        }
    }

    fn reopen(&mut self) {
        if self.writer.reopen().is_ok() {
            self.met.push("reopened");
            self.find_out(true);
        }
    }

    fn restart(&mut self) {
        for client in &mut self.clients {
            client.receive(self.rng.random_range(0..1_000));
            client.cut();
        }
        let crash = self.rng.random_bool(0.5);
        if !crash && !self.writer.is_failed() && self.writer.close().is_err() {
            self.met.push("failed at the end");
        }
        self.disk.restart(crash);
        self.met.push(if crash { "crashed" } else { "restarted" });
        self.values.retain(|(channel, _), _| *channel != "memory");
        let seed = self.rng.random();
        self.writer = open_writer(&self.disk, &self.clock, seed, self.window_bytes);
        self.history = self.writer.history();
        self.find_out(false);
        self.start_shards();
    }

    fn gather_jobs(&mut self) {
        for (at, shard) in self.shards.iter_mut().enumerate() {
            self.jobs.extend(shard.take_jobs().into_iter().map(|job| (at, job)));
        }
    }

    fn read_one(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let (shard, Job { key, work, place }) = self.jobs.swap_remove(self.rng.random_range(0..self.jobs.len()));
        match work.run(&self.history) {
            Ok(answer) => {
                if self.rng.random_bool(0.4) {
                    // Between reading and the answer's arrival anything may happen.
                    self.publish();
                }
                self.shards[shard].answer(key, answer, self.clock.elapsed());
            }
            Err(work) => self.jobs.push((shard, Job { key, work, place })),
        }
    }

    fn carry(&mut self, which: usize, count: usize) {
        let client = &mut self.clients[which];
        client.receive(count);
        if let (true, Some((shard, key))) = (client.take_room(), client.connection) {
            self.shards[shard].ready(key);
        }
        if client.is_over() {
            if let Some((shard, key)) = client.connection {
                self.shards[shard].close(key, CloseReason::Left);
            }
            client.cut();
        }
    }

    fn connect_or_cut(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        if let Some((shard, key)) = self.clients[which].connection {
            self.shards[shard].close(key, CloseReason::Left);
            self.clients[which].cut();
        } else {
            self.connect(which);
        }
    }

    fn connect(&mut self, which: usize) {
        if self.disk.is_closed() {
            return;
        }
        let shard = self.rng.random_range(0..self.shards.len());
        let client = &mut self.clients[which];
        let (head, slot) = self.writer.window.head();
        // What is in doubt may yet be released.
        let next = self.doubts.first().map_or(self.next, |change| change.number);
        let (subscription, outlet, last) = client.connect(slot, next);
        let is_now = crate::beginning::is_now(&self.history, subscription.follows());
        let opening = Opening { subscription, outlet, last, resumed: None, head, is_now, place: None };
        client.connection = Some((shard, self.shards[shard].open(opening, self.clock.elapsed())));
    }

    /// Lets everything come to rest.
    fn settle(&mut self) {
        self.disk.disarm();
        while self.writer.is_failed() {
            self.reopen();
        }
        for _ in 0..10_000 {
            let now = self.clock.elapsed();
            for which in 0..self.clients.len() {
                if self.clients[which].connection.is_none() {
                    self.connect(which);
                }
            }
            for shard in &mut self.shards {
                while shard.has_work() {
                    shard.pass(now);
                    shard.turn(now);
                }
            }
            self.gather_jobs();
            let idle = self.jobs.is_empty();
            for (shard, Job { key, work, .. }) in std::mem::take(&mut self.jobs) {
                let Ok(answer) = work.run(&self.history) else { panic!("the store can be read") };
                self.shards[shard].answer(key, answer, now);
            }
            let mut carried = false;
            for which in 0..self.clients.len() {
                carried |= self.clients[which].has_bytes();
                self.carry(which, usize::MAX);
            }
            self.gather_jobs();
            if idle && !carried && self.jobs.is_empty() && self.clients.iter().all(|c| c.connection.is_some()) {
                return;
            }
        }
        panic!("the hub never comes to rest");
    }

    fn check(&self) {
        for client in &self.clients {
            let expected: HashMap<_, _> = self.values.iter().filter(|((name, _), _)| client.follows(name)).collect();
            let found: HashMap<_, _> = client.values.iter().collect();
            assert_eq!(found, expected, "{client:#?}");
        }
        for channel in STATES {
            let known = self.history.row(&ChannelName::new(channel).unwrap()).unwrap();
            let (values, next) = self.history.values(known, "", 100).unwrap();
            let value =
                |entry: &Arc<crate::entry::Entry>| std::str::from_utf8(&entry.record.data).unwrap().parse().unwrap();
            let found: Vec<u64> = values.iter().map(value).collect();
            let expected: Vec<u64> = self.values.iter().filter(|((c, _), _)| *c == channel).map(|(_, n)| *n).collect();
            assert_eq!((found, next), (expected.clone(), None), "what {channel} lists");
            assert_eq!(self.history.tally(known).unwrap().0, expected.len() as u64, "what {channel} counts");
        }
    }
}

/// Runs a whole world; gives what it met.
fn run(seed: u64) -> Vec<&'static str> {
    let mut world = World::new(seed);
    for _ in 0..500 {
        world.step();
    }
    world.settle();
    world.check();
    let clients = world.clients.iter().flat_map(|client| client.met.iter().copied());
    world.met.iter().copied().chain(clients).collect()
}

#[test]
fn everyone_ends_with_the_last_values_in_order_and_without_what_was_deleted() {
    let named = std::env::var("FANFARE_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let runs = if std::env::var_os("FANFARE_LONG").is_some() { 10_000 } else { 150 };
    for seed in named.map_or(0..runs, |seed| seed..seed + 1) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("the simulation of state channels failed; repeat it with FANFARE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn runs_meet_trouble_of_every_kind() {
    let met: Vec<&str> = (0..30).flat_map(run).collect();
    for what in ["found", "reopened", "crashed", "restarted", "gap", "deletion", "cut in a beginning", "value"] {
        assert!(met.contains(&what), "no run met this: {what}");
    }
}
