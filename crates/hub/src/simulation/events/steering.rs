//! Clients that change what they follow, at random, and how it should look then, kept as naively as possible: a list of
//! what was added when.

use std::collections::{HashMap, HashSet};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::{CHANNELS, ENDING, World, name};
use crate::audience::everyone;
use crate::change::remembered::Where;
use crate::change::{Change, Followed};
use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::pattern::Pattern;
use crate::position::Position;
use crate::shard::change::{Answered, Order, What};
use crate::stream_id::StreamId;

/// What each channel ever had, oldest first.
pub(super) type Had = HashMap<ChannelName, Vec<HadEvent>>;

/// An event that a channel had.
#[derive(Clone, Copy, Debug)]
pub(super) struct HadEvent {
    pub(super) position: Position,
    pub(super) number: usize,
    /// Whether the channel has it still.
    pub(super) is_kept: bool,
}

/// Something that a client follows: a channel or a pattern, by its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) channel: Option<ChannelName>,
    pub(super) pattern: Option<Pattern>,
    pub(super) since: Since,
    /// Whether it is followed without being named: what is for everyone.
    is_implied: bool,
    /// Which time it was added; 0 for what the client asked for at first.
    pub(super) added: u32,
    /// What was kept of it then, as far as it was asked for; of each channel, since `last:N` counts in each.
    pub(super) promised: HashSet<(ChannelName, usize)>,
    /// The floors then, where the stream was level with the log.
    pub(super) floors: Option<HashMap<ChannelName, Position>>,
}

impl Item {
    pub(super) fn includes(&self, channel: &ChannelName) -> bool {
        self.channel.as_ref() == Some(channel) || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(channel))
    }

    /// Nothing comes by it up to here, wherever its stream is.
    pub(super) fn begins_after(&self) -> Position {
        match self.since {
            Since::After(id) if self.added > 0 => id.event(),
            _ => Position::ORIGIN,
        }
    }

    fn is(&self, other: &Self) -> bool {
        (&self.channel, &self.pattern) == (&other.channel, &other.pattern)
    }

    /// What is promised of it where channels had so much.
    pub(super) fn promise(&mut self, had: &Had) {
        self.promised = had
            .iter()
            .filter(|(channel, _)| self.includes(channel))
            .flat_map(|(channel, events)| {
                let (count, above, or_told) = match self.since {
                    Since::Start => (events.len(), Position::ORIGIN, false),
                    Since::Last(count) => (count as usize, Position::ORIGIN, false),
                    // What is gone is told.
                    Since::After(id) => (events.len(), id.event(), true),
                    Since::Unsaid | Since::Now | Since::Ago(_) => (0, Position::ORIGIN, false),
                };
                let events = events.iter().filter(move |event| event.position > above && (event.is_kept || or_told));
                events.rev().take(count).map(|event| (channel.clone(), event.number))
            })
            .collect();
    }
}

pub(super) fn items(follows: &Follows, added: u32) -> Vec<Item> {
    let item = |channel, pattern, since| Item {
        channel,
        pattern,
        since,
        is_implied: false,
        added,
        promised: HashSet::new(),
        floors: None,
    };
    let channels = follows.channels().iter().map(|(name, since)| item(Some(name.clone()), None, *since));
    let patterns = follows.patterns().iter().map(|(pattern, since)| item(None, Some(pattern.clone()), *since));
    // One duration for all is a place in the log, and what is for everyone comes from there on, too.
    let since = follows.common_since().filter(|since| matches!(since, Since::Ago(_))).unwrap_or(Since::Now);
    let is_implied = added == 0 && follows.hears_everyone() && !follows.is_named(everyone());
    let implied = is_implied.then(|| Item { is_implied, ..item(Some(everyone().clone()), None, since) });
    channels.chain(patterns).chain(implied).collect()
}

