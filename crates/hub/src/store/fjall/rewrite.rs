//! Has what was removed from a table leave the disk, in steps beside the engine's own work.
//!
//! The engine's major compaction writes a whole table at once and keeps all other compactions of it out meanwhile; young
//! tables would pile up until publishing stops. So the marks of what was removed are pushed down here, level by level, by
//! compactions like the engine's own: where a mark reaches the last level, it goes and takes what it removed with it. A step
//! takes the few files of two levels that overlap and takes the least to write, 50 files at most. Between two steps the
//! engine has its own turn, and whoever wants to stop or to reopen the store is let through.
//!
//! A step moves only files that lie within what it takes of the level below, so a few with marks of a wide range may stay
//! where they are; and files that overlap nothing are moved as they are, marks and all. Where the table is small enough,
//! all of it is written anew for what is left.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use fjall::AbstractTree as _;
use fjall::compaction::Leveled;

use super::{FjallStore, LOOK_EVERY, Opened, TABLE_BYTES, failed};
use crate::store::{StoreError, Table};

#[cfg(test)]
mod tests;

/// Young tables of which the engine makes older ones. From there on its turn comes before a step.
const YOUNG_MAX: usize = 4;

/// How often a step that the engine's own compactions are in the way of is tried again, every [`LOOK_EVERY`].
const WAITS_MAX: usize = 1_000;

/// How often all that is young is pushed down: once, and once more for what a first time may have found in the making.
const ROUNDS_MAX: usize = 2;

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is left to be pushed down.
    Done,
    /// Something was, from young files or from older ones.
    Pushed { young: bool },
    /// Nothing could be, while other compactions are running.
    Waited,
    /// Nothing can be.
    Stuck,
    /// Somebody wants it to stop.
    Left,
}

/// How the engine lays out a table by itself.
pub(super) fn usual() -> Leveled {
    Leveled::default().with_table_target_size(TABLE_BYTES)
}

/// The same with no room above the last level, so that something is pushed down by each compaction.
fn downward() -> Leveled {
    usual().with_l0_threshold(0)
}

impl FjallStore {
    /// Gives the space of removed keys back, as [`Store::reclaim_table`](crate::store::Store::reclaim_table) says.
    pub(super) fn rewrite(&self, table: Table, whole_max: u64, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        if !self.flush(table, go_on)? {
            return Ok(false);
        }
        // Each file goes down a level or two; under load there are ever new ones.
        let steps_max = 16 + 4 * self.opened()?.table(table).table_count();
        let (mut steps, mut waits, mut rounds) = (0, 0, 0);
        while steps < steps_max && rounds < ROUNDS_MAX {
            match self.step(table, go_on)? {
                Step::Left => return Ok(false),
                Step::Pushed { young } => {
                    steps += 1;
                    rounds += usize::from(young);
                    waits = 0;
                }
                Step::Waited if waits < WAITS_MAX => {
                    waits += 1;
                    std::thread::park_timeout(LOOK_EVERY);
                }
                Step::Waited | Step::Stuck | Step::Done => break,
            }
        }
        let open = self.opened()?;
        let is_left = open.table(table).tree.tombstone_count() > 0 && open.table(table).disk_space() <= whole_max;
        drop(open);
        if is_left { self.rewrite_whole(table, go_on) } else { Ok(true) }
    }

    /// Writes a table anew at once, which keeps all other compactions of it out until it is done. Returns whether it did.
    pub(super) fn rewrite_whole(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        if !self.flush(table, go_on)? {
            return Ok(false);
        }
        let _stepping = self.stepping.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = self.turn(go_on)? else { return Ok(false) };
        let tree = &open.table(table).tree;
        tree.major_compact(TABLE_BYTES, open.unseen()).map_err(|error| failed(fjall::Error::from(error)))?;
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
    fn flush(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
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

    /// What is open, unless somebody wants it to be left alone.
    fn turn(&self, go_on: &dyn Fn() -> bool) -> Result<Option<Arc<Opened>>, StoreError> {
        if self.leave.load(Ordering::Acquire) || !go_on() { Ok(None) } else { self.opened().map(Some) }
    }

    /// Pushes something down.
    fn step(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<Step, StoreError> {
        let _stepping = self.stepping.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = self.turn(go_on)? else { return Ok(Step::Left) };
        let tree = &open.table(table).tree;
        let compact = |strategy: Leveled| {
            let done = tree.compact(Arc::new(strategy), open.unseen());
            done.map_err(|error| failed(fjall::Error::from(error)))
        };
        // A step may have been in the way of the workers, who ask only after each flush.
        if tree.l0_run_count() >= YOUNG_MAX {
            compact(usual())?;
        }
        let before = tree.current_version();
        let last = before.level_count().saturating_sub(1);
        let has = |level| before.level(level).is_some_and(|level| !level.is_empty());
        let older = (1..last).any(has);
        if !older && !has(0) {
            return Ok(Step::Done);
        }
        compact(downward())?;
        Ok(match tree.current_version().id() {
            id if id != before.id() => Step::Pushed { young: !older },
            _ if open.db.active_compactions() > 0 => Step::Waited,
            _ => Step::Stuck,
        })
    }
}

impl Opened {
    /// Up to which number of a change no reader that there is, or will be, sees what a later one hides.
    fn unseen(&self) -> u64 {
        self.db.supervisor.snapshot_tracker.get_seqno_safe_to_gc()
    }
}
