//! The two places where events are kept: on disk, and in memory for `memory` channels. Both are stores and are used
//! alike; only what a restart leaves of them differs.

use std::sync::Arc;

use crate::damage::{Damage, Readable};
use crate::rule::Durability;
use crate::store::memory::MemoryStore;
use crate::store::{KeyRange, Order, Store, Table};

/// Where an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// On disk.
    Durable,
    /// In memory.
    Memory,
}

impl Tier {
    /// Both, in the order of arrays that have one for each.
    pub(crate) const ALL: [Self; 2] = [Self::Durable, Self::Memory];

    /// Where events of this durability are kept, if they are kept at all.
    pub(crate) fn of(durability: Durability) -> Option<Self> {
        match durability {
            Durability::Durable => Some(Self::Durable),
            Durability::Memory => Some(Self::Memory),
            Durability::Transient => None,
        }
    }

    /// The one of a pair, in the order of [`Tier::ALL`], that belongs to this tier.
    pub(crate) fn of_pair<T>(self, [durable, memory]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Durable => durable,
            Self::Memory => memory,
        }
    }

    /// The durability of events that are kept here.
    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::Durable => Durability::Durable,
            Self::Memory => Durability::Memory,
        }
    }
}

/// The stores of both tiers.
#[derive(Clone)]
pub(crate) struct Tiers {
    /// The store on disk.
    pub(crate) durable: Arc<dyn Store>,
    /// The store in memory, empty at every start.
    pub(crate) memory: Arc<MemoryStore>,
    /// What of them can't be read.
    pub(crate) damage: Arc<Damage>,
}

impl Tiers {
    /// The given store on disk, beside a fresh one in memory.
    pub(crate) fn new(durable: Arc<dyn Store>) -> Self {
        Self { durable, memory: Arc::new(MemoryStore::default()), damage: Arc::default() }
    }

    /// The store of a tier.
    pub(crate) fn store(&self, tier: Tier) -> &dyn Store {
        match tier {
            Tier::Durable => &*self.durable,
            Tier::Memory => &*self.memory,
        }
    }

    /// Scans what can be read of a range.
    pub(crate) fn scan(&self, tier: Tier, table: Table, range: KeyRange, order: Order) -> Readable<'_> {
        Readable::new(self.store(tier), &self.damage, table, range, order)
    }
}
