//! Epochs: every opening of the log begins one, durable before the first event is appended. They make numbers that a
//! crash took unrepeatable, and tell a cursor of this log from one of another.

use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use crate::cursor::Cursor;
use crate::log::varint;
use crate::position::Position;
use crate::store::{Batch, Order, Persist, Store, StoreError, Table, keys_with_prefix};

/// One opening of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Counts openings, from 1.
    pub ordinal: u32,
    /// Tells logs with equal ordinals apart.
    pub random: u32,
    /// When it began, in milliseconds since the Unix epoch.
    pub opened_ms: u64,
    /// Whether it was closed in order; otherwise its `memory` events are lost without a trace.
    pub closed: bool,
}

impl std::fmt::Display for Epoch {
    /// As ids begin: the ordinal and the random part, in hexadecimal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:06x}-{:08x}", self.ordinal, self.random)
    }
}

impl Epoch {
    /// Writes it, durably.
    fn store(self, store: &dyn Store) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        self.put(&mut batch);
        store.commit(batch, Persist::Now)
    }

    /// Adds it to a batch.
    pub(crate) fn put(self, batch: &mut Batch) {
        batch.put(Table::Epochs, Bytes::copy_from_slice(&self.ordinal.to_be_bytes()), self.encode());
    }

    fn encode(self) -> Vec<u8> {
        let mut value = self.random.to_be_bytes().to_vec();
        varint::write(self.opened_ms, &mut value);
        value.push(u8::from(self.closed));
        value
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let ordinal = u32::from_be_bytes(key.try_into().ok()?);
        let (random, mut rest) = value.split_first_chunk::<4>()?;
        let opened_ms = varint::read(&mut rest)?;
        Some(Self { ordinal, random: u32::from_be_bytes(*random), opened_ms, closed: rest.first() == Some(&1) })
    }
}

/// All epochs of a log.
#[derive(Debug)]
pub struct Epochs {
    /// In the order of their ordinals; the last is the current one.
    list: RwLock<Vec<Epoch>>,
    /// Up to here, `memory` events may be lost without a floor that says so: the end of the latest epoch that a crash
    /// ended.
    crashed: Position,
    /// The first epoch of this process. What later ones took over of it is still there, also in memory.
    own: u32,
    /// The last epoch that was marked outside of all tables; 0 where none is known.
    marked: u32,
}

/// Why a cursor can't be resumed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// It isn't of this log, or it is ahead of it.
    Unknown,
}

impl Epochs {
    /// Reads the epochs of a store and begins a new one, durably.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub(crate) fn open(store: &dyn Store, now_ms: u64, random: u32) -> Result<Self, StoreError> {
        let list = read(store)?;
        let crashed = list.iter().rev().find(|epoch| !epoch.closed);
        let crashed = crashed.map_or(Position::ORIGIN, |epoch| Position::new(epoch.ordinal, Position::SEQUENCE_MAX));
        // Where an epoch was lost with its place on disk, its numbers must not be given again.
        let marked = store.marked().map_or(0, |key| Position::from_key(key).ordinal());
        let mut epochs = Self { list: RwLock::new(list), crashed, own: 0, marked };
        epochs.own = epochs.begin(store, now_ms, random)?.ordinal;
        Ok(epochs)
    }

    /// Begins the next epoch after the store was reopened, durably, and returns it. Those of this process are marked as
    /// closed in the same commit: what they had in memory is still there.
    ///
    /// # Errors
    ///
    /// When the store failed, or holds another log by now.
    pub(crate) fn resume(&self, store: &dyn Store, now_ms: u64, random: u32) -> Result<Epoch, StoreError> {
        let current = self.current();
        let mut list = read(store)?;
        if !list.iter().any(|epoch| epoch.ordinal == current.ordinal && epoch.random == current.random) {
            return Err(StoreError::Failed("the data folder holds another log by now".into()));
        }
        let mut batch = Batch::default();
        for epoch in list.iter_mut().filter(|epoch| epoch.ordinal >= self.own && !epoch.closed) {
            epoch.closed = true;
            epoch.put(&mut batch);
        }
        // After one that is only on disk, too: a beginning may have failed and yet be there.
        let ordinal = list.last().map_or(1, |epoch| epoch.ordinal.saturating_add(1));
        let epoch = Epoch { ordinal, random, opened_ms: now_ms, closed: false };
        epoch.put(&mut batch);
        store.commit(batch, Persist::Now)?;
        list.push(epoch);
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = list;
        Ok(epoch)
    }

    /// Begins the next epoch, durably, and returns it.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub(crate) fn begin(&self, store: &dyn Store, now_ms: u64, random: u32) -> Result<Epoch, StoreError> {
        let ordinal = self.last().map_or(0, |epoch| epoch.ordinal).max(self.marked).saturating_add(1);
        let epoch = Epoch { ordinal, random, opened_ms: now_ms, closed: false };
        epoch.store(store)?;
        self.list.write().unwrap_or_else(PoisonError::into_inner).push(epoch);
        Ok(epoch)
    }

    /// Marks the current epoch as closed in order, durably. Nothing may be appended afterwards.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub(crate) fn close(&self, store: &dyn Store) -> Result<(), StoreError> {
        match self.last() {
            Some(epoch) => Epoch { closed: true, ..epoch }.store(store),
            None => Ok(()),
        }
    }

    fn last(&self) -> Option<Epoch> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).last().copied()
    }

    /// The current epoch.
    pub fn current(&self) -> Epoch {
        // `open` begins one, so there always is a last one.
        self.last().unwrap_or(Epoch { ordinal: 1, random: 0, opened_ms: 0, closed: false })
    }

    /// The random part of an epoch; 0 for one that this log never had.
    pub fn random_of(&self, ordinal: u32) -> u32 {
        self.find(ordinal).map_or(0, |epoch| epoch.random)
    }

    fn find(&self, ordinal: u32) -> Option<Epoch> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.binary_search_by_key(&ordinal, |epoch| epoch.ordinal).ok().and_then(|at| list.get(at).copied())
    }

    /// The cursor for a position.
    pub fn cursor(&self, position: Position, backfill: Option<Position>) -> Cursor {
        Cursor { backfill, ..Cursor::at(position, self.random_of(position.ordinal())) }
    }

    /// Whether a cursor is of this log and not ahead of it. Within an earlier epoch any number counts: after a crash
    /// nobody knows how far its `memory` events went.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn place(&self, cursor: &Cursor, head: Position) -> Result<(), Unplaced> {
        let known = self.find(cursor.position.ordinal()).is_some_and(|epoch| epoch.random == cursor.random);
        if known && cursor.position <= head { Ok(()) } else { Err(Unplaced::Unknown) }
    }

    /// Up to here `memory` events may be lost without a floor that says so.
    pub fn crashed(&self) -> Position {
        self.crashed
    }

    /// Whether a position was given before this process began.
    pub fn is_of_before(&self, position: Position) -> bool {
        position.ordinal() < self.own
    }
}

