//! A listener as a browser is one: it reads blocks, keeps the last id, comes back with it. It checks what can be checked at
//! once, and the rest at the end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::ends::{can_end, check_words, number_of};
use super::steering::{Had, Span, Steered};
use super::{CHANNELS, ENDING, Reference, USERS, name};
use crate::audience::{EVERYONE, is_everyone};
use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::history::beginning::LastEventId;
use crate::outlet::Outlet;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::simulation::connection::{Connection, Heard};
use crate::stream_id::StreamId;
use crate::subscription::Subscription;
use crate::user::UserName;
use crate::window::frame::Form;

/// A gap that was told.
#[derive(Debug)]
struct Told {
    channel: Option<ChannelName>,
    pattern: Option<Pattern>,
    reason: String,
    from: Option<Position>,
    to: Position,
    /// Of which change's fill it is.
    fill: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Client {
    /// What it asks for.
    follows: Arc<Follows>,
    /// What it follows since that was changed.
    pub(super) steered: Steered,
    /// The id that its streams have.
    pub(super) id: StreamId,
    /// Whether it brings its id.
    pub(super) is_named: bool,
    pub(super) connection: Connection,
    /// What a browser would send as `Last-Event-ID`.
    last_id: String,
    /// Where it began: the cursor of the first hello, and the floors then.
    began: Option<(Cursor, HashMap<ChannelName, Position>)>,
    /// The floors when it connected this time.
    floors: HashMap<ChannelName, Position>,
    /// Numbers of events received, in order.
    received: Vec<usize>,
    told: Vec<Told>,
    /// How many of them were told on earlier connections.
    told_before: usize,
    /// How many events were received on earlier connections.
    received_before: usize,
    /// Scopes of gaps told on this connection, with their ends.
    told_now: HashSet<(String, Position)>,
    /// How far ids on this connection have come.
    progress: (Position, u32, Position),
    /// A new log has begun; the next thing heard must be the gap.
    log_is_new: bool,
    /// Whether it follows few channels and no patterns.
    pub(super) is_plain: bool,
    /// Where it had come to when it was told that all that it follows has ended.
    done_at: Option<Position>,
}

impl Client {
    pub(super) fn random(id: StreamId, rng: &mut StdRng) -> Self {
        let since = |rng: &mut StdRng| match rng.random_range(0..6) {
            0 => Since::Start,
            1 => Since::Last(rng.random_range(0..6)),
            2 => Since::Ago(std::time::Duration::from_secs(rng.random_range(0..200))),
            3 => Since::Unsaid,
            _ => Since::Now,
        };
        let common = since(rng);
        let mixed = rng.random_bool(0.2);
        let pick = |rng: &mut StdRng| if mixed { since(rng) } else { common };
        let mut channels = Vec::new();
        let is_plain = rng.random_bool(0.4);
        let names = if is_plain { &ENDING[..] } else { &CHANNELS };
        for channel in names {
            if rng.random_bool(if is_plain { 0.2 } else { 0.3 }) {
                channels.push((name(channel), pick(rng)));
            }
        }
        if rng.random_bool(0.1) {
            channels.push((name(EVERYONE), pick(rng)));
        }
        let mut patterns = Vec::new();
        for pattern in ["r:*", "m*", "x:*", "*"] {
            if !is_plain && rng.random_bool(if pattern == "*" { 0.1 } else { 0.25 }) {
                patterns.push((Pattern::new(pattern).unwrap(), pick(rng)));
            }
        }
        if channels.is_empty() && patterns.is_empty() {
            channels.push((name("a"), common));
        }
        let user = rng.random_bool(0.4).then(|| UserName::new(USERS[rng.random_range(0..USERS.len())]).unwrap());
        let follows = Follows::new(channels, patterns).heard_by(user, rng.random_bool(0.7));
        Self {
            steered: Steered::new(&follows),
            follows: Arc::new(follows),
            id,
            is_named: rng.random_bool(0.6),
            connection: Connection::default(),
            last_id: String::new(),
            began: None,
            floors: HashMap::new(),
            received: Vec::new(),
            told: Vec::new(),
            told_before: 0,
            received_before: 0,
            told_now: HashSet::new(),
            progress: Default::default(),
            log_is_new: false,
            is_plain,
            done_at: None,
        }
    }

    pub(super) fn connect(&mut self, slot: u64) -> (Subscription, Outlet, LastEventId) {
        self.done_at = None;
        self.told_now.clear();
        self.told_before = self.told.len();
        self.received_before = self.received.len();
        self.progress = Default::default();
        self.connection.ask(self.follows.clone(), (self.id, Form::Raw), &self.last_id, slot)
    }