/// The time during which a client follows something.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) item: Item,
    /// Everything above is due,
    pub(super) from: Position,
    /// up to here.
    pub(super) upto: Option<Position>,
    /// What came meanwhile.
    pub(super) got: HashSet<usize>,
    /// How many gaps had been told before.
    pub(super) told_before: usize,
}

/// What a client knows of what it follows.
#[derive(Debug, Default)]
pub(super) struct Steered {
    /// Changes that were asked for.
    asked: Vec<(Change, oneshot::Receiver<Answered>)>,
    /// By revision: what it follows since then.
    states: HashMap<u32, Vec<Item>>,
    /// The last that the hub has answered.
    pub(super) revision: u32,
    /// What was added so far.
    added: u32,
    /// What it heard that it follows, each with since when; what ended too.
    pub(super) spans: Vec<Span>,
    /// The last number of each fill.
    fills: HashMap<u32, usize>,
}

impl Steered {
    pub(super) fn new(follows: &Follows) -> Self {
        Self { states: [(0, items(follows, 0))].into(), ..Self::default() }
    }

    /// What the hub was told last to follow.
    pub(super) fn known(&self) -> &[Item] {
        &self.states[&self.revision]
    }

    /// The same, to be promised anew.
    pub(super) fn known_mut(&mut self) -> &mut Vec<Item> {
        self.states.get_mut(&self.revision).unwrap()
    }

