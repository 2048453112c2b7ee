//! Has what was removed from a table leave the disk.
//!
//! The engine's major compaction writes a whole table at once and keeps all other compactions of it out meanwhile; young
//! tables pile up, and after 28 of them publishing stops. So it is done only for tables up to a size that takes seconds.
//! Compactions of our own in small steps beside the engine's were tried: two compactions at a time may leave overlapping
//! files on one level, after which the engine loses track of what a mark removes (lsm-tree 3.1). For the same reason the
//! engine has only one thread that compacts.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use fjall::AbstractTree as _;
use fjall::compaction::Leveled;

use super::{FjallStore, LOOK_EVERY, Opened, TABLE_BYTES, failed};
use crate::store::{StoreError, Table};

#[cfg(test)]
mod tests;

/// How the engine lays out a table by itself.
pub(super) fn usual() -> Leveled {
    Leveled::default().with_table_target_size(TABLE_BYTES)
}

impl FjallStore {
    /// Writes a table anew at once, which keeps all other compactions of it out until it is done. Returns whether it did.
    pub(super) fn rewrite(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        if !self.flush_table(table, go_on)? {
            return Ok(false);
        }
        let _stepping = self.stepping.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = self.turn(go_on)? else { return Ok(false) };
        // It would stop at the damage, each time anew.
        if open.suspect.load(Ordering::Acquire) {
            return Ok(false);
        }
        let tree = &open.table(table).tree;
        tree.major_compact(TABLE_BYTES, open.unseen()).map_err(|error| open.unread(fjall::Error::from(error)))?;
        Ok(true)
    }

    /// What a table has of removed keys on disk, as its marks of removal let suppose, in bytes.
    pub(super) fn dead(&self, table: Table) -> Option<u64> {
        let open = self.opened().ok()?;
        let tree = &open.table(table).tree;
        let marks = tree.tombstone_count();
        let live = NonZeroU64::new((tree.approximate_len() as u64).saturating_sub(marks));
        let bytes = tree.disk_space();
        // A mark goes with the row that it removed, so there are about as many of both.
        Some(live.map_or(bytes, |live| (bytes / live).saturating_mul(marks).min(bytes)))
    }

    /// Has what a table has in memory written to files. Returns whether it came to its end.
    pub(super) fn flush_table(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        // Where somebody else has done so just now, its files are waited for, too.
        self.opened()?.table(table).rotate_memtable().map_err(failed)?;
        loop {
            let open = self.opened()?;
            if open.table(table).tree.sealed_memtable_count() == 0 {
                return Ok(true);
            }
            open.check()?;
            // Let go of between two looks, so that reopening needn't wait for all of this.
            drop(open);
            if self.turn(go_on)?.is_none() {
                return Ok(false);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// The same for all tables, side by side, if journals could go then: the engine keeps them until each table has written
    /// what is in them.
    pub(super) fn flush_all(&self, go_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
        if self.opened()?.db.journal_count() < 2 {
            return Ok(());
        }
        for table in Table::ALL {
            self.opened()?.table(table).rotate_memtable().map_err(failed)?;
        }
        Table::ALL.into_iter().try_for_each(|table| self.flush_table(table, go_on).map(drop))
    }

    /// What is open, unless somebody wants it to be left alone.
    fn turn(&self, go_on: &dyn Fn() -> bool) -> Result<Option<Arc<Opened>>, StoreError> {
        if self.leave.load(Ordering::Acquire) || !go_on() { Ok(None) } else { self.opened().map(Some) }
    }
}

impl Opened {
    /// Up to which number of a change no reader that there is, or will be, sees what a later one hides.
    fn unseen(&self) -> u64 {
        self.db.supervisor.snapshot_tracker.get_seqno_safe_to_gc()
    }
}
