//! What a hub should have done, kept as naively as possible: a list of everything that was ever published.

use std::collections::HashMap;

use crate::channel::ChannelName;
use crate::ending::Deed;
use crate::history::{History, Source};
use crate::log::directory::index_key;
use crate::position::Position;
use crate::rule::Durability;
use crate::store::Table;
use crate::store::tier::Tier;
use crate::stream_id::StreamId;
use crate::user::UserName;

use super::ends::Ends;
use super::steering::{Had, HadEvent};
use super::trouble::Doubt;

/// Whom an event is not for.
#[derive(Clone, Debug)]
pub(super) struct Except {
    pub(super) user: Option<UserName>,
    pub(super) stream: Option<StreamId>,
}

/// An event that was published.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) channels: Vec<ChannelName>,
    pub(super) except: Except,
    /// None for transient events.
    pub(super) position: Option<Position>,
    pub(super) durability: Durability,
    pub(super) expires_ms: Option<u64>,
    /// What it did.
    pub(super) deed: Deed,
    /// Taken by a restart.
    pub(super) lost: bool,
}

/// Everything that was published.
#[derive(Debug, Default)]
pub(super) struct Reference {
    /// By number; a new log empties the old ones' places.
    events: Vec<Option<Published>>,
    next: usize,
    /// Numbers below this are of logs that are gone.
    forgotten: usize,
    /// Whether the hub ever crashed since the log is new: then `restart` gaps may be told to be safe.
    pub(super) crashed: bool,
    /// Which channels have ended, and who may publish.
    pub(super) ends: Ends,
}

impl Reference {
    pub(super) fn next_number(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn add(&mut self, published: Doubt, position: Option<Position>, durability: Durability) {
        let Doubt { number, channels, except, ttl, at_ms, deed } = published;
        assert!(position.is_none_or(|position| position > self.last()), "a position was given twice or out of order");
        self.events.resize_with(number + 1, || None);
        let expires_ms = ttl.map(|ttl| at_ms + ttl.as_millis() as u64);
        let event = Published { channels, except, position, durability, expires_ms, deed, lost: false };
        *self.events.last_mut().unwrap() = Some(event);
    }

    /// The last position that was given.
    pub(super) fn last(&self) -> Position {
        self.events.iter().flatten().filter_map(|event| event.position).max().unwrap_or_default()
    }

    /// Whether an event was published since the log is new, or before that. Otherwise it was refused, or its outcome is
    /// unknown, and nobody may have heard of it.
    pub(super) fn is_out(&self, number: usize) -> bool {
        self.event(number).is_some() || number < self.forgotten
    }

    pub(super) fn event(&self, number: usize) -> Option<&Published> {
        self.events.get(number).and_then(Option::as_ref)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = (usize, &Published)> {
        self.events.iter().enumerate().filter_map(|(number, event)| event.as_ref().map(|event| (number, event)))
    }

    /// What each channel had, oldest first; above its floor it has it still, expired events too, which count in `last:N` until
    /// they are swept.
    pub(super) fn had(&self, history: &History) -> Had {
        let mut floors: HashMap<&ChannelName, Position> = HashMap::new();
        let mut had = Had::new();
        for (number, event) in self.events() {
            let Some(position) = event.position else { continue };
            for channel in &event.channels {
                let floor = *floors.entry(channel).or_insert_with(|| self.floor(history, channel));
                let is_kept = !event.lost && floor < position;
                had.entry(channel.clone()).or_default().push(HadEvent { position, number, is_kept });
            }
        }
        had
    }

    /// The hub was restarted: `memory` events are gone.
    pub(super) fn restarted(&mut self, in_order: bool) {
        self.crashed |= !in_order;
        for event in self.events.iter_mut().flatten() {
            event.lost |= event.durability == Durability::Memory;
        }
    }

    /// The log is new.
    pub(super) fn forget_all(&mut self) {
        self.events.iter_mut().for_each(|event| *event = None);
        self.forgotten = self.next;
        self.crashed = false;
        self.ends = Ends::default();
    }

    /// The floor of a channel as stored; where it was forgotten meanwhile, what it must have been. It is forgotten only when
    /// nobody can be from before it.
    fn floor(&self, history: &History, channel: &ChannelName) -> Position {
        let known = history.row(channel).unwrap();
        let is_there = |position: Position| {
            Tier::ALL.into_iter().zip(known.ids).any(|(tier, id)| {
                let entry = id.map(|id| history.tiers.store(tier).get(Table::ByChannel, &index_key(id, position)));
                entry.is_some_and(|entry| entry.unwrap().is_some())
            })
        };
        let forgotten = history.horizon.forgotten();
        let of_channel = self.events().map(|(_, event)| event).filter(|event| event.channels.contains(channel));
        let lasting = of_channel.filter(|event| !event.lost && event.expires_ms.is_none());
        let gone = lasting.filter_map(|event| event.position).filter(|at| *at <= forgotten && !is_there(*at));
        gone.max().unwrap_or_default().max(known.row.floor)
    }

    /// Everything above the floors is there, nothing below them is read, and no channel is kept beyond its limits for
    /// long.
    pub(super) fn check_kept(&self, history: &History, now_ms: u64) {
        let channels: std::collections::BTreeSet<&ChannelName> =
            self.events().flat_map(|(_, event)| &event.channels).collect();
        for channel in channels {
            let known = history.row(channel).unwrap();
            let floor = self.floor(history, channel);
            let source = Source { ids: known.ids, above: floor };
            let mut kept: Vec<Position> = Vec::new();
            let mut at = floor;
            while at < Position::LAST {
                let run = history.merge(&[Source { above: at, ..source }], Position::LAST).unwrap();
                kept.extend(run.entries.iter().map(|entry| entry.position));
                at = run.covered;
            }
            let expected: Vec<Position> = self
                .events()
                .filter(|(_, event)| event.channels.contains(channel) && !event.lost)
                .filter(|(_, event)| event.expires_ms.is_none_or(|at| at > now_ms))
                .filter_map(|(_, event)| event.position.filter(|position| *position > floor))
                .collect();
            assert_eq!(kept, expected, "what is kept of {channel:?} above its floor");
        }
    }
}
