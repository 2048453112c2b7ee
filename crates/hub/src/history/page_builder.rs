//! A page of history in the making: records are read one by one, and left out where they are not to be had any more.

use std::sync::Arc;

use bytes::Bytes;

use super::{History, Run, Unread};
use crate::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use crate::log::record::Record;
use crate::position::Position;
use crate::store::tier::Tier;
use crate::store::{Store, StoreError, Table};
use crate::window::entry::Entry;

/// Gathers a page.
pub(super) struct PageBuilder<'a> {
    pub(super) history: &'a History,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) damaged: Vec<Unread>,
    pub(super) bytes: usize,
    pub(super) now_ms: u64,
    /// How many deletions there were before it was begun.
    pub(super) deletions: u64,
}

impl PageBuilder<'_> {
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= PAGE_EVENTS_MAX || self.bytes >= PAGE_BYTES_MAX
    }

    /// Adds the event of an index entry. Its record may be gone by now, by its time to live or below a moved floor. Returns
    /// whether it could be read.
    pub(super) fn push(&mut self, position: Position, tier: Tier) -> Result<bool, StoreError> {
        let tiers = &self.history.tiers;
        match tiers.store(tier).get(Table::Log, &position.to_key()) {
            Ok(Some(value)) => self.push_if(position, tier, &value, |_| Ok(true)),
            Ok(None) => Ok(true),
            Err(error) if error.is_damage() => {
                tiers.damage.found(Table::Log, &position.to_key(), &error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds an event if it is wanted. Returns whether it could be read.
    pub(super) fn push_if(
        &mut self,
        position: Position,
        tier: Tier,
        value: &Bytes,
        wanted: impl FnOnce(&Record) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let record = match Record::decode(value, position) {
            Ok(record) => record,
            Err(error) => {
                self.history.tiers.damage.found(Table::Log, &position.to_key(), &error);
                return Ok(false);
            }
        };
        if record.is_expired(self.now_ms) {
            return Ok(true);
        }
        match wanted(&record) {
            Ok(true) => {}
            Ok(false) => return Ok(true),
            // Nobody can tell whether it is good.
            Err(error) if error.is_damage() => return Ok(false),
            Err(error) => return Err(error),
        }
        self.bytes += record.weight();
        let random = self.history.epochs.random_of(position.ordinal());
        let name = record.channels.first();
        let lineage = name.zip(record.key.as_ref()).map(|(name, key)| self.history.lineages.of(name, key));
        let entry = Entry::new(position, random, tier.durability(), record);
        self.entries.push(Arc::new(entry.with_lineage(lineage, false)));
        Ok(true)
    }

    pub(super) fn finish(mut self, covered: Position) -> Result<Run, StoreError> {
        // Those that only have a later value are left out with them: that one lies above what was to be read.
        self.take_gone()?;
        Ok(Run { entries: self.entries, covered, damaged: self.damaged })
    }

    /// Takes values out that are there no more. A key may have been deleted after its value was read here and before its
    /// lineage was known; what is deleted later shows by that. To be read in their place is what comes after this.
    pub(super) fn take_gone(&mut self) -> Result<Vec<Arc<Entry>>, StoreError> {
        let History { lineages, tiers, .. } = self.history;
        let deletions = lineages.deletions();
        let mut gone = Vec::new();
        if std::mem::replace(&mut self.deletions, deletions) == deletions {
            return Ok(gone);
        }
        let mut kept = Vec::with_capacity(self.entries.len());
        for entry in std::mem::take(&mut self.entries) {
            let store = Tier::of(entry.durability).map(|tier| tiers.store(tier));
            let is_there = |store: &dyn Store| match store.get(Table::Log, &entry.position.to_key()) {
                Ok(value) => Ok(value.is_some()),
                Err(error) if error.is_damage() => Ok(false),
                Err(error) => Err(error),
            };
            let is_kept = entry.record.key.is_none() || store.map_or(Ok(true), is_there)?;
            if is_kept { kept.push(entry) } else { gone.push(entry) }
        }
        self.entries = kept;
        Ok(gone)
    }
}
