//! What is published: to which channels, to everyone or to those of a pattern, and whom it isn't for.

use std::collections::BTreeSet;

use rand::RngExt;

use super::{USERS, World};
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::pattern::Pattern;
use crate::shard::Shard;
use crate::stream_id::StreamId;
use crate::user::UserName;

/// What some events are published to.
const PATTERNS: [&str; 4] = ["r:*", "m*", "*:1", "*"];

impl World {
    /// The event for some channels or for everyone, perhaps with somebody left out.
    pub(super) fn draft(&mut self, event: Event) -> Draft {
        let mut draft = if self.rng.random_bool(0.1) {
            Draft::to_everyone(event, Publisher::Anyone)
        } else if self.rng.random_bool(0.12) {
            let pattern = Pattern::new(PATTERNS[self.rng.random_range(0..PATTERNS.len())]).unwrap();
            let mut met = BTreeSet::new();
            for index in self.hub.shards.iter().map(Shard::index) {
                met.extend(index.read().unwrap().names_of(&pattern).cloned());
            }
            let draft = Draft::of(met.into_iter().collect(), event, Publisher::Anyone);
            draft.map(|draft| Draft { pattern: Some(pattern), ..draft })
        } else {
            let count = if self.rng.random_bool(0.2) { self.rng.random_range(2..4) } else { 1 };
            let channels = (0..count).map(|_| self.open_channel()).collect();
            Draft::new(channels, event, Publisher::Anyone)
        }
        .unwrap();
        if self.rng.random_bool(0.15) {
            let user = UserName::new(USERS[self.rng.random_range(0..USERS.len())]).unwrap();
            draft = draft.except_user(user).unwrap();
        }
        if self.rng.random_bool(0.1) {
            draft = draft.except_stream(StreamId(self.rng.random_range(0..6)));
        }
        self.fenced(draft)
    }
}
