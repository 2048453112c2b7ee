//! The thread that gives the space of removed events back to the disk, and keeps the hub within its disk limit.
//!
//! Removing writes marks; the bytes leave the disk when tables are written anew without what was removed. That happens by
//! and by on its own, but not in good time and not at all on an idle hub. So here it is reckoned what there is to give
//! back, and a table is rewritten when that is worth it: half of it while the hub is at work, an eighth once it is idle
//! for a minute, and where the disk limit is reached an eighth, too. The front of the log costs nothing: whole files of
//! which nothing is kept are dropped as they are. What is reckoned are records before compression, so it is rather too
//! much; at the start it is told from the marks that the tables have.
//!
//! While a table is written anew, the store's own compactions of it wait, and in the end publishers would. So that is done
//! only with tables of a size that takes a second or two, and larger ones when the hub is idle. Still larger ones are left
//! to the store's own compactions.
//!
//! This may take a while, so it has a thread of its own: looking at the disk's room and sweeping
//! must not wait for it.

use std::ops::Bound;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::hub::Shared;
use crate::limits::{RECLAIM_BYTES_MIN, REMOVE_BYTES_FULL, TRIM_ENTRIES_MAX};
use crate::log::directory::{ChannelRow, index_key, position_of_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::space::disk_limit::{DiskLimit, Measure, Step};
use crate::space::keeper::{self, KeeperStop};
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Order, Persist, Store, StoreError, Table};

/// About what a row elsewhere than in the log takes on disk.
const ROW_BYTES: u64 = 48;

/// The tables beside the log of which rows are removed.
const ROWS: [Table; 5] = [Table::ByChannel, Table::Due, Table::Idempotency, Table::Channels, Table::Keys];

/// How many looks without anything new make the hub idle.
const IDLE_LOOKS: u32 = 60;

/// Which part of a table must be given back to be worth writing it anew: one in so many.
const PART_AT_WORK: u64 = 2;

/// The same on an idle hub, or beyond the disk limit.
const PART_OTHERWISE: u64 = 8;

/// The largest table that is written anew at once while the hub is at work: a second or two.
const WHOLE_AT_WORK: u64 = 128 * 1024 * 1024;

/// The same on an idle hub: some ten seconds.
const WHOLE_IDLE: u64 = 1024 * 1024 * 1024;

/// What the thread knows from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Reclaimer {
    limit: DiskLimit,
    /// Whether the tables were asked what an earlier process has left in them.
    begun: bool,
    /// Bytes of records removed and not given back, as far as is known.
    log: u64,
    /// The same of rows of the other tables.
    rows: u64,
    /// Bytes that the log was told to remove last, until their files are dropped.
    asked: u64,
    /// Up to where the log's files were dropped.
    dropped: Position,
    /// The head at the last look, and how many looks it has been there.
    head: Position,
    idle: u32,
}

#[cfg(test)]
mod tests;

/// Starts the thread.
pub(crate) fn start(hub: &Arc<Shared>, stop: Arc<KeeperStop>) -> std::io::Result<JoinHandle<()>> {
    let mut reclaimer = Reclaimer::default();
    keeper::start_thread("reclaimer", Arc::downgrade(hub), stop, move |hub| {
        match reclaimer.look(hub) {
            // What is asked for meanwhile is asked for again.
            Ok(()) | Err(StoreError::Reopening) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "space could not be given back to the disk");
            }
        }
    })
}

/// What counts against the disk limit, in bytes; `None` while the store is reopened.
pub(crate) fn table_bytes(store: &dyn Store) -> Option<u64> {
    Some(store.table_bytes(Table::Log)? + row_bytes(store)?)
}

/// Bytes of all other tables of which rows are removed.
fn row_bytes(store: &dyn Store) -> Option<u64> {
    ROWS.iter().map(|table| store.table_bytes(*table)).sum()
}

impl Reclaimer {
    /// Looks at what there is to give back, and at the limit, and does one thing about it.
    fn look(&mut self, hub: &Shared) -> Result<(), StoreError> {
        let removed = hub.log.take_removed();
        self.log += removed.record_bytes;
        self.rows += removed.entries * ROW_BYTES;
        let (head, _) = hub.history.window.head();
        self.idle = if head == self.head { self.idle.saturating_add(1) } else { 0 };
        self.head = head;
        self.begin(&*hub.store)?;
        self.drop_cleared(hub)?;
        self.limit.set(hub.space.bytes_max());
        let log_bytes = hub.store.table_bytes(Table::Log).ok_or(StoreError::Reopening)?;
        let row_bytes = row_bytes(&*hub.store).ok_or(StoreError::Reopening)?;
        let has_room = has_room(hub, log_bytes.max(row_bytes));
        let worth = |part: u64| {
            let of = |garbage: u64, bytes: u64| if garbage >= (bytes / part).max(1) { garbage.min(bytes) } else { 0 };
            of(self.log, log_bytes) + of(self.rows, row_bytes)
        };
        let measure = Measure {
            bytes: log_bytes + row_bytes,
            // Without room for rewriting, or with too much to write, only removing helps.
            reclaimable: if has_room && log_bytes.max(row_bytes) <= self.whole_max() {
                worth(PART_OTHERWISE)
            } else {
                0
            },
            is_busy: hub.log.is_removing_oldest(),
        };
        match self.limit.step(measure) {
            Step::Reclaim => self.reclaim(hub, PART_OTHERWISE),
            Step::Remove(bytes) => {
                // The marks come before the files go.
                let bytes = if hub.space.is_full() { bytes.min(REMOVE_BYTES_FULL) } else { bytes };
                self.asked = bytes;
                hub.log.remove_oldest(bytes);
                Ok(())
            }
            Step::Rest => {
                let part = if self.is_idle() { PART_OTHERWISE } else { PART_AT_WORK };
                if worth(part) >= RECLAIM_BYTES_MIN { self.reclaim(hub, part) } else { Ok(()) }
            }
        }
    }