    /// Whether it was told that all that it follows has ended, when it had come to a position or beyond.
    pub(super) fn is_done(&self, at: Position) -> bool {
        self.done_at.is_some_and(|done_at| done_at >= at)
    }

    /// What the hub keeps at the moment at which this stream is opened.
    pub(super) fn promise(&mut self, floors: HashMap<ChannelName, Position>, had: &Had) {
        self.floors = floors;
        if self.last_id.is_empty() || self.began.is_none() {
            // Nothing of what was promised before has come.
            self.steered.known_mut().iter_mut().for_each(|item| item.promise(had));
        }
    }

    /// The first hello was heard.
    fn begin(&mut self, cursor: Cursor) {
        self.began = Some((cursor, self.floors.clone()));
    }

    pub(super) fn log_is_new(&mut self) {
        self.log_is_new = !self.last_id.is_empty();
        (self.began, self.done_at) = (None, None);
        self.received.clear();
        self.told.clear();
        self.told_before = 0;
        self.received_before = 0;
        self.steered.forget();
    }

    /// Up to `count` bytes come through.
    pub(super) fn receive(&mut self, count: usize, reference: &Reference, trace: &mut Vec<String>) {
        for Heard { event, .. } in self.connection.receive(count) {
            trace.push(format!("{}: {} {} {}", self.id, event.id, event.event, event.data));
            self.hear(&event, reference);
        }
    }

    fn hear(&mut self, event: &fanfare_wire::Event, reference: &Reference) {
        if event.event == "fanfare.bye" && event.id.is_empty() {
            // It ended before it began. As browsers do, it comes back with the id that it had.
            return;
        }
        let cursor: Cursor = event.id.parse().unwrap_or_else(|_| panic!("a strange id {:?}", event.id));
        let progress = (cursor.position, cursor.fill.unwrap_or(0), cursor.backfill.unwrap_or(cursor.position));
        assert!(progress >= self.progress, "the cursor went back from {:?} to {progress:?}", self.progress);
        self.progress = progress;
        match event.event.as_str() {
            "fanfare.hello" => {
                let foreign = cursor.position == Position::ORIGIN;
                assert!(!self.log_is_new || foreign, "a cursor of another log is not taken up");
                if self.began.is_none() && !foreign {
                    self.begin(cursor);
                }
                let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                let revision = data["revision"].as_u64().unwrap() as u32;
                self.steered.hear(revision, &cursor, self.told.len());
                if foreign && self.steered.current().next().is_none() {
                    // Who follows nothing lacks nothing.
                    self.log_is_new = false;
                    self.began.is_none().then(|| self.begin(cursor));
                }
            }
            "fanfare.subscription" => {
                let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                let revision = data["revision"].as_u64().unwrap() as u32;
                self.steered.check_names(revision, &data);
                self.steered.hear(revision, &cursor, self.told.len());
            }
            "fanfare.gap" => self.hear_gap(&event.data, cursor),
            "fanfare.bye" => {
                assert!(!event.data.contains("store_failed"), "a stream ended though its store comes back");
                if event.data.contains("\"ended\"") {
                    self.hear_ended(cursor.position, reference);
                }
            }
            "fanfare.cursor" | "fanfare.ping" => {}
            _ => self.hear_event(event, cursor, reference),
        }
        self.last_id.clone_from(&event.id);
    }

    fn hear_gap(&mut self, data: &str, cursor: Cursor) {
        let gap: serde_json::Value = serde_json::from_str(data).unwrap();
        let text = |key: &str| gap[key].as_str().map(str::to_owned);
        let position = |key: &str| text(key).map(|id| id.parse::<Cursor>().unwrap().position);
        let told = Told {
            channel: text("channel").map(|c| name(&c)),
            pattern: text("pattern").map(|p| Pattern::new(&p).unwrap()),
            reason: text("reason").unwrap(),
            from: position("from"),
            to: position("to").unwrap(),
            fill: cursor.fill,
        };
        // Of a pattern's channels, another one may reach the same floor later.
        let is_followed = self.steered.current().any(|span| match (&told.channel, &told.pattern) {
            (Some(channel), _) => span.item.includes(channel),
            (None, pattern) => span.item.pattern == *pattern,
        });
        assert!(is_followed, "a gap of something that is not followed: {told:?}");
        let from = told.pattern.as_ref().and(told.from);
        // What was added is told of what is gone of it, also where that was told of the same before.
        let spans = self.steered.current().map(|span| &span.item);
        let this = spans.filter(|item| (&item.channel, &item.pattern) == (&told.channel, &told.pattern));
        let added = this.map(|item| item.added).max();
        let scope = format!("{:?}{:?}{from:?}{:?}{added:?}", told.channel, told.pattern, cursor.fill);
        assert!(self.told_now.insert((scope, told.to)), "told twice on one connection: {told:?}");
        if told.reason == "unknown" {
            if self.began.is_none() {
                let began = Cursor { position: told.to, ..cursor };
                self.begin(began);
            }
            self.log_is_new = false;
        }
        self.told.push(told);
    }

