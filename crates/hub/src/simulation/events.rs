//! Events in the whole engine, against a naive reference: random publishes, cuts, stalls, retention, restarts and crashes,
//! stores that fail and come back, channels that appear, end and are opened again, all classes of durability.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::pieces::{Pieces, Plan, random_window};
use super::run_seeds;
use crate::audience::EVERYONE;
use crate::channel::ChannelName;
use crate::clock::Clock;
use crate::limits::DISK_RESERVE_BYTES;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::rule::{Durability, HistoryLimits, Overflow, Rule, Rules};
use crate::shard::Shard;
use crate::shard::change::Order;
use crate::store::faulty::FaultyStore;
use crate::stream_id::StreamId;

mod client;
mod connecting;
mod drafts;
mod ends;
mod publishing;
mod reference;
mod steering;
mod trouble;

use client::Client;
use reference::Reference;
use trouble::Failed;

const CHANNELS: [&str; 15] =
    ["a", "b", "m1", "m2", "t1", "r:1", "r:2", "r:3", "r:4", "o1", "x:1", "x:2", "f1", "f2", "tf"];

/// Those that end most often, and some clients follow nothing else.
const ENDING: [&str; 6] = ["a", "m1", "t1", "r:1", "x:1", "f1"];

/// Users of some of the clients, and those that some events are not for.
const USERS: [&str; 2] = ["ada", "bob"];

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn rules() -> Rules {
    let rule = |pattern, durability, count_max, age_s| {
        let age_max = Duration::from_secs(age_s);
        Rule::new(Pattern::new(pattern).unwrap()).durability(durability).history(HistoryLimits {
            count_max,
            age_max,
            ..HistoryLimits::default()
        })
    };
    Rules::new(vec![
        Rule { flush: Duration::from_secs(1), ..rule("tf", Durability::Transient, 6, 10_000) },
        Rule { flush: Duration::from_secs(5), ..rule("f1", Durability::Durable, 100, 10_000) },
        Rule { flush: Duration::from_millis(200), ..rule("f2", Durability::Memory, 100, 10_000) },
        rule("m*", Durability::Memory, 6, 10_000),
        rule("t*", Durability::Transient, 6, 10_000),
        rule("r:*", Durability::Durable, 4, 10_000),
        rule("o*", Durability::Durable, 3, 10_000).overflow(Overflow::Close),
        rule("x:*", Durability::Durable, 1_000, 60),
    ])
}

