//! A listener who keeps a map of values: it comes back with its last id, and begins anew where a gap is told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use fanfare_wire::{Decoder, Item};
use rand::RngExt;
use rand::rngs::StdRng;

use super::{EVENTS, KEYS, STATES};
use crate::beginning::LastEventId;
use crate::channel::ChannelName;
use crate::follows::{Follows, Since};
use crate::frame::Form;
use crate::index::StreamKey;
use crate::mailbox::{BodyInlet, mailbox};
use crate::notice::HelloStyle;
use crate::outlet::Outlet;
use crate::stream_id::StreamId;
use crate::subscription::{HeartbeatStyle, Style, Subscription};

type Key = (&'static str, &'static str);

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else, and all may be so at once")]
pub(super) struct Client {
    follows: Arc<Follows>,
    /// Whether it asks for all that there is, of events too.
    from_start: bool,
    pub(super) connection: Option<(usize, StreamKey)>,
    inlet: Option<BodyInlet>,
    wire: VecDeque<u8>,
    room: bool,
    ended: bool,
    decoder: Decoder,
    last_id: String,
    pub(super) values: BTreeMap<Key, u64>,
    /// The last value heard of each key.
    heard: HashMap<Key, u64>,
    /// The number of what was published when it began.
    began: u64,
    /// Deletions: their number, and how many bytes were on their way when they were acknowledged.
    withdrawn: HashMap<Key, (u64, u64)>,
    /// Bytes received on this connection.
    received: u64,
    /// Where the next event begins.
    next_began: u64,
    /// Where the event before this one began.
    began_before: Option<u64>,
    /// A gap was told: it begins anew.
    is_anew: bool,
    pub(super) met: Vec<&'static str>,
}