    /// What is followed, as far as it was heard.
    pub(super) fn current(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.upto.is_none())
    }

    pub(super) fn includes(&self, channel: &ChannelName) -> bool {
        self.current().any(|span| span.item.includes(channel))
    }

    /// The log is new, and with it everything else.
    pub(super) fn forget(&mut self) {
        let first = self.states.remove(&0).unwrap();
        // What it asked for may have been counted as added.
        *self = Self { states: [(0, first)].into(), added: self.added, ..Self::default() };
    }

    /// The hub knows nothing of it any more: from the next hello on it follows what it asks for.
    pub(super) fn is_forgotten(&mut self) {
        if self.revision == 0 {
            return;
        }
        self.fills.clear();
        self.added += 1;
        let added = self.added;
        let mut first = self.states.remove(&0).unwrap();
        for item in &mut first {
            item.added = added;
            item.promised.clear();
        }
        self.revision = 0;
        self.states = [(0, first)].into();
    }

    /// It was heard, with a cursor, that a revision counts from here on.
    pub(super) fn hear(&mut self, revision: u32, cursor: &Cursor, told: usize) {
        let state = self.states.get(&revision).unwrap_or_else(|| panic!("revision {revision} that nobody asked for"));
        for span in self.spans.iter_mut().filter(|span| span.upto.is_none()) {
            if !state.iter().any(|item| item.is(&span.item) && item.added == span.item.added) {
                span.upto = Some(cursor.position);
            }
        }
        for item in state {
            let is_known = |span: &Span| span.upto.is_none() && item.is(&span.item) && item.added == span.item.added;
            if !self.spans.iter().any(is_known) {
                let item = item.clone();
                let got = HashSet::new();
                self.spans.push(Span { item, from: cursor.position, upto: None, got, told_before: told });
            }
        }
    }

    /// The names that a frame tells are those of its revision.
    pub(super) fn check_names(&self, revision: u32, data: &serde_json::Value) {
        let names = |key: &str| -> HashSet<String> {
            data[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let state = &self.states[&revision];
        let state = state.iter().filter(|item| !item.is_implied);
        let channels = state.clone().filter_map(|item| item.channel.as_ref().map(ToString::to_string)).collect();
        let patterns = state.filter_map(|item| item.pattern.as_ref().map(ToString::to_string)).collect();
        assert_eq!((names("channels"), names("patterns")), (channels, patterns), "revision {revision}");
    }

    /// An event came: within a fill or not.
    pub(super) fn hear_event(&mut self, number: usize, channels: &[ChannelName], fill: Option<u32>) {
        let mut asked_for = false;
        for span in self.spans.iter_mut().filter(|span| span.upto.is_none()) {
            if channels.iter().any(|channel| span.item.includes(channel)) {
                span.got.insert(number);
                asked_for |= span.item.since != Since::Now;
            }
        }
        if let Some(revision) = fill {
            assert!(asked_for, "event {number} of {channels:?} is filled in though nobody asked for it");
            let last = self.fills.insert(revision, number);
            assert!(last.is_none_or(|last| last < number), "event {number} in fill {revision} after {last:?}");
        }
    }

    /// The hub has answered: what is followed now is what a naive change makes of what was.
    fn answered(
        &mut self,
        change: &Change,
        followed: &Followed,
        had: &Had,
        floors: Option<&HashMap<ChannelName, Position>>,
    ) {
        let removed = items(&change.remove, u32::MAX);
        let mut state = self.known().to_vec();
        let before = state.len();
        state.retain(|item| !removed.iter().any(|gone| gone.is(item)));
        let mut is_changed = state.len() < before;
        self.added += 1;
        for mut item in items(&change.add, self.added) {
            if !state.iter().any(|other| other.is(&item)) {
                is_changed = true;
                item.promise(had);
                item.floors = floors.cloned();
                state.push(item);
            }
        }
        if is_changed {
            assert!(followed.revision > self.revision, "{} after {}", followed.revision, self.revision);
            self.revision = followed.revision;
            self.states.insert(followed.revision, state);
        } else {
            assert_eq!(followed.revision, self.revision, "nothing was changed");
        }
        let names = |follows: &Follows| -> HashSet<String> {
            let patterns = follows.patterns().iter().map(|(pattern, _)| pattern.to_string());
            follows.channels().iter().map(|(name, _)| name.to_string()).chain(patterns).collect()
        };
        let text = |item: &Item| {
            item.channel.as_ref().map_or_else(|| item.pattern.as_ref().unwrap().to_string(), ToString::to_string)
        };
        assert_eq!(
            names(&followed.follows),
            self.known().iter().filter(|item| !item.is_implied).map(text).collect(),
            "what is followed"
        );
    }
}

/// Some change; `id` is that of some event.
fn random_change(is_plain: bool, id: Option<Cursor>, rng: &mut StdRng) -> Change {
    let since = |rng: &mut StdRng| match rng.random_range(0..6) {
        0 | 1 => Since::Start,
        2 => Since::Last(rng.random_range(0..6)),
        3 => Since::Ago(std::time::Duration::from_secs(rng.random_range(0..200))),
        4 => id.map_or(Since::Now, Since::After),
        _ => Since::Now,
    };
    let pick = |rng: &mut StdRng, chance: f64| {
        let channels = CHANNELS.into_iter().filter(|name| !is_plain || ENDING.contains(name));
        let channels = channels.filter(|_| rng.random_bool(chance)).collect::<Vec<_>>();
        let channels = channels.into_iter().map(|channel| (name(channel), since(rng))).collect();
        let patterns = ["r:*", "m*", "x:*", "*"].into_iter().filter(|_| !is_plain);
        let patterns = patterns.filter(|_| rng.random_bool(chance / 2.0)).collect::<Vec<_>>();
        let patterns = patterns.into_iter().map(|pattern| (Pattern::new(pattern).unwrap(), since(rng))).collect();
        Follows::new(channels, patterns)
    };
    let (adds, removes) = ([0.0, 0.1, 0.2][rng.random_range(0..3)], [0.0, 0.2, 0.4][rng.random_range(0..3)]);
    Change { add: pick(rng, adds), remove: pick(rng, removes) }
}

impl World {
    /// A client wants to follow something else.
    pub(super) fn change_one(&mut self) {
        let which = self.rng.random_range(0..self.clients.len());
        let id = self.some_id();
        let change = random_change(self.clients[which].is_plain, id, &mut self.rng);
        if self.rng.random_bool(0.3) {
            self.calm();
        }
        let (id, at) = (self.clients[which].id, self.clients[which].connection.at);
        if !self.can_look() {
            return;
        }
        match self.hub.remembered.find(id) {
            Where::Open(shard) => self.send_change(which, shard, change),
            Where::Closed => {
                let followed = self.hub.remembered.change(id, &change).unwrap().unwrap();
                let (past, _) = self.had_now();
                self.trace.push(format!("changed while away: {}", followed.revision));
                self.clients[which].steered.answered(&change, &followed, &past, None);
            }
            Where::Ended => unreachable!("nobody ends a stream"),
            Where::Unknown => {
                if let Some((shard, _)) = at {
                    self.send_change(which, shard, change);
                }
            }
        }
    }

    /// The id of some event of this log: whichever it is by what happened so far.
    fn some_id(&self) -> Option<Cursor> {
        let events: Vec<Position> = self.reference.events().filter_map(|(_, event)| event.position).collect();
        let at = self.trace.len().checked_rem(events.len())?;
        events.get(at).map(|position| self.hub.history.epochs.cursor(*position, None))
    }

    /// Nothing is published for a while: streams become level with the log.
    fn calm(&mut self) {
        for _ in 0..30 {
            self.hub.work_off(self.hub.now());
            self.hear_answers();
            (0..self.clients.len()).for_each(|which| self.carry(which, usize::MAX));
        }
    }

    fn send_change(&mut self, which: usize, shard: usize, change: Change) {
        let (reply, answer) = oneshot::channel();
        let id = self.clients[which].id;
        let what = What::Change(std::sync::Arc::new(change.clone()), 15_000);
        self.clients[which].steered.asked.push((change, answer));
        self.orders.push((shard, Order { stream: id, what, reply }));
        if self.rng.random_bool(0.8) {
            self.obey(shard);
        }
    }

    /// A shard does what it was told, in order.
    pub(super) fn obey(&mut self, shard: usize) {
        let now = self.hub.now();
        let (these, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.orders).into_iter().partition(|(of, _)| *of == shard);
        self.orders = others;
        for (_, order) in these {
            self.hub.shards[shard].order(order, now);
            self.hear_answers();
        }
    }

    /// What channels had, where that can be seen, and the floors.
    fn had_now(&self) -> (Had, HashMap<ChannelName, Position>) {
        if !self.can_look() {
            return Default::default();
        }
        let floors = self.floors();
        (self.reference.had(&self.hub.history), floors)
    }

    /// What the hub has answered so far.
    pub(super) fn hear_answers(&mut self) {
        let head = self.hub.history.epochs.cursor(self.hub.writer.window.head().0, None).to_text();
        for which in 0..self.clients.len() {
            let asked = std::mem::take(&mut self.clients[which].steered.asked);
            for (change, mut answer) in asked {
                match answer.try_recv() {
                    Ok(Answered::Done(followed)) => {
                        let (past, floors) = self.had_now();
                        let is_level = followed.id.as_deref().is_some_and(|id| id.starts_with(&head));
                        self.trace.push(format!("changed: {} level: {is_level}", followed.revision));
                        let floors = (is_level && !floors.is_empty()).then_some(&floors);
                        self.clients[which].steered.answered(&change, &followed, &past, floors);
                    }
                    Ok(Answered::Refused(_) | Answered::NotHere) | Err(oneshot::error::TryRecvError::Closed) => {
                        self.trace.push("not changed".into());
                    }
                    Err(oneshot::error::TryRecvError::Empty) => {
                        self.clients[which].steered.asked.push((change, answer));
                    }
                }
            }
        }
    }

    /// A stream's id that nobody had before.
    pub(super) fn next_id(&mut self) -> StreamId {
        self.ids += 1;
        StreamId(self.ids)
    }
}
