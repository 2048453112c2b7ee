//! State channels in the whole engine, against a naive reference: random values and deletions, cuts in the
//! midst of beginnings, slow readers, restarts and crashes, stores that fail. Whoever listens ends with the values that
//! there are, hears no key's values out of order, and nothing of what was deleted before it was on its way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::pieces::{Pieces, Plan, random_window};
use super::run_seeds;
use crate::AppendError;
use crate::channel::ChannelName;
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::pattern::Pattern;
use crate::rule::{Durability, Overflow, Rule, Rules, WhenFull};
use crate::store::faulty::Fate;
use crate::window::entry::Entry;
use crate::writer::Group;

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

fn rules() -> Rules {
    let rule = |pattern| Rule::new(Pattern::new(pattern).unwrap()).keys(4, WhenFull::Refuse);
    let memory = rule("memory").durability(Durability::Memory).overflow(Overflow::Conflate);
    Rules::new(vec![rule("skip"), rule("flow").overflow(Overflow::Conflate), memory])
}

struct World {
    rng: StdRng,
    hub: Pieces,
    /// What is unknown until the store is back, and what will turn out then.
    doubts: Vec<Change>,
    fate: Option<Fate>,
    clients: Vec<Client>,
    values: Values,
    next: u64,
    met: Vec<&'static str>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan {
            rules,
            channels_max: 2,
            window_bytes: random_window(&mut rng),
            cursor_age_max: Duration::from_hours(1_000),
            age_max: None,
        };
        let hub = Pieces::new(plan, rng.random());
        let clients = (0..rng.random_range(1..6)).map(|_| Client::random(&mut rng)).collect();
        Self { rng, hub, doubts: Vec::new(), fate: None, clients, values: Values::new(), next: 1, met: Vec::new() }
    }

    fn step(&mut self) {
        if self.hub.writer.is_failed() && self.rng.random_bool(0.2) {
            self.reopen();
        }
        match self.rng.random_range(0..100) {
            0..35 => self.publish(),
            35..45 => self.hub.pass(&mut self.rng),
            45..62 => self.read_one(),
            62..80 => {
                let which = self.rng.random_range(0..self.clients.len());
                let count = if self.rng.random_bool(0.4) { self.rng.random_range(1..150) } else { usize::MAX };
                self.carry(which, count);
            }
            80..88 => self.connect_or_cut(),
            88..92 => self.hub.clock.advance(Duration::from_millis(self.rng.random_range(1..5_000))),
            92..95 => {
                self.hub.writer.sweep();
            }
            95 if self.rng.random_bool(0.5) => self.restart(),
            96..98 => self.hub.break_store(&mut self.rng),
            _ => {}
        }
        self.hub.gather_jobs();
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
        let was_failed = self.hub.writer.is_failed();
        let outcomes = self.hub.writer.append(groups);
        for (change, outcome) in changes.into_iter().zip(outcomes.into_iter().flatten()) {
            match outcome {
                Ok(_) => self.apply(change, true),
                Err(AppendError::OutcomeUnknown) if !was_failed => self.doubts.push(change),
                Err(AppendError::UnknownKey | AppendError::TooManyKeys | AppendError::Batch(_)) => {}
                // Also what would be refused for the sake of what nobody knows the outcome of.
                Err(AppendError::Reopening) if self.hub.writer.is_failed() => {}
                Err(error) => panic!("{change:?}: {error}"),
            }
        }
        if !was_failed && self.hub.writer.is_failed() {
            self.fate = self.hub.disk.fate();
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
        if self.hub.writer.reopen().is_ok() {
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
        if !crash && !self.hub.writer.is_failed() && self.hub.writer.close().is_err() {
            self.met.push("failed at the end");
        }
        self.hub.disk.restart(crash);
        self.met.push(if crash { "crashed" } else { "restarted" });
        self.values.retain(|(channel, _), _| *channel != "memory");
        self.hub.start_again(self.rng.random());
        self.find_out(false);
    }

    fn read_one(&mut self) {
        let Some(read) = self.hub.read(&mut self.rng) else { return };
        if self.rng.random_bool(0.4) {
            // Between reading and the answer's arrival anything may happen.
            self.publish();
        }
        self.hub.answer(read);
    }

    fn carry(&mut self, which: usize, count: usize) {
        let client = &mut self.clients[which];
        client.receive(count);
        self.hub.hear_room(&mut client.connection);
        if client.is_over() {
            self.hub.leave(&client.connection);
            client.cut();
        }
    }

    fn connect_or_cut(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        if self.clients[which].connection.is_open() {
            self.hub.leave(&self.clients[which].connection);
            self.clients[which].cut();
        } else {
            self.connect(which);
        }
    }

    fn connect(&mut self, which: usize) {
        if self.hub.disk.is_closed() {
            return;
        }
        let client = &mut self.clients[which];
        let (_, slot) = self.hub.writer.window.head();
        // What is in doubt may yet be released.
        let next = self.doubts.first().map_or(self.next, |change| change.number);
        let asked = client.connect(slot, next);
        client.connection.at = Some(self.hub.open_anywhere(asked, &mut self.rng));
    }

    /// Lets everything come to rest.
    fn settle(&mut self) {
        self.hub.disk.disarm();
        while self.hub.writer.is_failed() {
            self.reopen();
        }
        for _ in 0..10_000 {
            for which in 0..self.clients.len() {
                if !self.clients[which].connection.is_open() {
                    self.connect(which);
                }
            }
            let was_idle = self.hub.work_off(Duration::MAX);
            let mut carried = false;
            for which in 0..self.clients.len() {
                carried |= self.clients[which].connection.has_bytes();
                self.carry(which, usize::MAX);
            }
            let is_read = self.hub.has_read_all();
            if was_idle && !carried && is_read && self.clients.iter().all(|client| client.connection.is_open()) {
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
            let known = self.hub.history.row(&ChannelName::new(channel).unwrap()).unwrap();
            let (values, next) = self.hub.history.values(known, "", 100).unwrap();
            let value = |entry: &Arc<Entry>| std::str::from_utf8(&entry.record.data).unwrap().parse().unwrap();
            let found: Vec<u64> = values.iter().map(value).collect();
            let expected: Vec<u64> = self.values.iter().filter(|((c, _), _)| *c == channel).map(|(_, n)| *n).collect();
            assert_eq!((found, next), (expected.clone(), None), "what {channel} lists");
            assert_eq!(self.hub.history.tally(known).unwrap().0, expected.len() as u64, "what {channel} counts");
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
    run_seeds("state channels", 150, 10_000, |seed| drop(run(seed)));
}

#[test]
fn runs_meet_trouble_of_every_kind() {
    let met: Vec<&str> = (0..30).flat_map(run).collect();
    for what in ["found", "reopened", "crashed", "restarted", "gap", "deletion", "cut in a beginning", "value"] {
        assert!(met.contains(&what), "no run met this: {what}");
    }
}
