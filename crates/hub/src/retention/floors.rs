//! The highest floor of all channels. A stream that begins above it need not look at a single one.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::position::Position;
use crate::store::{Batch, Store, StoreError, Table};

/// Where it is kept, in the table `meta`.
const KEY: &[u8] = b"highest_floor";

/// Where it is kept what channels without a row may have had.
const UNKNOWN: &[u8] = b"unknown_floor";

/// The highest floor of all channels.
#[derive(Debug)]
pub(crate) struct Floors {
    highest: AtomicU64,
    /// Rows of channels were lost, none of which had a floor above this one; 0 if none ever was.
    unknown: AtomicU64,
}

impl Floors {
    /// Reads it from a store.
    pub(crate) fn open(store: &dyn Store) -> Result<Self, StoreError> {
        let unknown = AtomicU64::new(u64::from_be_bytes(Self::unknown_of(store)?.to_key()));
        Ok(Self { highest: AtomicU64::new(read(store, KEY)?), unknown })
    }

    /// Reads it again, from a store that was opened anew.
    pub(crate) fn reread(&self, store: &dyn Store) -> Result<(), StoreError> {
        let read = Self::open(store)?;
        self.highest.fetch_max(read.highest.into_inner(), Ordering::AcqRel);
        self.unknown.fetch_max(read.unknown.into_inner(), Ordering::AcqRel);
        Ok(())
    }

    /// Has a batch say that no floor is above `highest`, and that rows were lost whose floors were not above `unknown`.
    pub(crate) fn restore(unknown: Position, highest: Position, batch: &mut Batch) {
        for (key, floor) in [(KEY, highest), (UNKNOWN, unknown)] {
            batch.put(Table::Meta, key, Bytes::copy_from_slice(&floor.to_key()));
        }
    }

    /// The floor that a channel without a row may have had.
    pub(crate) fn unknown(&self) -> Position {
        Position::from_key(self.unknown.load(Ordering::Acquire).to_be_bytes())
    }

    /// The same, as a store says.
    pub(crate) fn unknown_of(store: &dyn Store) -> Result<Position, StoreError> {
        Ok(Position::from_key(read(store, UNKNOWN)?.to_be_bytes()))
    }

    /// Takes note of a floor; for good with the commit of `batch`, which moves it.
    pub(crate) fn raise(&self, floor: Position, batch: &mut Batch) {
        let floor = u64::from_be_bytes(floor.to_key());
        let highest = self.highest.fetch_max(floor, Ordering::AcqRel).max(floor);
        batch.put(Table::Meta, KEY, Bytes::copy_from_slice(&highest.to_be_bytes()));
    }

    /// No channel has a higher floor.
    pub(crate) fn highest(&self) -> Position {
        Position::from_key(self.highest.load(Ordering::Acquire).to_be_bytes())
    }
}

fn read(store: &dyn Store, key: &[u8]) -> Result<u64, StoreError> {
    match store.get(Table::Meta, key)?.map(|value| value.as_ref().try_into().map(u64::from_be_bytes)).transpose() {
        Ok(floor) => Ok(floor.unwrap_or_default()),
        Err(_) => Err(StoreError::unreadable("a floor in its table `meta` is damaged")),
    }
}
