//! Rows of the table `keys`: where the value of each key is, and how much its channel holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::damage::{Damage, Readable};
use crate::inbox::is_private;
use crate::log::directory::{ChannelRow, index_key};
use crate::log::record::Record;
use crate::log::varint;
use crate::position::Position;
use crate::store::{Batch, Order, Store, StoreError, Table, keys_with_prefix};

pub(crate) mod lineage;

/// Where the table `meta` says that there were channels with keys, but for those that are users' own.
const HAS_KEYS: &[u8] = b"has_keys";

/// The same for those.
const HAS_PRIVATE: &[u8] = b"has_private_keys";

/// The number of no channel. A row of it tells a table without keys from one that is lost.
pub(crate) const OF_NONE: u64 = 0;

/// Where a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyRow {
    /// Its place in the log.
    pub(crate) position: Position,
    /// Bytes of its record.
    pub(crate) bytes: u64,
    /// Whether it is a deletion.
    pub(crate) is_deleted: bool,
}

impl KeyRow {
    /// The key of a key's row.
    pub(crate) fn key(channel: u64, key: &str) -> Vec<u8> {
        [&channel.to_be_bytes()[..], key.as_bytes()].concat()
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = self.position.to_key().to_vec();
        varint::write(self.bytes, &mut value);
        value.push(u8::from(self.is_deleted));
        value
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (position, mut rest) = value.split_first_chunk::<8>()?;
        let bytes = varint::read(&mut rest)?;
        Some(Self { position: Position::from_key(*position), bytes, is_deleted: rest == [1] })
    }

    /// Reads the row of a key; nothing where it is damaged, which is told.
    pub(crate) fn read(
        store: &dyn Store,
        damage: &Damage,
        channel: u64,
        key: &str,
    ) -> Result<Option<Self>, StoreError> {
        let row = Self::key(channel, key);
        match store.get(Table::Keys, &row) {
            Ok(value) => Ok(value.and_then(|value| Self::decode(&value))),
            Err(error) if error.is_damage() => {
                damage.found(Table::Keys, &row, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a record that the log shows is what its key has. Where files of the log are dropped or mended, the mark that
/// removed a value may go before the value does, which then is back in the log, but nowhere else.
///
/// # Errors
///
/// When the store failed; that it is damaged, where nobody can tell.
pub(crate) fn is_named(store: &dyn Store, channel: u64, key: &str, position: Position) -> Result<bool, StoreError> {
    let row = match store.get(Table::Keys, &KeyRow::key(channel, key)) {
        Err(error) if !error.is_damage() => return Err(error),
        row => row.ok().flatten().and_then(|row| KeyRow::decode(&row)),
    };
    match row {
        Some(row) => Ok(row.position == position),
        // What a table that is damaged doesn't say, the channel's index does.
        None => Ok(store.get(Table::ByChannel, &index_key(channel, position))?.is_some()),
    }
}

/// Tells, for whoever reads the log of one store itself, which of its values of keys are good.
pub(crate) struct NamedIn<'a> {
    store: &'a dyn Store,
    /// The numbers of the channels that were met; none where the store knows no such channel.
    ids: HashMap<ChannelName, Option<u64>>,
}

impl<'a> NamedIn<'a> {
    pub(crate) fn new(store: &'a dyn Store) -> Self {
        Self { store, ids: HashMap::new() }
    }

    /// Whether a record has no key, or is what its key has.
    ///
    /// # Errors
    ///
    /// As [`is_named`].
    pub(crate) fn has(&mut self, record: &Record, position: Position) -> Result<bool, StoreError> {
        let (Some(name), Some(key)) = (record.channels.first(), record.key.as_deref()) else { return Ok(true) };
        let id = if let Some(id) = self.ids.get(name) {
            *id
        } else {
            let id = ChannelRow::read(self.store, name)?.map(|row| row.id);
            self.ids.insert(name.clone(), id);
            id
        };
        id.map_or(Ok(false), |id| is_named(self.store, id, key, position))
    }
}

/// How much a channel with keys holds in one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Keys that have a value.
    pub(crate) values: u64,
    /// Bytes of the values' records.
    pub(crate) bytes: u64,
    /// Keys whose deletion is remembered.
    pub(crate) deletions: u64,
}

impl std::ops::Add for Held {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            values: self.values + other.values,
            bytes: self.bytes + other.bytes,
            deletions: self.deletions + other.deletions,
        }
    }
}

impl Held {
    /// The key of the row that says so.
    pub(crate) fn key(channel: u64) -> Bytes {
        Bytes::copy_from_slice(&channel.to_be_bytes())
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(12);
        for number in [self.values, self.bytes, self.deletions] {
            varint::write(number, &mut value);
        }
        value
    }

