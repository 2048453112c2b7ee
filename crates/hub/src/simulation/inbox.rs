//! Inboxes in the whole engine, against a naive reference: messages to users who each have two devices,
//! acknowledgements of every kind, cuts in the midst of beginnings, slow readers, restarts and crashes, stores that fail. All
//! devices end with the messages that nobody acknowledged; none gets a message twice or one that was acknowledged before it
//! came, and nothing is acknowledged that its device never had.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::pieces::{Pieces, Plan, random_window};
use super::run_seeds;
use crate::AppendError;
use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::inbox::Acknowledge;
use crate::pattern::Pattern;
use crate::rule::{HistoryLimits, Rule, Rules};
use crate::store::faulty::Fate;
use crate::user::UserName;
use crate::writer::Group;

mod client;
mod devices;

use client::Client;

/// Users. The inbox of the last one is so small that it often drops its oldest.
const USERS: [&str; 2] = ["ada", "bob"];

/// What the small inbox holds.
const SMALL: usize = 4;

/// A channel that some devices follow beside their inbox.
const EVENTS: &str = "events";

/// What was asked of the log, whatever became of it.
#[derive(Clone, Copy, Debug)]
enum Change {
    Message(usize, u64),
    Acknowledged(usize, u64),
    Nothing,
}

/// What a user's inbox holds.
#[derive(Clone, Debug, Default)]
struct Inbox {
    /// Numbers of messages that wait.
    waiting: BTreeSet<u64>,
    acknowledged: HashSet<u64>,
    dropped: HashSet<u64>,
}

fn rules() -> Rules {
    let small = HistoryLimits { count_max: SMALL as u64, ..HistoryLimits::default() };
    Rules::new(vec![Rule::new(Pattern::new("@inbox/bob").unwrap()).history(small)])
}

fn user(which: usize) -> UserName {
    UserName::new(USERS[which]).unwrap()
}