/// The epochs of a store, in the order of their ordinals.
pub(crate) fn read(store: &dyn Store) -> Result<Vec<Epoch>, StoreError> {
    let mut list = Vec::new();
    for pair in store.scan(Table::Epochs, keys_with_prefix(b""), Order::Ascending) {
        let (key, value) = pair?;
        let epoch = Epoch::decode(&key, &value);
        // Without one of them its cursors would be another log's.
        list.push(epoch.ok_or_else(|| StoreError::unreadable("an entry of its table `epochs` is damaged"))?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn every_opening_begins_an_epoch_of_its_own_even_after_a_crash() {
        let store = MemoryStore::forgetful();
        let first = Epochs::open(&store, 1, 11).unwrap();
        assert_eq!(first.current().ordinal, 1);
        assert_eq!(first.crashed(), Position::ORIGIN);
        store.forget();
        let second = Epochs::open(&store, 2, 22).unwrap();
        assert_eq!(second.current().ordinal, 2);
        assert_eq!(second.crashed().ordinal(), 1, "the first was never closed");
        second.close(&store).unwrap();
        let third = Epochs::open(&store, 3, 33).unwrap();
        assert_eq!(third.crashed().ordinal(), 1, "the second was closed in order");
        assert_eq!(third.random_of(2), 22);
    }

    #[test]
    fn an_epoch_that_a_reopened_store_ended_is_no_crash() {
        let store = MemoryStore::default();
        Epochs::open(&store, 1, 11).unwrap();
        let epochs = Epochs::open(&store, 2, 22).unwrap();
        // A beginning that failed and is there all the same.
        Epoch { ordinal: 3, random: 99, opened_ms: 3, closed: false }.store(&store).unwrap();
        let next = epochs.resume(&store, 4, 44).unwrap();
        assert_eq!((next.ordinal, epochs.current()), (4, next));
        assert!(epochs.is_of_before(Position::new(1, 9)) && !epochs.is_of_before(Position::new(2, 9)));
        assert_eq!(epochs.crashed().ordinal(), 1);
        epochs.close(&store).unwrap();
        assert_eq!(Epochs::open(&store, 5, 55).unwrap().crashed().ordinal(), 1, "only the first was never closed");
        assert!(epochs.resume(&MemoryStore::default(), 6, 66).is_err(), "another log is not gone on with");
    }

    #[test]
    fn foreign_and_future_cursors_have_no_place() {
        let store = MemoryStore::default();
        let epochs = Epochs::open(&store, 1, 11).unwrap();
        let head = Position::new(1, 5);
        let at = |position, random| Cursor::at(position, random);
        assert_eq!(epochs.place(&at(head, 11), head), Ok(()));
        assert_eq!(epochs.place(&at(head, 12), head), Err(Unplaced::Unknown));
        assert_eq!(epochs.place(&at(Position::new(1, 6), 11), head), Err(Unplaced::Unknown));
        assert_eq!(epochs.place(&at(Position::new(2, 1), 11), head), Err(Unplaced::Unknown));
        assert_eq!(epochs.place(&at(Position::ORIGIN, 0), head), Err(Unplaced::Unknown));
    }
}
