//! Events for the channels of a pattern in a writer alone: which of the channels get them, whatever the others are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::channel::ChannelName;
use crate::clock::ManualClock;
use crate::draft::{Draft, Publisher};
use crate::ending::Deed;
use crate::event::Event;
use crate::log::append_error::AppendError;
use crate::log::channel_row::EndReason;
use crate::log::record::Record;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::retention::due::Due;
use crate::rule::{Durability, Rule, Rules};
use crate::space::Space;
use crate::store::faulty::FaultyStore;
use crate::store::{Batch, Order, Persist, Store, Table, keys_with_prefix};
use crate::writer::{Group, Placed, Writer, WriterParts};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "m1", "m2", "m3"];

fn name(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn writer(store: &Arc<FaultyStore>) -> Writer {
    let store: Arc<dyn Store> = store.clone();
    let memory = Rule::new(Pattern::new("m*").unwrap()).durability(Durability::Memory);
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: Arc::new(Rules::new(vec![memory])),
        clock: Arc::new(ManualClock::at(1_000_000)),
        random: Box::new(|| 7),
        window_bytes: 1 << 20,
        channels_max: 2,
        cursor_age_max: Duration::from_hours(1),
    })
    .unwrap()
}

fn named(channel: &str, event: Event) -> Draft {
    Draft::new(vec![name(channel)], event, Publisher::Anyone).unwrap()
}

/// An event for a pattern that met these channels.
fn to_pattern(channels: &[&str], event: Event) -> Draft {
    let draft = Draft::of(channels.iter().map(|c| name(c)).collect(), event, Publisher::Anyone).unwrap();
    Draft { pattern: Some(Pattern::new("*").unwrap()), ..draft }
}

fn fence(channel: &str) -> Draft {
    Draft { deed: Deed::Fence, ..named(channel, Event::default()) }
}

fn append(writer: &mut Writer, atomic: bool, drafts: Vec<Draft>) -> Vec<Result<Placed, AppendError>> {
    writer.append(vec![Group { drafts, atomic }]).remove(0)
}

/// What is on disk of a channel makes no sense.
fn damage(store: &FaultyStore, channel: &str) {
    let mut batch = Batch::default();
    batch.put(Table::Channels, Bytes::copy_from_slice(channel.as_bytes()), &b"\xffnonsense"[..]);
    store.commit(batch, Persist::Now).unwrap();
}

/// The names of the channels that a draft went to.
fn found(placed: &Result<Placed, AppendError>) -> Vec<&str> {
    placed.as_ref().unwrap().found.as_ref().expect("it was for a pattern").iter().map(ChannelName::as_str).collect()
}

#[test]
fn channels_that_take_nothing_are_left_out_and_the_log_goes_on() {
    for atomic in [false, true] {
        let store = Arc::new(FaultyStore::default());
        damage(&store, "d");
        let mut writer = writer(&store);
        let ending = Draft::ending(&name("e"), EndReason::Done, None, Publisher::Anyone).unwrap();
        for draft in [named("b", Event::text("1").keyed("k")), ending, fence("c")] {
            assert!(append(&mut writer, false, vec![draft])[0].is_ok());
        }
        let outcome = append(&mut writer, atomic, vec![to_pattern(&["a", "b", "c", "d", "e"], Event::text("x"))]);
        assert_eq!(found(&outcome[0]), ["a"]);
        assert!(!writer.is_failed(), "one damaged channel is nobody else's trouble");
        let none = append(&mut writer, atomic, vec![to_pattern(&["b", "c", "d", "e"], Event::text("y"))]);
        assert_eq!(none, [Ok(Placed::nowhere())]);
    }
}

#[test]
fn what_is_repeated_is_answered_as_it_was_first_whatever_its_pattern_meets_now() {
    let mut writer = writer(&Arc::default());
    let event = || Event::text("x").idempotency_key("k");
    let none = append(&mut writer, false, vec![to_pattern(&[], event())]);
    assert_eq!(none, [Ok(Placed::nowhere())], "nothing was published, so nothing is remembered");
    let both = append(&mut writer, false, vec![to_pattern(&["a", "m1"], event()), to_pattern(&["b"], event())]);
    let first = both[0].clone().unwrap();
    let again = Ok(Placed { duplicate: true, ..first });
    assert_eq!((found(&both[0]), &both[1]), (vec!["a", "m1"], &again), "of the same commit");
    for channels in [&[][..], &["b", "c"]] {
        for atomic in [false, true] {
            assert_eq!(append(&mut writer, atomic, vec![to_pattern(channels, event())]).first(), Some(&again));
        }
    }
    let other = append(&mut writer, false, vec![to_pattern(&[], Event::text("y").idempotency_key("k"))]);
    assert_eq!(other, [Err(AppendError::Conflict)]);
}

#[test]
fn an_atomic_batch_is_judged_by_the_channels_that_take_it() {
    let mut writer = writer(&Arc::default());
    assert!(append(&mut writer, false, vec![fence("a")])[0].is_ok());
    let drafts = vec![
        named("b", Event::text("1").keyed("k")),
        to_pattern(&["a", "b", "c"], Event::text("x")),
        to_pattern(&["a"], Event::text("x")).fenced(1),
        to_pattern(&["a"], Event::text("x")),
    ];
    let outcome = append(&mut writer, true, drafts);
    let all: Vec<Vec<&str>> = outcome.iter().skip(1).map(found).collect();
    assert_eq!(all, [vec!["c"], vec!["a"], vec![]], "{outcome:?}");
}

