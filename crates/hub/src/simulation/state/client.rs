//! A listener who keeps a map of values: it comes back with its last id, and begins anew where a gap is told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::{EVENTS, KEYS, STATES};
use crate::channel::ChannelName;
use crate::follows::{Follows, Since};
use crate::history::beginning::LastEventId;
use crate::outlet::Outlet;
use crate::simulation::connection::{Connection, Heard};
use crate::stream_id::StreamId;
use crate::subscription::Subscription;
use crate::window::frame::Form;

type Key = (&'static str, &'static str);

#[derive(Debug)]
pub(super) struct Client {
    follows: Arc<Follows>,
    /// Whether it asks for all that there is, of events too.
    from_start: bool,
    pub(super) connection: Connection,
    last_id: String,
    pub(super) values: BTreeMap<Key, u64>,
    /// The last value heard of each key.
    heard: HashMap<Key, u64>,
    /// The number of what was published when it began.
    began: u64,
    /// Deletions: their number, and how many bytes were on their way when they were acknowledged.
    withdrawn: HashMap<Key, (u64, u64)>,
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
            connection: Connection::default(),
            last_id: String::new(),
            values: BTreeMap::new(),
            heard: HashMap::new(),
            began: 0,
            withdrawn: HashMap::new(),
            began_before: None,
            is_anew: true,
            met: Vec::new(),
        }
    }

    pub(super) fn follows(&self, name: &str) -> bool {
        self.follows.includes(&ChannelName::new(name).unwrap())
    }

    pub(super) fn connect(&mut self, slot: u64, next: u64) -> (Subscription, Outlet, LastEventId) {
        self.began_before = None;
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
        self.connection.ask(self.follows.clone(), (StreamId(0), Form::Json), &self.last_id, slot)
    }

    pub(super) fn cut(&mut self) {
        if self.last_id.matches('.').count() > 0 {
            self.met.push("cut in a beginning");
        }
        self.connection.cut();
    }

    /// Whether the stream has ended, or it wants to begin anew.
    pub(super) fn is_over(&self) -> bool {
        self.connection.has_ended() || (self.is_anew && self.connection.is_open())
    }

    /// A deletion was acknowledged: only what is on its way already may still show what was deleted.
    pub(super) fn withdraw(&mut self, channel: &'static str, key: &'static str, number: u64) {
        self.withdrawn.insert((channel, key), (number, self.connection.sent()));
    }

    /// Up to `count` bytes come through.
    pub(super) fn receive(&mut self, count: usize) {
        for Heard { event, began } in self.connection.receive(count) {
            self.hear(&event, began);
            self.began_before = Some(began);
        }
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
