//! A device that shows its user's messages: it comes back with its last id, and begins anew where a gap is told.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::{EVENTS, user};
use crate::channel::ChannelName;
use crate::follows::{self, Follows};
use crate::history::beginning::LastEventId;
use crate::inbox::device::DeviceName;
use crate::outlet::Outlet;
use crate::simulation::connection::{Connection, Heard};
use crate::stream_id::StreamId;
use crate::subscription::Subscription;
use crate::window::frame::Form;

/// A message that came.
#[derive(Clone, Debug)]
pub(super) struct Had {
    pub(super) number: u64,
    pub(super) key: String,
    /// The id of its frame.
    pub(super) id: String,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else, and all may be so at once")]
pub(super) struct Client {
    pub(super) user: usize,
    pub(super) device: DeviceName,
    /// Whether it acknowledges by coming back.
    pub(super) is_auto: bool,
    /// Whether the hub knows that it began with all there was.
    pub(super) is_remembered: bool,
    /// Whether the ids that it is given say that they are its own.
    pub(super) is_marked: bool,
    /// It began with another one's id, and has not all that waits.
    pub(super) is_partial: bool,
    follows: Arc<Follows>,
    pub(super) connection: Connection,
    pub(super) last_id: String,
    /// What it shows, by key.
    pub(super) messages: BTreeMap<String, u64>,
    /// What came since it began.
    pub(super) had: Vec<Had>,
    /// Whatever came, ever.
    pub(super) ever: HashSet<u64>,
    /// What was acknowledged before this connection, and doesn't come any more.
    pub(super) acknowledged_before: HashSet<u64>,
    /// A gap was told: it begins anew.
    is_anew: bool,
    pub(super) met: Vec<&'static str>,
}

impl Client {
    pub(super) fn random(of: usize, device: usize, rng: &mut StdRng) -> Self {
        let mut channels = vec![(user(of).inbox().clone(), follows::Since::Start)];
        if rng.random_bool(0.5) {
            channels.push((ChannelName::new(EVENTS).unwrap(), follows::Since::Unsaid));
        }
        Self {
            user: of,
            device: DeviceName::new(&device.to_string()).unwrap(),
            is_auto: rng.random_bool(0.5),
            is_remembered: false,
            is_marked: false,
            is_partial: false,
            follows: Arc::new(Follows::new(channels, Vec::new()).heard_by(Some(user(of)), rng.random_bool(0.5))),
            connection: Connection::default(),
            last_id: String::new(),
            messages: BTreeMap::new(),
            had: Vec::new(),
            ever: HashSet::new(),
            acknowledged_before: HashSet::new(),
            is_anew: true,
            met: Vec::new(),
        }
    }

    /// It is about to connect.
    pub(super) fn begin(&mut self) {
        if std::mem::take(&mut self.is_anew) {
            self.last_id.clear();
            self.is_partial = false;
            self.messages.clear();
            self.had.clear();
        }
    }

    pub(super) fn connect(&mut self, slot: u64) -> (Subscription, Outlet, LastEventId) {
        let (asked, outlet, last) =
            self.connection.ask(self.follows.clone(), (StreamId(0), Form::Json), &self.last_id, slot);
        (asked.of_device(self.is_marked.then(|| self.device.mark(&user(self.user)))), outlet, last)
    }

    pub(super) fn cut(&mut self) {
        if self.last_id.contains('.') {
            self.met.push("cut in a beginning");
        }
        self.connection.cut();
    }

    /// Whether the stream has ended, or it wants to begin anew.
    pub(super) fn is_over(&self) -> bool {
        self.connection.has_ended() || (self.is_anew && self.connection.is_open())
    }

    /// Up to `count` bytes come through.
    pub(super) fn receive(&mut self, count: usize) {
        for Heard { event, .. } in self.connection.receive(count) {
            self.hear(&event);
        }
    }

    fn hear(&mut self, event: &fanfare_wire::Event) {
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
                assert_eq!(data["id"], data["key"], "it tells the id of its message");
                self.messages.remove(data["key"].as_str().unwrap());
            }
            "fanfare.bye" => assert!(!event.data.contains("store_failed"), "the store comes back"),
            "" | "message" => {
                let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                if data["channel"] != EVENTS {
                    self.hear_message(&data, &event.id);
                }
            }
            _ => {}
        }
        self.last_id.clone_from(&event.id);
    }

    fn hear_message(&mut self, data: &serde_json::Value, id: &str) {
        self.met.push("message");
        let number: u64 = data["data"].as_str().unwrap().parse().unwrap();
        let key = data["key"].as_str().unwrap().to_owned();
        assert_eq!(data["id"], data["key"], "a message's key is its id");
        assert!(self.had.last().is_none_or(|had| had.number < number), "{number} came twice, or late: {self:#?}");
        assert!(!self.acknowledged_before.contains(&number), "{number} was acknowledged before: {self:#?}");
        self.had.push(Had { number, key: key.clone(), id: id.to_owned() });
        self.ever.insert(number);
        self.messages.insert(key, number);
    }
}
