//! What of the log is lost, and how that is noticed at the next opening.
//!
//! Every synced commit says in the table `meta` how far the log goes. About once a second the same is written outside the
//! tables and their journal ([`Store::mark`]). A log that ends before its mark has lost what was acknowledged.

use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::Writer;
use crate::draft::Draft;
use crate::log::directory::position_of_key;
use crate::log::record::Record;
use crate::position::Position;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Order, Persist, Store, StoreError, Table, keys_with_prefix};

/// Where the table `meta` says how far the log goes.
const HEAD: &[u8] = b"head";

/// What keys of lost parts begin with, in the table `meta`; where the part ends follows, and where it begins is the value.
const LOST: &[u8] = b"lost/";

/// Lost parts that are remembered. More than these are no parts any more.
const LOST_MAX: usize = 1_000;

/// What the keys of these rows begin with in the table `idempotency`, where no key of a publisher begins so: there is a copy
/// of them, as nothing else says what they say.
const COPY: &[u8] = b"\xfflost/";

/// What damage took of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LostPart {
    /// Above this.
    pub(crate) from: Position,
    /// Not above this.
    pub(crate) to: Position,
    /// Whether the indexes of channels have the events still, so that they say whose they were.
    pub(crate) is_indexed: bool,
}

impl LostPart {
    /// Has a batch remember it.
    pub(crate) fn put(self, batch: &mut Batch) {
        let mut value = vec![1];
        value.retain(|_| self.is_indexed);
        value.extend_from_slice(&self.from.to_key());
        for (table, prefix) in [(Table::Meta, LOST), (Table::Idempotency, COPY)] {
            batch.put(table, [prefix, &self.to.to_key()].concat(), value.clone());
        }
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        Some(Self { from: position_of_key(value)?, to: position_of_key(key)?, is_indexed: value.len() > 8 })
    }
}

/// What damage took of the log, in its order.
#[derive(Debug)]
pub(crate) struct LostParts(RwLock<Vec<LostPart>>);

impl LostParts {
    pub(super) fn new(parts: Vec<LostPart>) -> Self {
        Self(RwLock::new(parts))
    }

    /// All parts.
    pub(crate) fn parts(&self) -> Vec<LostPart> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, parts: Vec<LostPart>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = parts;
    }
}

/// How far the log goes, as a store says.
pub(crate) fn head(store: &dyn Store) -> Result<Position, StoreError> {
    Ok(store.get(Table::Meta, HEAD)?.and_then(|value| position_of_key(&value)).unwrap_or_default())
}

/// Has a commit say how far the log goes.
pub(crate) fn put_head(head: Position, batch: &mut Batch) {
    batch.put(Table::Meta, Bytes::from_static(HEAD), Bytes::copy_from_slice(&head.to_key()));
}

/// What damage took of the log that nobody writes to; see [`lost`].
pub(crate) fn lost_of(tiers: &Tiers, end: Position) -> Result<Vec<LostPart>, StoreError> {
    lost(tiers, head(&*tiers.durable)?, end)
}

/// What damage took of the log: what earlier openings found, and what this one finds, which is remembered.
/// `end` is where it ended at the latest.
pub(super) fn lost(tiers: &Tiers, head: Position, end: Position) -> Result<Vec<LostPart>, StoreError> {
    let store = &*tiers.durable;
    let mut lost = Vec::new();
    for (table, prefix) in [(Table::Meta, LOST), (Table::Idempotency, COPY)] {
        for pair in tiers.scan(Tier::Durable, table, keys_with_prefix(prefix), Order::Ascending).take(LOST_MAX) {
            let (key, value) = pair?;
            lost.extend(LostPart::decode(&key, &value));
        }
    }
    let mut batch = Batch::default();
    let mut found = Vec::new();
    for part in store.lost() {
        let to = part.before.map_or(end, |before| Position::from_key(before).before());
        let from = match part.after {
            Some(after) => Position::from_key(after),
            None => last_at(tiers, to)?,
        };
        found.push(LostPart { from, to, is_indexed: false });
    }
    let mark = store.marked().map(Position::from_key).unwrap_or_default();
    if mark > head && !found.iter().any(|part| part.from <= head && mark <= part.to) {
        found.push(LostPart { from: head, to: mark, is_indexed: false });
    }
    found.retain(|part| part.from < part.to);
    for part in &found {
        let (from, to) = (part.from, part.to);
        tracing::error!(?from, ?to, "a part of the log is lost with its place on disk; listeners are told a gap");
        part.put(&mut batch);
    }
    if !found.is_empty() {
        // The log goes on behind what was lost.
        put_head(head.max(mark), &mut batch);
        store.commit(batch, Persist::Now)?;
    }
    lost.append(&mut found);
    lost.sort();
    lost.dedup();
    Ok(lost)
}

/// The position of the last event on disk at or below a position.
fn last_at(tiers: &Tiers, position: Position) -> Result<Position, StoreError> {
    let range = (Bound::Unbounded, Bound::Included(position.to_key().to_vec()));
    let last = tiers.scan(Tier::Durable, Table::Log, range, Order::Descending).next().transpose()?;
    Ok(last.and_then(|(key, _)| position_of_key(&key)).unwrap_or_default())
}

/// The time of the newest record on disk that can be read, or 0.
pub(super) fn time_of_last(tiers: &Tiers) -> Result<u64, StoreError> {
    for pair in tiers.scan(Tier::Durable, Table::Log, keys_with_prefix(b""), Order::Descending) {
        let (key, value) = pair?;
        if let Some(Ok(record)) = position_of_key(&key).map(|position| Record::decode(&value, position)) {
            return Ok(record.time_ms);
        }
    }
    Ok(0)
}

impl Writer {
    /// Whether what the store knows of a draft's channels is damaged. Those of a pattern are left out instead.
    pub(super) fn is_damaged(&mut self, draft: &Draft) -> Result<bool, StoreError> {
        if draft.pattern.is_some() {
            return Ok(false);
        }
        for name in &draft.channels {
            match self.directory.channel(name, &self.rules, &self.tiers) {
                Err(error) if error.is_damage() => {
                    self.tiers.damage.found(Table::Channels, name.as_str().as_bytes(), &error);
                    return Ok(true);
                }
                channel => channel?,
            };
        }
        Ok(false)
    }

    /// Looks for what is lost after the store was reopened.
    pub(crate) fn look_for_lost(&mut self) -> Result<(), StoreError> {
        self.lost.set(lost(&self.tiers, head(&*self.tiers.durable)?, self.last)?);
        Ok(())
    }

    /// Has the store remember how far the log goes on disk.
    pub(crate) fn mark_head(&mut self) {
        if self.head > self.marked {
            self.tiers.durable.mark(self.head.to_key());
            self.marked = self.head;
        }
    }
}
