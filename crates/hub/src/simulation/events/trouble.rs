//! Store trouble: commits that fail, with whatever fate, and reopenings that fail too. What nobody knows yet is kept apart
//! from the reference until the store is back; then it must be there whole or not at all, as its fate was.

use std::collections::HashMap;
use std::time::Duration;

use super::ends::number_of;
use super::reference::Except;
use super::{World, rules};
use crate::channel::ChannelName;
use crate::clock::Clock;
use crate::draft::Draft;
use crate::ending::Deed;
use crate::log::directory::position_of_key;
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::due::Due;
use crate::rule::Durability;
use crate::store::faulty::Fate;
use crate::store::tier::Tier;
use crate::store::{Order, Table, keys_with_prefix};

/// An event of which its publisher doesn't know yet, or was told that nobody does, what became of it.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) number: usize,
    pub(super) channels: Vec<ChannelName>,
    pub(super) except: Except,
    pub(super) ttl: Option<Duration>,
    pub(super) at_ms: u64,
    pub(super) deed: Deed,
}

impl Doubt {
    pub(super) fn new(number: usize, draft: Draft, at_ms: u64) -> Self {
        let Draft { channels, except_user, except_stream, event, deed, .. } = draft;
        let except = Except { user: except_user, stream: except_stream };
        Self { number, channels, except, ttl: event.ttl, at_ms, deed }
    }

    /// How it was to be kept. Of what is done to a channel it matters, beside the rule, whether the channel has shared an event
    /// with a durable one: then it is on disk.
    fn durability(&self, found: Option<Durability>) -> Durability {
        let of_channels = self.channels.iter().map(|channel| rules().of(channel).durability).max().unwrap();
        if self.deed == Deed::None { of_channels } else { of_channels.max(found.unwrap_or(Durability::Memory)) }
    }
}

/// What a failed commit was to bring, and what becomes of it.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) doubts: Vec<Doubt>,
    pub(super) fate: Fate,
}

impl World {
    /// The log's thread tries to have the store back.
    pub(super) fn reopen(&mut self) {
        let opened = self.hub.disk.openings();
        match self.hub.writer.reopen() {
            Ok(found) => {
                self.half_back = false;
                self.trace.push(format!("reopened with {found}"));
                self.find_out(true);
            }
            Err(error) => {
                self.half_back |= self.hub.disk.openings() > opened;
                self.trace.push(format!("not reopened: {error}"));
            }
        }
    }

    /// The store is back, in the same process or in another one.
    pub(super) fn find_out(&mut self, same_process: bool) {
        let Some(Failed { doubts, fate }) = self.failed.take() else { return };
        let mut there = self.there();
        let durability = |doubt: &Doubt| doubt.durability(there.get(&doubt.number).map(|(_, durability)| *durability));
        let doubts: Vec<_> = doubts.into_iter().map(|doubt| (durability(&doubt), doubt)).collect();
        // Where nothing was to be on disk, nothing can be found, and all of it is dropped. Fences are in no log.
        let is_on_disk =
            |(durability, doubt): &(Durability, Doubt)| *durability == Durability::Durable && doubt.deed != Deed::Fence;
        let is_kept = fate == Fate::Kept && doubts.iter().any(is_on_disk);
        let (head, _) = self.hub.writer.window.head();
        for (durability, doubt) in doubts {
            let found = there.remove(&doubt.number);
            if doubt.deed == Deed::Fence {
                match (durability, fate) {
                    (Durability::Durable, Fate::Kept) => self.reference.ends.take(doubt.deed, &doubt.channels, head),
                    (Durability::Durable, Fate::Dropped | Fate::DroppedWithUnsynced) => {}
                    _ => self.reference.ends.fence_found(&doubt.channels[0], &self.hub.history),
                }
                continue;
            }
            let survives = is_kept && (same_process || durability == Durability::Durable);
            let expected = (survives && durability != Durability::Transient).then_some(durability);
            assert_eq!(found.map(|(_, durability)| durability), expected, "what was found of {doubt:?}");
            if survives {
                let position = found.map(|(position, _)| position);
                if let Some(position) = position {
                    self.reference.ends.take(doubt.deed, &doubt.channels, position);
                }
                self.reference.add(doubt, position, durability);
            }
        }
    }

    /// What was due is looked at in the end, also if the sweep that took it up first came to nothing.
    pub(super) fn check_due(&mut self) {
        // While the reserve is nearly used up, what is due on disk waits.
        self.hub.disk.limit_room(None);
        self.hub.writer.space.look();
        while self.hub.writer.sweep() {}
        // What a review of the rules has made due at once.
        self.hub.writer.sweep();
        for tier in Tier::ALL {
            let mut scan = self.hub.history.tiers.store(tier).scan(Table::Due, keys_with_prefix(b""), Order::Ascending);
            let first = scan.next().map(|pair| Due::decode(&pair.unwrap().0).unwrap());
            assert!(first.as_ref().is_none_or(|(at_ms, _)| *at_ms > self.hub.clock.unix_ms()), "still due: {first:?}");
        }
    }

    /// Where the events in the logs of both tiers are, by number.
    fn there(&self) -> HashMap<usize, (Position, Durability)> {
        let mut there = HashMap::new();
        for tier in Tier::ALL {
            for pair in self.hub.history.tiers.store(tier).scan(Table::Log, keys_with_prefix(b""), Order::Ascending) {
                let (key, value) = pair.unwrap();
                let position = position_of_key(&key).unwrap();
                let record = Record::decode(&value, position).unwrap();
                let number = number_of(record.name.as_deref(), std::str::from_utf8(&record.data).unwrap());
                assert!(there.insert(number, (position, tier.durability())).is_none(), "event {number} is there twice");
            }
        }
        there
    }
}
