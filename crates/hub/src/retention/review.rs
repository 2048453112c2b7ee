//! A review of all channels after the rules have changed, in this run of the hub or since the last. Channels in use learn
//! their new rule at once; the others are looked at in steps between commits, so that stricter limits hold for channels
//! that nobody publishes to, too. Channels that came since it began have the new rules from their first event on. The
//! rules' mark in the store is written when a review has ended: one that was cut short begins anew.

use std::ops::Bound;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::limits::SWEEP_ENTRIES_MAX;
use crate::log::channel_row::ChannelRow;
use crate::retention::due::Due;
use crate::rule::Rules;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Order, Store, StoreError, Table, keys_with_prefix};

/// Where the mark of the rules that all channels obey is kept, in the table `meta`.
const KEY: &[u8] = b"rules";

/// Behind all names, which are text.
const END: &[u8] = &[0xff];

/// What is left of a review, if there is one.
#[derive(Debug)]
pub(crate) struct Review {
    /// The rules that channels in use obey, by [`Rules::version`].
    version: u64,
    /// The tier and name after which it goes on.
    at: Option<(Tier, Vec<u8>)>,
    /// The first id that no channel had when it began.
    next_id: u64,
}

/// Has the next opening begin a review, whatever the rules are.
pub(crate) fn forget(batch: &mut Batch) {
    batch.remove(Table::Meta, KEY);
}

impl Review {
    /// Begins one where the rules are others than those that the store's channels obey. Channels to come have at least this
    /// id.
    pub(crate) fn open(store: &dyn Store, rules: &Rules, next_id: u64) -> Result<Self, StoreError> {
        let version = rules.version();
        if store.get(Table::Meta, KEY)?.is_some_and(|mark| mark[..] == rules.mark()) {
            return Ok(Self { version, at: None, next_id });
        }
        // A new hub has only the mark to write, however many channels come before it does.
        let is_new = store.scan(Table::Channels, keys_with_prefix(b""), Order::Ascending).next().is_none();
        let after = if is_new { END } else { b"" };
        Ok(Self { version, at: Some((Tier::Durable, after.to_vec())), next_id })
    }

    /// Begins one if the rules were changed since the last time. Returns whether they were.
    pub(crate) fn begin(&mut self, rules: &Rules, next_id: u64) -> bool {
        let version = rules.version();
        if version == self.version {
            return false;
        }
        *self = Self { version, at: Some((Tier::Durable, Vec::new())), next_id };
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
            let (key, value) = pair?;
            count += 1;
            let is_young = ChannelRow::decode(&value).is_some_and(|row| row.id >= self.next_id);
            if !is_young && let Some(name) = std::str::from_utf8(&key).ok().and_then(|name| ChannelName::new(name).ok())
            {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;
    use crate::rule::Rule;
    use crate::store::Persist;

    /// Has all steps of a review done. Gives the channels that it has looked at, and whether it wrote the rules' mark.
    fn all_steps(review: &mut Review, rules: &Rules, tiers: &Tiers) -> (Vec<String>, bool) {
        let mut batches = [Batch::default(), Batch::default()];
        while review.step(1, rules, &mut batches, tiers).unwrap() {}
        let changes = batches.into_iter().flat_map(|batch| batch.changes).collect::<Vec<_>>();
        let name = |key: &[u8]| match Due::decode(key) {
            Some((1, Due::Channel(name))) => Some(name.to_string()),
            _ => None,
        };
        let names = changes.iter().filter(|change| change.table == Table::Due).filter_map(|change| name(&change.key));
        (names.collect(), changes.iter().any(|change| change.key == KEY))
    }

    #[test]
    fn channels_that_came_since_it_began_are_left_alone() {
        let tiers = Tiers::new(std::sync::Arc::new(crate::store::memory::MemoryStore::default()));
        let rules = Rules::new(vec![]);
        let mut of_new = Review::open(&*tiers.durable, &rules, 1).unwrap();
        let mut batch = Batch::default();
        for (id, name) in [(1, "old"), (2, "new")] {
            batch.put(Table::Channels, name, ChannelRow { id, ..ChannelRow::default() }.encode());
        }
        tiers.durable.commit(batch, Persist::Now).unwrap();
        assert_eq!(all_steps(&mut of_new, &rules, &tiers), (vec![], true), "there was no channel when it began");
        let mut review = Review::open(&*tiers.durable, &rules, 2).unwrap();
        assert_eq!(all_steps(&mut review, &rules, &tiers), (vec!["old".to_owned()], true));
        assert!(!review.begin(&rules, 3));
        rules.replace(vec![Rule::new(Pattern::new("old").unwrap())]);
        assert!(review.begin(&rules, 3));
        assert_eq!(all_steps(&mut review, &rules, &tiers), (vec!["new".to_owned(), "old".to_owned()], true));
    }
}