struct World {
    rng: StdRng,
    hub: Pieces,
    /// What is unknown until the store is back, and what will turn out then.
    doubts: Vec<Change>,
    fate: Option<Fate>,
    clients: Vec<Client>,
    inboxes: [Inbox; 2],
    /// Nobody acknowledges but by coming back, so that messages wait for long.
    is_patient: bool,
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
        let clients = (0..4).map(|which| Client::random(which / 2, which % 2, &mut rng)).collect();
        Self {
            rng,
            hub,
            doubts: Vec::new(),
            fate: None,
            clients,
            inboxes: Default::default(),
            is_patient: seed.is_multiple_of(3),
            next: 1,
            met: Vec::new(),
        }
    }

    fn step(&mut self) {
        if self.hub.writer.is_failed() && self.rng.random_bool(0.2) {
            self.reopen();
        }
        match self.rng.random_range(0..100) {
            0..25 => self.publish(),
            25..35 if !self.is_patient => self.acknowledge(),
            35..45 => self.hub.pass(&mut self.rng),
            45..62 => self.read_one(),
            62..80 => {
                let which = self.rng.random_range(0..self.clients.len());
                let count = if self.rng.random_bool(0.4) { self.rng.random_range(1..300) } else { usize::MAX };
                self.carry(which, count);
            }
            80..89 => self.connect_or_cut(),
            89..92 => self.hub.clock.advance(Duration::from_millis(self.rng.random_range(1..5_000))),
            92..95 => {
                self.hub.writer.sweep();
            }
            95 if self.rng.random_bool(0.5) => self.restart(),
            96..98 => self.hub.break_store(&mut self.rng),
            _ => {}
        }
        self.hub.gather_jobs();
    }

    /// Appends drafts and takes in what became of them. Tells whether all were taken or turned out to be nothing.
    fn append(&mut self, drafts: Vec<Draft>, changes: &[Change]) -> bool {
        let was_failed = self.hub.writer.is_failed();
        let outcomes = self.hub.writer.append(vec![Group { drafts, atomic: false }]).remove(0);
        let mut is_done = true;
        for (change, outcome) in changes.iter().zip(outcomes) {
            match outcome {
                Ok(_) => self.apply(*change),
                Err(AppendError::UnknownKey) => self.met.push("acknowledged twice"),
                Err(AppendError::OutcomeUnknown) if !was_failed => {
                    self.doubts.push(*change);
                    is_done = false;
                }
                // Also what would be refused for the sake of what nobody knows the outcome of.
                Err(AppendError::Reopening) if self.hub.writer.is_failed() => is_done = false,
                Err(error) => panic!("{change:?}: {error}"),
            }
        }
        if !was_failed && self.hub.writer.is_failed() {
            self.fate = self.hub.disk.fate();
        }
        is_done
    }

    fn publish(&mut self) {
        let (mut drafts, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..self.rng.random_range(1..5) {
            let event = Event::text(self.next.to_string());
            if self.rng.random_bool(0.2) {
                let channels = vec![ChannelName::new(EVENTS).unwrap()];
                drafts.push(Draft::new(channels, Event::text("noise"), Publisher::Anyone).unwrap());
                changes.push(Change::Nothing);
            } else {
                let which = self.rng.random_range(0..USERS.len());
                drafts.push(Draft::to_user(&user(which), event, Publisher::Anyone).unwrap());
                changes.push(Change::Message(which, self.next));
            }
            self.next += 1;
        }
        self.append(drafts, &changes);
    }

    /// A device acknowledges something of what it had, or somebody empties an inbox.
    fn acknowledge(&mut self) {
        if self.hub.disk.is_closed() {
            return;
        }
        let client = &self.clients[self.rng.random_range(0..self.clients.len())];
        let which = client.user;
        let Some(had) = client.had.get(self.rng.random_range(0..=client.had.len())) else {
            if self.rng.random_bool(0.1) {
                let all = self.inboxes[which].waiting.clone();
                self.acknowledge_as(which, &Acknowledge::All, &all);
            }
            return;
        };
        let id: Cursor = had.id.parse().unwrap();
        let waiting = &self.inboxes[which].waiting;
        let (what, expected) = match self.rng.random_range(0..3) {
            0 => (Acknowledge::Upto(id), waiting.range(..=had.number).copied().collect()),
            1 => (Acknowledge::Ids(vec![id]), waiting.get(&had.number).copied().into_iter().collect()),
            _ => (Acknowledge::Keys(vec![had.key.clone()]), BTreeSet::from([had.number])),
        };
        self.acknowledge_as(which, &what, &expected);
    }

    fn acknowledge_as(&mut self, which: usize, what: &Acknowledge, expected: &BTreeSet<u64>) {
        let drafts = self.hub.history.acknowledged(&user(which), what).unwrap();
        let numbers = self.numbers(which, &drafts);
        // What is in doubt may stand in the store already.
        if self.doubts.is_empty() && !matches!(what, Acknowledge::Keys(_)) {
            let found: BTreeSet<u64> = numbers.iter().flatten().copied().collect();
            assert_eq!(found, *expected, "{what:?}");
        }
        if self.rng.random_bool(0.3) {
            self.publish();
        }
        let change = |number: Option<u64>| number.map_or(Change::Nothing, |n| Change::Acknowledged(which, n));
        let changes: Vec<Change> = numbers.into_iter().map(change).collect();
        self.append(drafts, &changes);
    }

    /// The messages that deletions are of, where they are still there.
    fn numbers(&self, which: usize, drafts: &[Draft]) -> Vec<Option<u64>> {
        let known = self.hub.history.row(user(which).inbox()).unwrap();
        let number = |draft: &Draft| {
            let key = draft.event.key.as_deref().filter(|_| draft.event.is_deleted)?;
            let entry = self.hub.history.value(known, key).unwrap()?;
            Some(std::str::from_utf8(&entry.record.data).unwrap().parse().unwrap())
        };
        drafts.iter().map(number).collect()
    }

    /// A change has come to be.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Message(which, number) => {
                let inbox = &mut self.inboxes[which];
                inbox.waiting.insert(number);
                if USERS[which] == "bob" && inbox.waiting.len() > SMALL {
                    inbox.dropped.extend(inbox.waiting.pop_first());
                    self.met.push("dropped");
                }
            }
            Change::Acknowledged(which, number) => {
                let inbox = &mut self.inboxes[which];
                if inbox.waiting.remove(&number) {
                    inbox.acknowledged.insert(number);
                }
            }
            Change::Nothing => {}
        }
    }

    /// The store is back, or the process: what was unknown is so or not.
    fn find_out(&mut self) {
        let doubts = std::mem::take(&mut self.doubts);
        if self.fate == Some(Fate::Kept) && !doubts.is_empty() {
            self.met.push("found");
            for change in doubts {
                self.apply(change);
            }
        }
    }

    fn reopen(&mut self) {
        if self.hub.writer.reopen().is_ok() {
            self.met.push("reopened");
            self.find_out();
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
        self.hub.start_again(self.rng.random());
        self.find_out();
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
fn all_devices_end_with_what_nobody_acknowledged() {
    run_seeds("inboxes", 150, 10_000, |seed| drop(run(seed)));
}

#[test]
fn runs_meet_trouble_of_every_kind() {
    let met: Vec<&str> = (0..30).flat_map(run).collect();
    for what in [
        "found",
        "reopened",
        "crashed",
        "restarted",
        "gap",
        "deletion",
        "cut in a beginning",
        "message",
        "dropped",
        "acknowledged twice",
        "acknowledged by coming back",
        "a foreign id",
    ] {
        assert!(met.contains(&what), "no run met this: {what}");
    }
}
