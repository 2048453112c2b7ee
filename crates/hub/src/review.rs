//! A review of all channels after the rules have changed, in this run of the hub or since the last. Channels in use learn
//! their new rule at once; the others are looked at in steps between commits, so that stricter limits hold for channels
//! that nobody publishes to, too. The rules' mark in the store is written when a review has ended: one that was cut short
//! begins anew.

use std::ops::Bound;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::due::Due;
use crate::limits::SWEEP_ENTRIES_MAX;
use crate::rule::Rules;
use crate::store::{Batch, Order, Store, StoreError, Table};
use crate::tier::{Tier, Tiers};

/// Where the mark of the rules that all channels obey is kept, in the table `meta`.
const KEY: &[u8] = b"rules";

/// What is left of a review, if there is one.
#[derive(Debug)]
pub(crate) struct Review {
    /// The rules that channels in use obey, by [`Rules::version`].
    version: u64,
    /// The tier and name after which it goes on.
    at: Option<(Tier, Vec<u8>)>,
}

/// Has the next opening begin a review, whatever the rules are.
pub(crate) fn forget(batch: &mut Batch) {
    batch.remove(Table::Meta, KEY);
}

impl Review {
    /// Begins one where the rules are others than those that the store's channels obey.
    pub(crate) fn open(store: &dyn Store, rules: &Rules) -> Result<Self, StoreError> {
        let is_same = store.get(Table::Meta, KEY)?.is_some_and(|mark| mark[..] == rules.mark());
        Ok(Self { version: rules.version(), at: (!is_same).then(Self::beginning) })
    }

    fn beginning() -> (Tier, Vec<u8>) {
        (Tier::Durable, Vec::new())
    }

    /// Begins one if the rules were changed since the last time. Returns whether they were.
    pub(crate) fn begin(&mut self, rules: &Rules) -> bool {
        let version = rules.version();
        if version == self.version {
            return false;
        }
        *self = Self { version, at: Some(Self::beginning()) };
        true
    }

    /// Has some channels looked at. Returns whether there are more.
    pub(crate) fn step(
        &mut self,
        now_ms: u64,
        rules: &Rules,
        batches: &mut [Batch; 2],
        tiers: &Tiers,
    ) -> Result<bool, StoreError> {
        let Some((tier, after)) = self.at.take() else { return Ok(false) };
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let names = tiers.store(tier).scan(Table::Channels, range, Order::Ascending).take(SWEEP_ENTRIES_MAX);
        let (mut last, mut count) = (None, 0);
        for pair in names {
            let (key, _) = pair?;
            count += 1;
            if let Some(name) = std::str::from_utf8(&key).ok().and_then(|name| ChannelName::new(name).ok()) {
                Due::Channel(name).put(now_ms, tier.of_pair(batches));
            }
            last = Some(key);
        }
        self.at = match (tier, last) {
            (tier, Some(last)) if count == SWEEP_ENTRIES_MAX => Some((tier, last.to_vec())),
            (Tier::Durable, _) => Some((Tier::Memory, Vec::new())),
            (Tier::Memory, _) => {
                let [durable, _] = batches;
                durable.put(Table::Meta, KEY, Bytes::copy_from_slice(&rules.mark()));
                None
            }
        };
        Ok(self.at.is_some())
    }
}