    /// All that it follows has ended, where it has come to: also what was opened again and had ended before.
    fn hear_ended(&mut self, at: Position, reference: &Reference) {
        let channels = self.followed();
        assert!(!channels.is_empty(), "what it follows can't end: {self:#?}");
        for channel in channels.into_iter().filter(|channel| !is_everyone(channel)) {
            let ends = &reference.ends;
            assert!(ends.may_have_ended(channel, at), "{channel:?} is open at {at:?}: {ends:?} {self:#?}");
        }
        self.done_at = Some(at);
    }

    /// The channels that it follows, as far as it was heard; none where it can't end.
    fn followed(&self) -> Vec<&ChannelName> {
        let channels: Option<Vec<_>> = self.steered.current().map(|span| span.item.channel.as_ref()).collect();
        channels.filter(|channels| can_end(channels.iter().copied())).unwrap_or_default()
    }

    fn hear_event(&mut self, event: &fanfare_wire::Event, cursor: Cursor, reference: &Reference) {
        assert!(!self.log_is_new, "an event came before the gap of an unknown cursor");
        let number = number_of(Some(&event.event), &event.data);
        assert!(reference.is_out(number), "event {number} came though it was refused, or nobody knows of it yet");
        let heard = event;
        let Some(event) = reference.event(number) else {
            // Of the log before; it was on its way.
            return;
        };
        check_words(event.deed, &event.channels, heard);
        // What has no id of its own comes with the last one, which may be a fill's.
        let fill = cursor.fill.filter(|_| event.position.is_some());
        let is_followed = event.channels.iter().any(|c| self.steered.includes(c));
        assert!(is_followed, "event {number} of {:?} isn't followed: {self:#?}", event.channels);
        assert!(!self.is_excluded(event), "event {number} came to the user whom it isn't for");
        if let Some(position) = event.position {
            let mut spans = self.steered.current().filter(|span| event.channels.iter().any(|c| span.item.includes(c)));
            let has_begun = spans.any(|span| position > span.item.begins_after());
            assert!(has_begun, "event {number} at {position:?} came before what was added began: {self:#?}");
        }
        // A transient event leaves the cursor where it is. What was buried before it may yet come on a later connection.
        let is_placed = |number: usize| reference.event(number).is_some_and(|event| event.position.is_some());
        let mut before = self.received.iter().enumerate().rev();
        let last = before.find(|(at, number)| *at >= self.received_before || is_placed(**number));
        if let Some((_, last)) = last.filter(|_| fill.is_none()) {
            assert!(number > *last, "event {number} came with {cursor:?} after {last}: {event:?} {self:#?}");
        }
        if let Some(position) = event.position {
            let buried = |channel: &ChannelName| {
                let of = self.steered.current().filter(|span| span.item.includes(channel));
                let before = of.map(|span| span.told_before).max().unwrap_or(0).max(self.told_before);
                self.told.iter().skip(before).any(|gap| {
                    gap.channel.as_ref() == Some(channel)
                        && gap.reason == "trimmed"
                        && gap.from.is_some_and(|from| from < position)
                        && position <= gap.to
                })
            };
            let followed = event.channels.iter().filter(|c| self.steered.includes(c));
            assert!(
                !followed.clone().all(buried),
                "event {number} at {position:?} of {:?} came with {cursor:?} after a gap that says it is gone: {self:#?}",
                event.channels
            );
        }
        self.steered.hear_event(number, &event.channels, fill);
        if fill.is_none() {
            self.received.push(number);
        }
    }

    /// Whether a gap was told that covers a position of a channel.
    fn is_told(&self, channel: &ChannelName, position: Position) -> bool {
        self.told.iter().any(|gap| {
            let scope = gap.channel.as_ref() == Some(channel)
                || gap.pattern.as_ref().is_some_and(|pattern| pattern.matches(channel));
            scope && gap.from.is_none_or(|from| from < position) && position <= gap.to
        })
    }

    /// Whether an event is for all but this client's user.
    fn is_excluded(&self, event: &super::reference::Published) -> bool {
        event.except.user.is_some() && event.except.user.as_ref() == self.follows.user()
    }

    fn since_of(&self, channel: &ChannelName) -> Vec<Since> {
        let spans = self.steered.spans.iter().filter(|span| span.item.includes(channel));
        spans.map(|span| span.item.since).collect()
    }

