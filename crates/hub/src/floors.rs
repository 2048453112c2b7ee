//! The highest floor of all channels. A stream that begins above it need not look at a single one.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::position::Position;
use crate::store::{Batch, Store, StoreError, Table};

/// Where it is kept, in the table `meta`.
const KEY: &[u8] = b"highest_floor";

/// The highest floor of all channels.
#[derive(Debug)]
pub(crate) struct Floors(AtomicU64);

impl Floors {
    /// Reads it from a store.
    pub(crate) fn open(store: &dyn Store) -> Result<Self, StoreError> {
        let value = store.get(Table::Meta, KEY)?;
        match value.map(|value| value.as_ref().try_into().map(u64::from_be_bytes)).transpose() {
            Ok(highest) => Ok(Self(AtomicU64::new(highest.unwrap_or_default()))),
            Err(_) => Err(StoreError::unreadable("the highest floor in its table `meta` is damaged")),
        }
    }

    /// Takes note of a floor; for good with the commit of `batch`, which moves it.
    pub(crate) fn raise(&self, floor: Position, batch: &mut Batch) {
        let floor = u64::from_be_bytes(floor.to_key());
        let highest = self.0.fetch_max(floor, Ordering::AcqRel).max(floor);
        batch.put(Table::Meta, KEY, Bytes::copy_from_slice(&highest.to_be_bytes()));
    }

    /// No channel has a higher floor.
    pub(crate) fn highest(&self) -> Position {
        Position::from_key(self.0.load(Ordering::Acquire).to_be_bytes())
    }
}