    pub(crate) fn decode(mut value: &[u8]) -> Option<Self> {
        let mut next = || varint::read(&mut value);
        Some(Self { values: next()?, bytes: next()?, deletions: next()? })
    }

    /// Counts one in.
    pub(crate) fn add(&mut self, row: KeyRow) {
        if row.is_deleted {
            self.deletions += 1;
        } else {
            (self.values, self.bytes) = (self.values + 1, self.bytes + row.bytes);
        }
    }

    /// Counts one out.
    pub(crate) fn take(&mut self, row: KeyRow) {
        if row.is_deleted {
            self.deletions = self.deletions.saturating_sub(1);
        } else {
            self.values = self.values.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(row.bytes);
        }
    }

    /// Reads what a store says of a channel; counts, where it doesn't say it.
    pub(crate) fn read(store: &dyn Store, damage: &Damage, channel: u64) -> Result<Self, StoreError> {
        match store.get(Table::Keys, &Self::key(channel)) {
            Ok(value) => {
                if let Some(held) = value.and_then(|value| Self::decode(&value)) {
                    return Ok(held);
                }
            }
            Err(error) if error.is_damage() => damage.found(Table::Keys, &channel.to_be_bytes(), &error),
            Err(error) => return Err(error),
        }
        let mut held = Self::default();
        for pair in
            Readable::new(store, damage, Table::Keys, keys_with_prefix(&channel.to_be_bytes()), Order::Ascending)
        {
            let (key, value) = pair?;
            if let Some(row) = KeyRow::decode(&value).filter(|_| key.len() > 8) {
                held.add(row);
            }
        }
        Ok(held)
    }
}

/// Whether there ever was a channel with keys that isn't a user's own. As long as there was none, streams begin
/// without looking for any; those of users are known by their names.
#[derive(Debug)]
pub(crate) struct HasKeys(AtomicBool);

impl HasKeys {
    /// Reads it from a store.
    pub(crate) fn open(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self(AtomicBool::new(store.get(Table::Meta, HAS_KEYS)?.is_some())))
    }

    /// This channel has keys; for good with the commit of `batch`.
    pub(crate) fn set(&self, name: &ChannelName, batch: &mut Batch) {
        if !is_private(name) {
            self.0.store(true, Ordering::Release);
        }
        Self::restore([name], batch);
    }

    /// The same of these channels, where it was lost.
    pub(crate) fn restore<'a>(names: impl IntoIterator<Item = &'a ChannelName>, batch: &mut Batch) {
        for name in names {
            batch.put(Table::Meta, if is_private(name) { HAS_PRIVATE } else { HAS_KEYS }, Bytes::new());
        }
        batch.put(Table::Keys, Held::key(OF_NONE), Bytes::new());
    }

    /// Whether a store says that there are keys, but has lost the table of them as a whole.
    pub(crate) fn is_bereft(store: &dyn Store) -> Result<bool, StoreError> {
        let is_there = |table, key: &[u8]| match store.get(table, key) {
            Ok(value) => Ok(value.is_some()),
            // What is damaged is dealt with elsewhere.
            Err(error) if error.is_damage() => Ok(table == Table::Keys),
            Err(error) => Err(error),
        };
        let has_any = is_there(Table::Meta, HAS_KEYS)? || is_there(Table::Meta, HAS_PRIVATE)?;
        Ok(has_any && !is_there(Table::Keys, &Held::key(OF_NONE))?)
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Persist;
    use crate::store::memory::MemoryStore;

    #[test]
    fn rows_survive_their_bytes() {
        for is_deleted in [false, true] {
            let row = KeyRow { position: Position::new(3, 9), bytes: 70_000, is_deleted };
            assert_eq!(KeyRow::decode(&row.encode()), Some(row));
        }
        let held = Held { values: 300, bytes: 1 << 40, deletions: 2 };
        assert_eq!(Held::decode(&held.encode()), Some(held));
        assert_eq!((KeyRow::decode(b"short"), Held::decode(b"")), (None, None));
    }

    #[test]
    fn what_is_not_said_is_counted() {
        let (store, damage) = (MemoryStore::default(), Damage::default());
        let mut batch = Batch::default();
        for (channel, key, is_deleted) in [(1, "a", false), (1, "b", false), (1, "c", true), (2, "d", false)] {
            let row = KeyRow { position: Position::new(1, 1), bytes: 10, is_deleted };
            batch.put(Table::Keys, KeyRow::key(channel, key), row.encode());
        }
        batch.put(Table::Keys, Held::key(2), Held { values: 7, ..Held::default() }.encode());
        store.commit(batch, Persist::Now).unwrap();
        assert_eq!(Held::read(&store, &damage, 1).unwrap(), Held { values: 2, bytes: 20, deletions: 1 });
        assert_eq!(Held::read(&store, &damage, 2).unwrap().values, 7);
    }
}
