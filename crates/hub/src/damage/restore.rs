//! What follows from rows that damage took, put right at the opening that finds it: the log says what it can of the other
//! tables, and where it can't, what is told is a gap rather than nothing.
//!
//! | lost of | is |
//! |---|---|
//! | `log` | a lost part of the log; whose events these were, the index knows (`restore/parts.rs`) |
//! | `by_channel` | written anew from the log (`restore/channels.rs`) |
//! | `channels` | written anew from the log, under new numbers; floors as high as they may have been. Who asks for a channel without a row is told a gap up to the highest floor that there was |
//! | `epochs` | those that the log has events of get a row; cursors of theirs from before are unknown |
//! | `meta` | numbers beyond all that are in use; the highest floor and the log's head as the other tables show |
//! | `due` | events that expire from the log; channels are all looked at once more |
//! | `keys` | written anew from the log and the index (`restore/values.rs`) |
//! | `idempotency` | lost: the same may be published twice |
//!
//! Whether a channel has ended, and who may publish to it, its row says, and a copy of that row in the table `meta`. Where both
//! are lost, its events tell of ends as far as the log has them; fences that are lost keep nobody out any more, and producers
//! that bring one are told that it is unknown. A state channel without values is lost with its row: its next event decides anew
//! what it holds.
//!
//! Mending may bring removed rows back. Of the log and its indexes they lie below floors, or are expired; of other tables
//! they are removed again in their time. Values of keys lie below no floor: only those are good that the table `keys` names
//! or, where that was lost, the index (`restore/evidence.rs`). The others are removed again. Where both were lost, nothing
//! tells a removed value from the last one but the floor of its channel, below which none is taken.
//!
//! Nothing here is done at a start that finds no damage. Where one does, it reads the whole log once.

use bytes::Bytes;

use self::evidence::Evidence;
use crate::ending::Endings;
use crate::keys::HasKeys;
use crate::limits::CURSOR_AGE_MAX;
use crate::log::directory::{self, position_of_key};
use crate::log::epoch::{self, Epoch};
use crate::log::format;
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::floors::Floors;
use crate::retention::review;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, LostRows, Order, Persist, Store, StoreError, Table, keys_with_prefix};
use crate::writer;

mod channels;
mod evidence;
mod parts;
mod values;

/// Changes that are committed together.
const BATCH_CHANGES: usize = if cfg!(test) { 16 } else { 4096 };

/// What of the store was lost.
pub(crate) struct Losses {
    rows: Vec<LostRows>,
    /// Above here journals lost something of all tables.
    journals: Option<Position>,
}

impl Losses {
    fn of(store: &dyn Store) -> Self {
        let journals = store.lost();
        let from = |lost: &crate::store::Lost| lost.after.map_or(Position::ORIGIN, Position::from_key);
        Self { rows: store.lost_rows(), journals: journals.iter().map(from).min() }
    }

    /// Whether mending took rows of a table.
    fn is_in(&self, table: Table) -> bool {
        self.rows.iter().any(|lost| lost.table == table)
    }

    /// Whether a row of a table may be an older one than was there last.
    fn may_be_old(&self, table: Table, key: &[u8]) -> bool {
        let is_behind = |after: &Option<Vec<u8>>| after.as_deref().is_none_or(|after| after < key);
        let is_before = |before: &Option<Vec<u8>>| before.as_deref().is_none_or(|before| key <= before);
        self.rows.iter().any(|lost| lost.table == table && is_behind(&lost.after) && is_before(&lost.before))
    }

    /// Above which position the log has to be read; nothing if it needn't be.
    fn log_from(&self) -> Option<Position> {
        let tables = [Table::ByChannel, Table::Channels, Table::Due, Table::Epochs, Table::Meta];
        if tables.into_iter().any(|table| self.is_in(table)) { Some(Position::ORIGIN) } else { self.journals }
    }
}

/// Changes on their way, committed now and then. Doing all of it again does no harm, so nothing is synced before the end.
struct Changes<'a> {
    store: &'a dyn Store,
    batch: Batch,
}

impl Changes<'_> {
    fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<(), StoreError> {
        self.batch.put(table, key, value);
        self.go_on()
    }

    fn remove(&mut self, table: Table, key: impl Into<Bytes>) -> Result<(), StoreError> {
        self.batch.remove(table, key);
        self.go_on()
    }

    fn go_on(&mut self) -> Result<(), StoreError> {
        if self.batch.changes.len() < BATCH_CHANGES {
            return Ok(());
        }
        self.store.commit(std::mem::take(&mut self.batch), Persist::Later)
    }
}

