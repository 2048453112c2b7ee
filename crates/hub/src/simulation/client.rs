//! A listener as a browser is one: it reads blocks, keeps the last id, comes back with it. It checks what can be checked at
//! once, and the rest at the end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fanfare_wire::{Decoder, Item};
use rand::RngExt;
use rand::rngs::StdRng;

use super::{CHANNELS, Reference, USERS, name};
use crate::audience::{EVERYONE, is_everyone};
use crate::beginning::LastEventId;
use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::follows::{Follows, Since};
use crate::frame::Form;
use crate::index::StreamKey;
use crate::mailbox::{BodyInlet, mailbox};
use crate::notice::HelloStyle;
use crate::outlet::Outlet;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::stream_id::StreamId;
use crate::subscription::{HeartbeatStyle, Style, Subscription};
use crate::user::UserName;

/// A gap that was told.
#[derive(Debug)]
struct Told {
    channel: Option<ChannelName>,
    pattern: Option<Pattern>,
    reason: String,
    from: Option<Position>,
    to: Position,
}

/// What is on its way between hub and client.
type Wire = Arc<Mutex<VecDeque<u8>>>;

#[derive(Debug)]
pub(super) struct Client {
    follows: Arc<Follows>,
    /// The id that its streams have.
    id: StreamId,
    pub(super) connection: Option<(usize, StreamKey)>,
    inlet: Option<BodyInlet>,
    wire: Wire,
    /// The hub waits to hear that there is room again.
    room: bool,
    ended: bool,
    decoder: Decoder,
    /// What a browser would send as `Last-Event-ID`.
    last_id: String,
    /// Where it began: the cursor of the first hello, and the floors then.
    began: Option<(Cursor, HashMap<ChannelName, Position>)>,
    /// The floors and the events of `last:N` and `start` that the hub was asked to begin with, this time.
    promise: (HashMap<ChannelName, Position>, Vec<(usize, ChannelName)>),
    /// The same, of the connection that counts: the first on which a hello was heard.
    promised: Vec<(usize, ChannelName)>,
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
    progress: Position,
    /// A new log has begun; the next thing heard must be the gap.
    log_is_new: bool,
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
        for channel in CHANNELS {
            if rng.random_bool(0.3) {
                channels.push((name(channel), pick(rng)));
            }
        }
        if rng.random_bool(0.1) {
            channels.push((name(EVERYONE), pick(rng)));
        }
        let mut patterns = Vec::new();
        for pattern in ["r:*", "m*", "x:*", "*"] {
            if rng.random_bool(if pattern == "*" { 0.1 } else { 0.25 }) {
                patterns.push((Pattern::new(pattern).unwrap(), pick(rng)));
            }
        }
        if channels.is_empty() && patterns.is_empty() {
            channels.push((name("a"), common));
        }
        let user = rng.random_bool(0.4).then(|| UserName::new(USERS[rng.random_range(0..USERS.len())]).unwrap());
        Self {
            follows: Arc::new(Follows::new(channels, patterns).heard_by(user, rng.random_bool(0.7))),
            id,
            connection: None,
            inlet: None,
            wire: Wire::default(),
            room: false,
            ended: false,
            decoder: Decoder::new(),
            last_id: String::new(),
            began: None,
            promise: Default::default(),
            promised: Vec::new(),
            received: Vec::new(),
            told: Vec::new(),
            told_before: 0,
            received_before: 0,
            told_now: HashSet::new(),
            progress: Position::ORIGIN,
            log_is_new: false,
        }
    }

    pub(super) fn connect(&mut self, slot: u64) -> (Subscription, Outlet, LastEventId) {
        let (outlet, inlet) = mailbox();
        self.inlet = Some(inlet);
        self.ended = false;
        self.room = false;
        self.decoder = Decoder::new();
        self.told_now.clear();
        self.told_before = self.told.len();
        self.received_before = self.received.len();
        self.progress = Position::ORIGIN;
        let style = Style {
            stream: self.id,
            form: Form::Raw,
            hello: HelloStyle::Event,
            beat: HeartbeatStyle::Comment,
            heartbeat_ms: 15_000,
        };
        let last = match self.last_id.as_str() {
            "" => LastEventId::None,
            id => id.parse().map_or(LastEventId::Foreign, LastEventId::Cursor),
        };
        let opening = b": fanfare\nretry: 3000\n";
        (Subscription::new(self.follows.clone(), style, slot, opening), Outlet::Body(outlet), last)
    }

    /// What the hub keeps at the moment at which this stream is opened.
    pub(super) fn promise(
        &mut self,
        floors: HashMap<ChannelName, Position>,
        kept: &HashMap<ChannelName, Vec<(Position, usize)>>,
    ) {
        let mut promised = Vec::new();
        for (channel, events) in kept.iter().filter(|(channel, _)| self.follows.includes(channel)) {
            for since in self.since_of(channel) {
                let count = match since {
                    Since::Start => events.len(),
                    Since::Last(count) => count as usize,
                    Since::Unsaid | Since::Now | Since::Ago(_) | Since::After(_) => 0,
                };
                promised.extend(events.iter().rev().take(count).map(|(_, number)| (*number, channel.clone())));
            }
        }
        self.promise = (floors, promised);
    }

    /// The first hello was heard.
    fn begin(&mut self, cursor: Cursor) {
        let (floors, promised) = self.promise.clone();
        self.began = Some((cursor, floors));
        self.promised = promised;
    }

    /// The connection is gone, with what was on its way.
    pub(super) fn cut(&mut self) {
        self.connection = None;
        self.inlet = None;
        self.wire.lock().unwrap().clear();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn log_is_new(&mut self) {
        self.log_is_new = !self.last_id.is_empty();
        self.began = None;
        self.received.clear();
        self.told.clear();
        self.told_before = 0;
        self.received_before = 0;
    }

    pub(super) fn has_bytes(&mut self) -> bool {
        self.take();
        !self.wire.lock().unwrap().is_empty()
    }

    /// Whether the hub waits to hear that there is room again.
    pub(super) fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.room)
    }

    /// Moves what the hub wrote on to the wire.
    fn take(&mut self) {
        let Some(inlet) = &mut self.inlet else { return };
        // At most one mailbox is ever on the wire: the kernel's buffers, so to speak.
        while self.wire.lock().unwrap().is_empty() && !self.ended {
            match inlet.poll_take(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
                std::task::Poll::Pending => break,
                std::task::Poll::Ready(None) => self.ended = true,
                std::task::Poll::Ready(Some(taken)) => {
                    self.room |= taken.tell_room;
                    self.wire.lock().unwrap().extend(Bytes::as_ref(&taken.bytes));
                }
            }
        }
    }

    /// Up to `count` bytes come through.
    pub(super) fn receive(&mut self, count: usize, reference: &Reference, trace: &mut Vec<String>) {
        if self.connection.is_none() {
            return;
        }
        self.take();
        let bytes: Vec<u8> = {
            let mut wire = self.wire.lock().unwrap();
            let count = count.min(wire.len());
            wire.drain(..count).collect()
        };
        self.decoder.push(&bytes);
        while let Some(item) = self.decoder.next() {
            if let Item::Event(event) = item.expect("the hub's stream is well formed") {
                trace.push(format!("{} {} {}", event.id, event.event, event.data));
                self.hear(&event, reference);
            }
        }
    }

    fn hear(&mut self, event: &fanfare_wire::Event, reference: &Reference) {
        let cursor: Cursor = event.id.parse().unwrap_or_else(|_| panic!("a strange id {:?}", event.id));
        let progress = cursor.backfill.unwrap_or(cursor.position);
        assert!(progress >= self.progress, "the cursor went back from {:?} to {progress:?}", self.progress);
        self.progress = progress;
        match event.event.as_str() {
            "fanfare.hello" => {
                let foreign = cursor.position == Position::ORIGIN;
                assert!(!self.log_is_new || foreign, "a cursor of another log is not taken up");
                if self.began.is_none() && !foreign {
                    self.begin(cursor);
                }
            }
            "fanfare.gap" => self.hear_gap(&event.data, cursor),
            "fanfare.bye" => {
                assert!(!event.data.contains("store_failed"), "a stream ended though its store comes back");
            }
            "fanfare.cursor" | "fanfare.ping" => {}
            _ => self.hear_event(&event.data, cursor, reference),
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
        };
        // Of a pattern's channels, another one may reach the same floor later.
        let scope = format!("{:?}{:?}{:?}", told.channel, told.pattern, told.pattern.as_ref().and(told.from));
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

    fn hear_event(&mut self, data: &str, cursor: Cursor, reference: &Reference) {
        assert!(!self.log_is_new, "an event came before the gap of an unknown cursor");
        let number: usize = data.parse().unwrap();
        assert!(reference.is_out(number), "event {number} came though it was refused, or nobody knows of it yet");
        let Some(event) = reference.event(number) else {
            // Of the log before; it was on its way.
            return;
        };
        assert!(event.channels.iter().any(|c| self.follows.includes(c)), "an event that isn't followed");
        assert!(!self.is_excluded(event), "event {number} came to the user whom it isn't for");
        // A transient event leaves the cursor where it is. What was buried before it may yet come on a later connection.
        let is_placed = |number: usize| reference.event(number).is_some_and(|event| event.position.is_some());
        let mut before = self.received.iter().enumerate().rev();
        if let Some((_, last)) = before.find(|(at, number)| *at >= self.received_before || is_placed(**number)) {
            assert!(number > *last, "event {number} came with {cursor:?} after {last}: {event:?} {self:#?}");
        }
        if let Some(position) = event.position {
            let buried = |channel: &ChannelName| {
                self.told.iter().skip(self.told_before).any(|gap| {
                    gap.channel.as_ref() == Some(channel)
                        && gap.reason == "trimmed"
                        && gap.from.is_some_and(|from| from < position)
                        && position <= gap.to
                })
            };
            let followed = event.channels.iter().filter(|c| self.follows.includes(c));
            assert!(
                !followed.clone().all(buried),
                "event {number} at {position:?} of {:?} came with {cursor:?} after a gap that says it is gone: {self:#?}",
                event.channels
            );
        }
        self.received.push(number);
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
        let by_name = self.follows.channels().iter().filter(|(c, _)| c == channel).map(|(_, since)| *since);
        let by_pattern = self.follows.patterns().iter().filter(|(p, _)| p.matches(channel)).map(|(_, since)| *since);
        let mut since: Vec<Since> = by_name.chain(by_pattern).collect();
        // One duration for all is a place in the log, and what is for everyone comes from there on, too.
        if since.is_empty() && is_everyone(channel) && self.follows.hears_everyone() {
            since.extend(self.follows.common_since().filter(|since| matches!(since, Since::Ago(_))));
        }
        since
    }

    /// At rest: everything that was due has come or was told.
    pub(super) fn check(&self, reference: &Reference, now_ms: u64) {
        let (began, began_floors) = self.began.as_ref().expect("everyone was greeted");
        let received: HashSet<usize> = self.received.iter().copied().collect();
        assert_eq!(received.len(), self.received.len(), "an event came twice");
        for (number, event) in reference.events() {
            let Some(position) = event.position else { continue };
            // By which channels it was due: those that are followed, or, of what came before, those with a promise.
            let due = |channel: &&ChannelName| {
                let promise = || self.promised.contains(&(number, (*channel).clone()));
                self.follows.includes(channel) && (position > began.position || promise())
            };
            let due: Vec<&ChannelName> = event.channels.iter().filter(due).collect();
            let expired = event.expires_ms.is_some_and(|at| at <= now_ms);
            // Live it doesn't come to its own stream; from history it may.
            let may_be_missing = self.is_excluded(event) || event.except.stream == Some(self.id);
            if due.is_empty() || expired || may_be_missing || received.contains(&number) {
                continue;
            }
            // A transient channel has no gaps, even where another channel lent its event a place in memory.
            let promised = |channel: &&&ChannelName| !(event.lost && channel.as_str().starts_with('t'));
            let told = due.iter().filter(promised).all(|channel| self.is_told(channel, position));
            assert!(
                told,
                "event {number} at {position:?} of {:?} neither came nor was told: {self:#?}",
                event.channels
            );
        }
        self.check_asked_for(reference, began.position);
        for gap in &self.told {
            self.check_due(gap, reference, began_floors);
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
        if safe {
            return;
        }
        let is_gone = |event: &super::reference::Published| {
            let position = event.position?;
            let range = gap.from.is_some_and(|from| from < position) && position <= gap.to;
            let scope = |c: &&ChannelName| {
                gap.channel.as_ref() == Some(*c) || gap.pattern.as_ref().is_some_and(|pattern| pattern.matches(c))
            };
            let known_before = |c: &&ChannelName| {
                self.since_of(c).iter().any(|since| matches!(since, Since::Ago(_)))
                    || began_floors.get(*c).is_none_or(|floor| *floor < position)
            };
            (range && event.channels.iter().filter(scope).any(|c| known_before(&c))).then_some(())
        };
        assert!(reference.events().any(|(_, event)| is_gone(event).is_some()), "a gap where none is due: {gap:?}");
    }
}