    /// At rest: everything that was due has come or was told.
    pub(super) fn check(&self, reference: &Reference, now_ms: u64) {
        let (began, began_floors) = self.began.as_ref().unwrap_or_else(|| panic!("not greeted: {self:#?}"));
        let followed = self.followed();
        let ends = &reference.ends;
        assert_eq!(
            self.done_at.is_some(),
            reference.is_over(&followed),
            "has all of it ended? {followed:?} {ends:?} {self:#?}"
        );
        for span in &self.steered.spans {
            self.check_span(span, reference, now_ms);
        }
        self.check_asked_for(reference, began.position);
        for gap in &self.told {
            self.check_due(gap, reference, began_floors);
        }
    }

    /// All of something that was followed for a while came then, or was told to be gone.
    fn check_span(&self, span: &Span, reference: &Reference, now_ms: u64) {
        for (number, event) in reference.events() {
            let Some(position) = event.position else { continue };
            // What of it was to be filled in is not due any more once it is followed no longer.
            let is_promised =
                |channel: &ChannelName| span.upto.is_none() && span.item.promised.contains(&(channel.clone(), number));
            let from = span.from.max(span.item.begins_after());
            let is_due = position > from && span.upto.is_none_or(|upto| position <= upto);
            let due = event.channels.iter().filter(|channel| span.item.includes(channel));
            let due: Vec<&ChannelName> = due.filter(|channel| is_due || is_promised(channel)).collect();
            let expired = event.expires_ms.is_some_and(|at| at <= now_ms);
            // Live it doesn't come to its own stream; from history it may.
            let may_be_missing = self.is_excluded(event) || event.except.stream == Some(self.id);
            if due.is_empty() || expired || may_be_missing || span.got.contains(&number) {
                continue;
            }
            // A transient channel has no gaps, even where another channel lent its event a place in memory.
            let promised = |channel: &&&ChannelName| !(event.lost && channel.as_str().starts_with('t'));
            let told = due.iter().filter(promised).all(|channel| self.is_told(channel, position));
            assert!(
                told,
                "event {number} at {position:?} of {:?} neither came nor was told: {span:#?} {self:#?}",
                event.channels
            );
        }
    }

    /// Of channels that it follows from now on, nothing has come of before it began. Who comes with a strange id asks for everything.
    fn check_asked_for(&self, reference: &Reference, began: Position) {
        if self.told.iter().any(|gap| gap.reason == "unknown" || gap.reason == "expired") {
            return;
        }
        for number in &self.received {
            let Some(event) = reference.event(*number) else { continue };
            if event.position.is_none_or(|position| position > began) {
                continue;
            }
            let asked_for =
                |channel| self.since_of(channel).iter().any(|since| !matches!(since, Since::Now | Since::Unsaid));
            let asked_for = event.channels.iter().any(asked_for);
            assert!(asked_for, "event {number} came though nobody had asked for it: {event:?} {self:#?}");
        }
    }

    /// A gap is told only where something is gone.
    fn check_due(&self, gap: &Told, reference: &Reference, began_floors: &HashMap<ChannelName, Position>) {
        let safe = gap.reason == "unknown" || gap.reason == "expired" || (gap.reason == "restart" && reference.crashed);
        // Of a stream that was behind when something was added, retention since then counts, and that isn't known here.
        let was_behind = self.steered.spans.iter().any(|span| {
            let is_of_it = gap.channel.as_ref().is_some_and(|channel| span.item.includes(channel))
                || gap.pattern.is_some() && gap.pattern == span.item.pattern;
            (gap.fill.is_some() || is_of_it) && span.item.added > 0 && span.item.floors.is_none()
        });
        if safe || was_behind {
            return;
        }
        let is_gone = |event: &super::reference::Published| {
            let position = event.position?;
            let range = gap.from.is_some_and(|from| from < position) && position <= gap.to;
            let scope = |c: &&ChannelName| {
                gap.channel.as_ref() == Some(*c) || gap.pattern.as_ref().is_some_and(|pattern| pattern.matches(c))
            };
            let known_before = |c: &&ChannelName| {
                let spans = self.steered.spans.iter().filter(|span| span.item.includes(c));
                spans.into_iter().any(|span| {
                    let floors = span.item.floors.as_ref().unwrap_or(began_floors);
                    matches!(span.item.since, Since::Ago(_) | Since::After(_))
                        || floors.get(*c).is_none_or(|floor| *floor < position)
                })
            };
            (range && event.channels.iter().filter(scope).any(|c| known_before(&c))).then_some(())
        };
        assert!(reference.events().any(|(_, event)| is_gone(event).is_some()), "a gap where none is due: {gap:?}");
    }
}