/// Puts right what can be, after something was lost. `random` gives the random parts of epochs whose own is lost.
///
/// # Errors
///
/// When the store failed, or more than is known here is damaged.
pub(crate) fn restore(tiers: &Tiers, random: &mut dyn FnMut() -> u32) -> Result<(), StoreError> {
    let store = &*tiers.durable;
    let losses = Losses::of(store);
    if losses.rows.is_empty() && losses.journals.is_none() && !HasKeys::is_bereft(store)? {
        return Ok(());
    }
    tracing::warn!(
        "something of the store is lost; what follows from it is put right, which takes a pass over the log"
    );
    let mut changes = Changes { store, batch: Batch::default() };
    if losses.is_in(Table::Meta) {
        format::restore(store, &mut changes.batch)?;
        Endings::restore(&mut changes.batch);
    }
    let evidence = Evidence::of(tiers, &losses)?;
    let last = last_of(tiers)?;
    let end = restore_epochs(tiers, last, random, &mut changes)?;
    let mut highest = Floors::open(store)?.highest();
    if losses.is_in(Table::Meta) {
        let rows = channels::read(tiers)?;
        let of_rows = rows.values().map(|row| row.floor).max().unwrap_or_default();
        // Every floor lies below what the log had when it was moved.
        highest = highest.max(if losses.is_in(Table::Channels) { last } else { of_rows });
        // Floors that moved have taken numbers, too.
        let given = rows.values().map(|row| row.moved).max().unwrap_or_default().max(last);
        writer::put_head(writer::head(store)?.max(given), &mut changes.batch);
    }
    let rows = match losses.log_from() {
        Some(from) => channels::restore(tiers, &losses, &evidence, (from, highest), &mut changes)?,
        None => channels::read(tiers)?,
    };
    // Without `meta` nobody knows which rows were forgotten, being older than cursors.
    let has_forgotten = || is_old(tiers, last);
    if losses.is_in(Table::Channels) || (losses.is_in(Table::Meta) && has_forgotten()?) {
        Floors::restore(highest.max(Floors::unknown_of(store)?), highest, &mut changes.batch);
    } else if losses.is_in(Table::Meta) {
        Floors::restore(Floors::unknown_of(store)?, highest, &mut changes.batch);
    }
    if losses.is_in(Table::Idempotency) {
        tracing::error!("idempotency keys are lost: what was published with them in the last minutes may be again");
    }
    // Every channel is looked at once more.
    review::forget(&mut changes.batch);
    parts::restore(tiers, &losses, &rows, end, &mut changes)?;
    values::restore(tiers, &losses, &rows, &evidence, &mut changes)?;
    store.commit(changes.batch, Persist::Now)?;
    store.settle()
}

/// Whether the log is so old that channels may have been forgotten since no cursor is older than their floors.
fn is_old(tiers: &Tiers, last: Position) -> Result<bool, StoreError> {
    let Some(first) = epoch::read(&*tiers.durable)?.first().copied() else { return Ok(true) };
    let time_ms = match tiers.durable.get(Table::Log, &last.to_key()) {
        Err(error) if !error.is_damage() => return Err(error),
        value => value.ok().flatten().and_then(|value| Record::decode(&value, last).ok()).map(|record| record.time_ms),
    };
    let age_ms = time_ms.map(|time_ms| time_ms.saturating_sub(first.opened_ms));
    Ok(age_ms.is_none_or(|age_ms| age_ms >= CURSOR_AGE_MAX.as_millis() as u64))
}

/// The last position in the log.
fn last_of(tiers: &Tiers) -> Result<Position, StoreError> {
    let last = tiers.scan(Tier::Durable, Table::Log, keys_with_prefix(b""), Order::Descending).next().transpose()?;
    Ok(last.and_then(|(key, _)| position_of_key(&key)).unwrap_or_default())
}

/// Gives epochs that the log has events of a row, if they have none. Returns where the log ended at the latest.
fn restore_epochs(
    tiers: &Tiers,
    last: Position,
    random: &mut dyn FnMut() -> u32,
    changes: &mut Changes<'_>,
) -> Result<Position, StoreError> {
    let store = &*tiers.durable;
    let mut known: std::collections::BTreeSet<u32> =
        epoch::read(store)?.into_iter().map(|epoch| epoch.ordinal).collect();
    let mut ordinal = 0;
    // From one epoch's first event to the next epoch's.
    loop {
        let from = Position::new(ordinal, Position::SEQUENCE_MAX).to_key().to_vec();
        let range = (std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded);
        let next = tiers.scan(Tier::Durable, Table::Log, range, Order::Ascending).next().transpose()?;
        let Some(position) = next.and_then(|(key, _)| position_of_key(&key)) else { break };
        ordinal = position.ordinal();
        if known.insert(ordinal) {
            // As if a crash had ended it: its `memory` events are gone.
            Epoch { ordinal, random: random(), opened_ms: 0, closed: false }.put(&mut changes.batch);
        }
    }
    let marked = store.marked().map_or(0, |key| Position::from_key(key).ordinal());
    let ordinal = known.last().copied().unwrap_or_default().max(last.ordinal()).max(marked);
    Ok(Position::new(ordinal, Position::SEQUENCE_MAX))
}

/// The next channel number, where all that are in use lie below `used`.
fn put_next_id(used: u64, losses: &Losses, changes: &mut Changes<'_>) -> Result<u64, StoreError> {
    /// Numbers that are left out: some may stand in rows that come back.
    const LEAP: u64 = 1 << 20;
    let next = directory::next_id(changes.store)?.max(used.saturating_add(1));
    let leap = if losses.rows.is_empty() { 0 } else { LEAP };
    Ok(next.saturating_add(leap))
}

#[cfg(test)]
mod tests;