    /// Whether nothing new has come for a while.
    fn is_idle(&self) -> bool {
        self.idle >= IDLE_LOOKS
    }

    /// The largest table that may be written anew now, in bytes.
    fn whole_max(&self) -> u64 {
        if self.is_idle() { WHOLE_IDLE } else { WHOLE_AT_WORK }
    }

    /// Takes over what an earlier process has left to be given back.
    fn begin(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        if !self.begun {
            let rows = ROWS.iter().map(|table| store.dead_bytes(*table)).sum::<Option<u64>>();
            let log = store.dead_bytes(Table::Log);
            let (log, rows) = log.zip(rows).ok_or(StoreError::Reopening)?;
            self.log += log;
            self.rows += rows;
            self.begun = true;
        }
        Ok(())
    }

    /// Drops files at the log's front, once the oldest events were removed.
    fn drop_cleared(&mut self, hub: &Shared) -> Result<(), StoreError> {
        let cleared = hub.log.cleared();
        if cleared > self.dropped && self.drop_front(hub, cleared)? > 0 {
            self.log = self.log.saturating_sub(self.asked);
            self.asked = 0;
        }
        Ok(())
    }

    /// Drops files at the log's front, up to where nothing is kept. Gives the bytes that they had.
    fn drop_front(&mut self, hub: &Shared, upto: Position) -> Result<u64, StoreError> {
        let store = &*hub.store;
        let before = store.table_bytes(Table::Log).unwrap_or_default();
        store.drop_below(Table::Log, &upto.to_key())?;
        let freed = before.saturating_sub(store.table_bytes(Table::Log).unwrap_or(before));
        // What came back, since the mark that removed it went first, is removed again. From the very beginning: what
        // removed it the last time may have gone just now, too.
        let range = (Bound::Unbounded, Bound::Included(upto.to_key().to_vec()));
        let mut batch = Batch::default();
        for pair in store.scan(Table::Log, range, Order::Ascending) {
            batch.remove(Table::Log, pair?.0);
            if batch.changes.len() >= TRIM_ENTRIES_MAX {
                store.commit(std::mem::take(&mut batch), Persist::Later)?;
            }
        }
        store.commit(batch, Persist::Later)?;
        self.dropped = upto;
        Ok(freed)
    }

    /// Gives back what is worth it, the front of the log first.
    fn reclaim(&mut self, hub: &Shared, part: u64) -> Result<(), StoreError> {
        let store = &*hub.store;
        let is_worth = |garbage: u64, bytes: Option<u64>| bytes.is_some_and(|bytes| garbage >= (bytes / part).max(1));
        let fits = |bytes: Option<u64>| bytes.is_some_and(|bytes| bytes <= self.whole_max() && has_room(hub, bytes));
        let (log_fits, rows_fit) = (fits(store.table_bytes(Table::Log)), fits(row_bytes(store)));
        if is_worth(self.log, store.table_bytes(Table::Log)) {
            let gone = below_first_kept(&hub.history.tiers, self.dropped)?;
            if gone > self.dropped {
                let freed = self.drop_front(hub, gone)?;
                self.log = self.log.saturating_sub(freed);
            }
            if log_fits && is_worth(self.log, store.table_bytes(Table::Log)) && rewrite(hub, Table::Log)? {
                self.log = 0;
            }
        }
        if rows_fit && is_worth(self.rows, row_bytes(store)) {
            let mut all = true;
            for table in ROWS {
                all &= rewrite(hub, table)?;
            }
            if all {
                self.rows = 0;
            }
        }
        Ok(())
    }
}

/// The greatest position at or below which the log keeps nothing, looking from `above` on.
fn below_first_kept(tiers: &Tiers, above: Position) -> Result<Position, StoreError> {
    let mut gone = above;
    let range = (Bound::Excluded(above.to_key().to_vec()), Bound::Unbounded);
    for pair in tiers.scan(Tier::Durable, Table::Log, range, Order::Ascending) {
        let (key, value) = pair?;
        let Some(position) = position_of_key(&key) else { break };
        let Ok(record) = Record::decode(&value, position) else { break };
        match is_kept(tiers.store(Tier::Durable), position, &record) {
            Ok(false) => gone = position,
            Ok(true) => break,
            // What can't be told stays.
            Err(error) if error.is_damage() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Whether some channel's index still has an event. Index entries and records come and go in the same commits.
fn is_kept(store: &dyn Store, position: Position, record: &Record) -> Result<bool, StoreError> {
    for name in &record.channels {
        if let Some(row) = ChannelRow::read(store, name)?
            && store.get(Table::ByChannel, &index_key(row.id, position))?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives back what a table has to give. Returns whether it came to its end, so that nothing of worth is left.
fn rewrite(hub: &Shared, table: Table) -> Result<bool, StoreError> {
    let bytes = hub.store.table_bytes(table).ok_or(StoreError::Reopening)?;
    let go_on = || !hub.keeper.is_told() && has_room(hub, bytes);
    let done = hub.store.reclaim_table(table, &go_on)?;
    let bytes_now = hub.store.table_bytes(table);
    tracing::debug!(table = table.as_str(), bytes, bytes_now, done, "a table was rewritten");
    Ok(done)
}

/// Whether there is room for a table of so many bytes to be written anew before it goes: the disk must not run full of it.
fn has_room(hub: &Shared, bytes: u64) -> bool {
    let needed = bytes.saturating_add(hub.space.reserve() / 2);
    hub.store.disk_room().is_ok_and(|room| room.free >= needed)
}