impl Client {
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let from_start = rng.random_bool(0.2);
        let since = if from_start { Since::Start } else { Since::Unsaid };
        let mut channels = vec![(ChannelName::new(STATES[rng.random_range(0..STATES.len())]).unwrap(), since)];
        for name in STATES.into_iter().chain([EVENTS]).filter(|_| rng.random_bool(0.4)) {
            channels.push((ChannelName::new(name).unwrap(), since));
        }
        Self {
            follows: Arc::new(Follows::new(channels, Vec::new())),
            from_start,
            connection: None,
            inlet: None,
            wire: VecDeque::new(),
            room: false,
            ended: false,
            decoder: Decoder::new(),
            last_id: String::new(),
            values: BTreeMap::new(),
            heard: HashMap::new(),
            began: 0,
            withdrawn: HashMap::new(),
            received: 0,
            next_began: 0,
            began_before: None,
            is_anew: true,
            met: Vec::new(),
        }
    }

    pub(super) fn follows(&self, name: &str) -> bool {
        self.follows.includes(&ChannelName::new(name).unwrap())
    }

    pub(super) fn connect(&mut self, slot: u64, next: u64) -> (Subscription, Outlet, LastEventId) {
        let (outlet, inlet) = mailbox();
        (self.inlet, self.ended, self.room, self.decoder, self.received) =
            (Some(inlet), false, false, Decoder::new(), 0);
        (self.began_before, self.next_began) = (None, 0);
        // Nothing is on its way yet.
        self.withdrawn.values_mut().for_each(|(_, upto)| *upto = 0);
        if std::mem::take(&mut self.is_anew) {
            self.last_id.clear();
            self.values.clear();
            self.heard.clear();
            self.began = next;
        }
        if self.last_id.is_empty() {
            self.began = next;
        }
        let style = Style {
            stream: StreamId(0),
            form: Form::Json,
            hello: HelloStyle::Event,
            beat: HeartbeatStyle::Comment,
            heartbeat_ms: 15_000,
        };
        let last = match self.last_id.as_str() {
            "" => LastEventId::None,
            id => LastEventId::Cursor(id.parse().unwrap()),
        };
        (Subscription::new(self.follows.clone(), style, slot, b": fanfare\n"), Outlet::Body(outlet), last)
    }

    pub(super) fn cut(&mut self) {
        if self.last_id.matches('.').count() > 0 {
            self.met.push("cut in a beginning");
        }
        (self.connection, self.inlet) = (None, None);
        self.wire.clear();
    }

    /// Whether the stream has ended, or it wants to begin anew.
    pub(super) fn is_over(&self) -> bool {
        self.ended || (self.is_anew && self.connection.is_some())
    }

    pub(super) fn has_bytes(&mut self) -> bool {
        self.take();
        !self.wire.is_empty()
    }

    pub(super) fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.room)
    }

    /// A deletion was acknowledged: only what is on its way already may still show what was deleted.
    pub(super) fn withdraw(&mut self, channel: &'static str, key: &'static str, number: u64) {
        self.take();
        self.withdrawn.insert((channel, key), (number, self.received + self.wire.len() as u64));
    }

    /// Moves what the hub wrote on to the wire.
    fn take(&mut self) {
        let Some(inlet) = &mut self.inlet else { return };
        while !self.ended {
            match inlet.poll_take(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
                std::task::Poll::Pending => break,
                std::task::Poll::Ready(None) => self.ended = true,
                std::task::Poll::Ready(Some(taken)) => {
                    self.room |= taken.tell_room;
                    self.wire.extend(Bytes::as_ref(&taken.bytes));
                }
            }
        }
    }

    /// Up to `count` bytes come through.
    pub(super) fn receive(&mut self, count: usize) {
        if self.connection.is_none() {
            return;
        }
        // At most one mailbox is ever on the wire.
        if self.wire.is_empty() {
            self.take();
        }
        let mut began = self.next_began;
        for byte in self.wire.drain(..count.min(self.wire.len())).collect::<Vec<u8>>() {
            self.received += 1;
            self.decoder.push(&[byte]);
            while let Some(item) = self.decoder.next() {
                if let Item::Event(event) = item.expect("the hub's stream is well formed") {
                    self.hear(&event, began);
                    self.began_before = Some(began);
                }
                began = self.received;
            }
        }
        self.next_began = began;
    }

    /// Hears an event of which the first byte was at `began`, at the earliest.
    fn hear(&mut self, event: &fanfare_wire::Event, began: u64) {
        if self.is_anew {
            return;
        }
        match event.event.as_str() {
            "fanfare.gap" => {
                self.met.push("gap");
                self.is_anew = true;
            }
            "fanfare.delete" => {
                self.met.push("deletion");
                let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                self.values.remove(&key_of(&data));
            }
            "fanfare.bye" => assert!(!event.data.contains("store_failed"), "the store comes back"),
            "" | "message" => {
                let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                let number: u64 = data["data"].as_str().unwrap().parse().unwrap();
                if data["channel"] == EVENTS {
                    assert!(self.from_start || number >= self.began, "an event of before came: {number} {self:#?}");
                } else {
                    self.hear_value(key_of(&data), number, began);
                }
            }
            _ => {}
        }
        self.last_id.clone_from(&event.id);
    }

    fn hear_value(&mut self, key: Key, number: u64, began: u64) {
        self.met.push("value");
        let before = self.heard.insert(key, number);
        assert!(before.is_none_or(|before| before < number), "{key:?}: {number} came after {before:?}: {self:#?}");
        if let Some((deleted, upto)) = self.withdrawn.get(&key) {
            // One frame at most waits in the hub for room, as if it were on its way.
            let is_late =
                number < *deleted && began >= *upto && self.began_before.is_some_and(|before| before >= *upto);
            assert!(!is_late, "{key:?}: {number} came though it was deleted with {deleted}: {self:#?}");
        }
        self.values.insert(key, number);
    }
}

/// The channel and key that some data names.
fn key_of(data: &serde_json::Value) -> Key {
    let find = |all: &[&'static str], name: &str| *all.iter().find(|of| data[name] == **of).unwrap();
    (find(&STATES, "channel"), find(&KEYS, "key"))
}