#[test]
fn however_often_a_channel_gets_a_producer_it_is_looked_at_once() {
    let store = Arc::new(FaultyStore::default());
    let mut writer = writer(&store);
    for _ in 0..5 {
        assert!(append(&mut writer, false, vec![fence("a")])[0].is_ok());
    }
    let due = store.scan(Table::Due, keys_with_prefix(b""), Order::Ascending).map(|pair| pair.unwrap().0);
    let due: Vec<Due> = due.filter_map(|key| Due::decode(&key)).map(|(_, due)| due).collect();
    assert_eq!(due, [Due::Channel(name("a"))]);
}

/// What a channel is, as a naive model has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Events,
    Keys,
    Ended,
    Fenced,
    Damaged,
}

/// A writer and what should be in it.
struct World {
    rng: StdRng,
    writer: Writer,
    states: BTreeMap<&'static str, State>,
    /// What publishes with an idempotency key came to.
    keys: HashMap<String, Placed>,
    /// Bodies of patterns' events and their channels.
    bodies: BTreeMap<Position, (String, Vec<ChannelName>)>,
    next: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = Arc::new(FaultyStore::default());
        let mut states = BTreeMap::new();
        for channel in NAMES {
            let is_damaged = rng.random_bool(0.2);
            if is_damaged {
                damage(&store, channel);
            }
            states.insert(channel, if is_damaged { State::Damaged } else { State::Fresh });
        }
        let writer = writer(&store);
        Self { rng, writer, states, keys: HashMap::new(), bodies: BTreeMap::new(), next: 0 }
    }

    /// Something is done to one channel.
    fn change(&mut self) {
        let channel = NAMES[self.rng.random_range(0..NAMES.len())];
        let (draft, state) = match (self.rng.random_range(0..4), self.states[channel]) {
            (_, State::Ended | State::Fenced | State::Damaged) => return,
            (0, _) => (Draft::ending(&name(channel), EndReason::Done, None, Publisher::Anyone).unwrap(), State::Ended),
            (1, _) => (fence(channel), State::Fenced),
            (_, State::Fresh | State::Keys) => (named(channel, Event::text("v").keyed("k")), State::Keys),
            (_, State::Events) => (named(channel, Event::text("v")), State::Events),
        };
        let outcome = append(&mut self.writer, false, vec![draft]);
        assert!(outcome[0].is_ok(), "{channel}: {outcome:?}");
        self.states.insert(channel, state);
    }

    /// Some events for patterns, in one group, which may meet what they want.
    fn publish(&mut self) {
        let atomic = self.rng.random_bool(0.5);
        let (mut drafts, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..self.rng.random_range(1..5) {
            let met: Vec<&'static str> = NAMES.into_iter().filter(|_| self.rng.random_bool(0.4)).collect();
            let takes = |state: &State| matches!(state, State::Fresh | State::Events);
            let taking: Vec<&'static str> = met.iter().copied().filter(|c| takes(&self.states[c])).collect();
            self.next += 1;
            let key = self.rng.random_bool(0.4).then(|| format!("k{}", self.rng.random_range(0..3)));
            let body = key.clone().unwrap_or_else(|| self.next.to_string());
            let mut event = Event::text(body.clone());
            event.idempotency_key.clone_from(&key);
            drafts.push(to_pattern(&met, event));
            let is_again = key.as_ref().is_some_and(|key| {
                self.keys.contains_key(key)
                    || expected.iter().any(|(_, of, channels): &(String, Option<String>, Vec<&str>)| {
                        of.as_ref() == Some(key) && !channels.is_empty()
                    })
            });
            if !is_again {
                self.states.extend(taking.iter().map(|channel| (*channel, State::Events)));
            }
            expected.push((body, key, taking));
        }
        let outcome = append(&mut self.writer, atomic, drafts);
        for ((body, key, taking), placed) in expected.into_iter().zip(outcome) {
            let placed = placed.unwrap_or_else(|error| panic!("{body} was refused: {error}"));
            if let Some(first) = key.as_ref().and_then(|key| self.keys.get(key)) {
                assert_eq!(placed, Placed { duplicate: true, ..first.clone() });
                continue;
            }
            let channels: Vec<ChannelName> = taking.into_iter().map(name).collect();
            assert_eq!((placed.found.as_ref(), placed.duplicate), (Some(&channels), false), "{body}");
            assert_eq!(placed.position.is_none(), channels.is_empty(), "{body}");
            if let Some(position) = placed.position {
                self.bodies.insert(position, (body, channels));
                key.map(|key| self.keys.insert(key, placed));
            }
        }
        assert!(!self.writer.is_failed());
    }

    /// What patterns' events are in the log, and which channels they name.
    fn check(&self) {
        let mut there = BTreeMap::new();
        for store in [&*self.writer.tiers.durable, &*self.writer.tiers.memory as &dyn Store] {
            for pair in store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending) {
                let (key, value) = pair.unwrap();
                let position = Position::from_key(key.as_ref().try_into().unwrap());
                let record = Record::decode(&value, position).unwrap();
                let body = String::from_utf8(record.data.to_vec()).unwrap();
                if body != "v" && record.name.is_none() {
                    there.insert(position, (body, record.channels));
                }
            }
        }
        assert_eq!(there, self.bodies);
    }
}

#[test]
fn of_all_channels_that_a_pattern_meets_those_that_take_it_get_it() {
    for seed in 0..200 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..20 {
                if world.rng.random_bool(0.4) { world.change() } else { world.publish() }
            }
            world.check();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
