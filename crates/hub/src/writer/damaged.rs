//! What of the log is lost, and how that is noticed at the next opening.
//!
//! Every synced commit says in the table `meta` how far the log goes. About once a second the same is written outside the
//! tables and their journal ([`Store::mark`]). A log that ends before its mark has lost what was acknowledged.

use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::Writer;
use crate::directory::position_of_key;
use crate::draft::Draft;
use crate::position::Position;
use crate::store::{Batch, Order, Persist, Store, StoreError, Table, keys_with_prefix};
use crate::tier::{Tier, Tiers};

/// Where the table `meta` says how far the log goes.
const HEAD: &[u8] = b"head";

/// What keys of lost parts begin with, in the table `meta`; where the part ends follows, and where it begins is the value.
const LOST: &[u8] = b"lost/";

/// Lost parts that are remembered. More than these are no parts any more.
const LOST_MAX: usize = 1_000;

/// What damage took of the log: above the one position, not above the other, in their order.
#[derive(Debug)]
pub(crate) struct LostParts(RwLock<Vec<(Position, Position)>>);

impl LostParts {
    pub(super) fn new(parts: Vec<(Position, Position)>) -> Self {
        Self(RwLock::new(parts))
    }

    /// All parts.
    pub(crate) fn parts(&self) -> Vec<(Position, Position)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, parts: Vec<(Position, Position)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = parts;
    }
}

/// How far the log goes, as a store says.
pub(super) fn head(store: &dyn Store) -> Result<Position, StoreError> {
    Ok(store.get(Table::Meta, HEAD)?.and_then(|value| position_of_key(&value)).unwrap_or_default())
}

/// Has a commit say how far the log goes.
pub(super) fn put_head(head: Position, batch: &mut Batch) {
    batch.put(Table::Meta, Bytes::from_static(HEAD), Bytes::copy_from_slice(&head.to_key()));
}

/// What damage took of the log that nobody writes to; see [`lost`].
pub(crate) fn lost_of(tiers: &Tiers, end: Position) -> Result<Vec<(Position, Position)>, StoreError> {
    lost(tiers, head(&*tiers.durable)?, end)
}

/// What damage took of the log: what earlier openings found, and what this one finds, which is remembered.
/// `end` is where it ended at the latest.
pub(super) fn lost(tiers: &Tiers, head: Position, end: Position) -> Result<Vec<(Position, Position)>, StoreError> {
    let store = &*tiers.durable;
    let mut lost = Vec::new();
    for pair in tiers.scan(Tier::Durable, Table::Meta, keys_with_prefix(LOST), Order::Ascending).take(LOST_MAX) {
        let (key, value) = pair?;
        lost.extend(position_of_key(&value).zip(position_of_key(&key)));
    }
    let mut batch = Batch::default();
    let mut found = Vec::new();
    for part in store.lost() {
        let to = part.before.map_or(end, |before| Position::from_key(before).before());
        let from = match part.after {
            Some(after) => Position::from_key(after),
            None => last_at(tiers, to)?,
        };
        found.push((from, to));
    }
    let mark = store.marked().map(Position::from_key).unwrap_or_default();
    if mark > head && !found.iter().any(|(from, to)| *from <= head && mark <= *to) {
        found.push((head, mark));
    }
    found.retain(|(from, to)| from < to);
    for (from, to) in &found {
        tracing::error!(?from, ?to, "a part of the log is lost with its place on disk; listeners are told a gap");
        batch.put(Table::Meta, [LOST, &to.to_key()].concat(), Bytes::copy_from_slice(&from.to_key()));
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

impl Writer {
    /// Whether what the store knows of a draft's channels is damaged.
    pub(super) fn is_damaged(&mut self, draft: &Draft) -> Result<bool, StoreError> {
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