/// A hub, its listeners, and what should have come of it.
struct World {
    rng: StdRng,
    hub: Pieces,
    /// What nobody knows the outcome of, until the store is back.
    failed: Option<Failed>,
    /// Whether the store was opened again, but the log could not go on yet.
    half_back: bool,
    clients: Vec<Client>,
    reference: Reference,
    /// Whether its disk runs full now and then.
    is_small: bool,
    /// Whether its channels end now and then.
    has_ends: bool,
    /// What shards are yet to be told, in order.
    orders: Vec<(usize, Order)>,
    /// Counts streams' ids.
    ids: u128,
    /// What happened, for comparing two runs.
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan {
            rules,
            channels_max: 6,
            window_bytes: random_window(&mut rng),
            cursor_age_max: Duration::from_secs(if rng.random_bool(0.5) { 200 } else { 1_000_000 }),
            age_max: Some(Duration::from_mins(3)),
        };
        let hub = Pieces::new(plan, rng.random());
        let clients = (0..rng.random_range(1..6)).map(|which| Client::random(StreamId(which), &mut rng)).collect();
        Self {
            rng,
            hub,
            failed: None,
            half_back: false,
            clients,
            reference: Reference::default(),
            is_small: seed % 2 == 1,
            has_ends: !seed.is_multiple_of(3),
            orders: Vec::new(),
            ids: 1_000,
            trace: Vec::new(),
        }
    }

    /// One random thing happens.
    fn step(&mut self) {
        if self.hub.writer.is_failed() && self.rng.random_bool(0.1) {
            self.reopen();
        }
        match self.rng.random_range(0..100) {
            0..7 if self.has_ends => self.do_deed(),
            0..26 => self.publish(),
            26..30 => self.change_one(),
            30..40 => self.hub.pass(&mut self.rng),
            40..60 => self.read_one(),
            60..80 => self.network(),
            80..86 => self.connect_or_cut(),
            86..90 => {
                // Streams end in time to read what a channel's floor says before it is forgotten.
                let most_ms = if self.rng.random_bool(0.3) { 100_000 } else { 20_000 };
                self.hub.clock.advance(Duration::from_millis(self.rng.random_range(1..most_ms)));
            }
            90..94 => {
                self.hub.writer.sweep();
            }
            // As if the disk limit were reached.
            95 if self.is_small => self.hub.writer.want_oldest(self.rng.random_range(1..1_500)),
            94..97 => {
                let now = self.hub.now();
                self.hub.shards.iter_mut().for_each(|shard| shard.tick(now));
            }
            97 if self.rng.random_bool(0.5) => self.restart(),
            98 if self.is_small && self.rng.random_bool(0.5) => {
                // From full to not full and back; a little room is used up by what is published.
                let room = [Some(0), Some(DISK_RESERVE_BYTES + 30_000), None][self.rng.random_range(0..3)];
                self.hub.disk.limit_room(room);
                self.hub.writer.space.look();
            }
            98 | 99 if self.rng.random_bool(0.5) => self.hub.break_store(&mut self.rng),
            _ => {}
        }
        if self.rng.random_bool(0.3) {
            let shard = self.rng.random_range(0..self.hub.shards.len());
            self.obey(shard);
        }
        self.hear_answers();
        self.hub.gather_jobs();
        self.hub.shards.iter().for_each(Shard::assert_bounds);
        assert!(self.hub.writer.window.size().0 <= self.hub.plan.window_bytes, "the window is bounded");
    }

    /// Does one of the reads, any of them.
    fn read_one(&mut self) {
        let Some(read) = self.hub.read(&mut self.rng) else { return };
        if self.rng.random_bool(0.3) {
            // Between reading and the answer's arrival anything may happen.
            self.publish();
            self.hub.writer.sweep();
        }
        self.hub.answer(read);
    }

    /// Some bytes come through to a client, perhaps half a block.
    fn network(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        let count = if self.rng.random_bool(0.3) { self.rng.random_range(1..200) } else { usize::MAX };
        self.carry(which, count);
    }

    fn carry(&mut self, which: usize, count: usize) {
        let client = &mut self.clients[which];
        client.receive(count, &self.reference, &mut self.trace);
        self.hub.hear_room(&mut client.connection);
        if client.connection.has_ended() {
            client.connection.cut();
        }
    }

    /// The floors of all channels as stored.
    fn floors(&self) -> HashMap<ChannelName, Position> {
        let names = CHANNELS.iter().chain([&EVERYONE]);
        names.map(|c| (name(c), self.hub.history.row(&name(c)).unwrap().row.floor)).collect()
    }

    /// The hub ends, in order or not, and comes back, now and then with an empty disk.
    fn restart(&mut self) {
        for client in &mut self.clients {
            // What was on its way may still arrive, or not.
            client.receive(self.rng.random_range(0..2_000), &self.reference, &mut self.trace);
            client.connection.cut();
        }
        match self.rng.random_range(0..10) {
            0..5 => {
                let in_order = !self.hub.writer.is_failed() && self.hub.writer.close().is_ok();
                self.hub.disk.restart(false);
                self.reference.restarted(in_order);
                self.trace.push(format!("restart, in order: {in_order}"));
            }
            5..9 => {
                self.hub.disk.restart(true);
                self.reference.restarted(false);
                self.trace.push("crash".into());
            }
            _ => {
                self.hub.disk = Arc::new(FaultyStore::default());
                self.failed = None;
                self.reference.forget_all();
                self.clients.iter_mut().for_each(Client::log_is_new);
                self.trace.push("new disk".into());
            }
        }
        self.hub.clock.advance(Duration::from_millis(self.rng.random_range(0..5_000)));
        self.hub.start_again(self.rng.random());
        self.orders.clear();
        self.half_back = false;
        self.find_out(false);
        self.reference.ends.restarted(&self.hub.history);
        self.reference.ends.check(&self.hub.history);
    }

    /// Lets everything come to rest: all connected, all read, all carried.
    fn settle(&mut self) {
        self.hub.disk.disarm();
        while self.hub.writer.is_failed() {
            self.reopen();
        }
        // Who was told before this that all has ended comes once more: what is for everyone goes on.
        let last = self.reference.last();
        for _ in 0..10_000 {
            for which in 0..self.clients.len() {
                if !self.clients[which].connection.is_open() && !self.clients[which].is_done(last) {
                    self.connect(which);
                }
            }
            let was_idle = self.hub.work_off(Duration::MAX);
            self.hear_answers();
            for shard in 0..self.hub.shards.len() {
                self.obey(shard);
            }
            let mut carried = false;
            for which in 0..self.clients.len() {
                carried |= self.clients[which].connection.has_bytes();
                self.carry(which, usize::MAX);
            }
            let is_read = self.hub.has_read_all();
            let is_there = |client: &Client| client.connection.is_open() || client.is_done(last);
            if was_idle && !carried && is_read && self.clients.iter().all(is_there) {
                return;
            }
        }
        panic!("the hub never comes to rest");
    }

    fn check(&mut self) {
        self.reference.ends.check(&self.hub.history);
        for client in &self.clients {
            client.check(&self.reference, self.hub.clock.unix_ms());
        }
        self.check_due();
        self.reference.ends.check(&self.hub.history);
        self.reference.check_kept(&self.hub.history, self.hub.clock.unix_ms());
    }
}

impl Drop for World {
    /// Who looks for a fault sees what led to it.
    fn drop(&mut self) {
        if std::env::var_os("FANFARE_TRACE").is_some() {
            eprintln!("{}", self.trace.join("\n"));
        }
    }
}

/// Runs a whole world; gives what happened.
fn run(seed: u64, steps: usize) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    world.check();
    world.trace.clone()
}

#[test]
fn no_event_is_lost_or_doubled_and_every_gap_is_due() {
    run_seeds("events", 200, 20_000, |seed| drop(run(seed, 600)));
}

#[test]
fn runs_meet_trouble_of_every_kind() {
    let traces: Vec<String> = (0..20).flat_map(|seed| run(seed, 600)).collect();
    let met = |what: &str| traces.iter().filter(|line| line.contains(what)).count();
    let found_nothing = traces.iter().filter(|line| *line == "reopened with 0").count();
    let found = met("reopened with") - found_nothing;
    assert!(met("in doubt") > 10 && met("not reopened") > 10 && found > 3 && found_nothing > 5, "{found}");
    let refused = ["the channel has ended", "another producer", "an unknown fence"].map(met);
    let ended = met("\"ended\"");
    assert!(ended > 10 && refused.iter().all(|count| *count > 10), "{ended} {refused:?}");
    assert!(met("in order: true") > 3 && met("in order: false") > 0 && met("crash") > 3 && met("new disk") > 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 2, 3, 4, 5] {
        let (first, second) = (run(seed, 400), run(seed, 400));
        assert!(!first.is_empty());
        assert_eq!(first, second, "seed {seed}");
    }
}
