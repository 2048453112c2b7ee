//! How far back cursors reach. Positions carry no time, so now and then the log's head is marked with the time; the
//! horizon is the newest mark that is older than cursors may be.
//!
//! What the log remembers for those who come back with a cursor it remembers for a *grace* longer: a stream whose cursor was
//! good when it began asks for floors as it reads, which may be a while later.

use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::position::Position;
use crate::store::{Batch, Order, Store, StoreError, Table, keys_with_prefix};

/// What the keys of marks begin with, in the table `meta`; the time follows.
const PREFIX: &[u8] = b"mark/";

/// How many marks there are within the age of a cursor: the horizon is exact to that part of it (an hour in 30 days).
const MARKS: u32 = 720;

/// Which part of a cursor's age the grace is: a day of 30 days, in which a stream has read what it missed.
const GRACE_PART: u32 = 30;

/// The grace is never shorter, however short a time cursors are configured to be taken.
const GRACE_MIN: Duration = Duration::from_mins(5);

/// The oldest position that a cursor may have.
#[derive(Debug)]
pub(crate) struct Horizon {
    inner: Mutex<Inner>,
    /// How old a cursor may be.
    age_max: Duration,
}

#[derive(Debug)]
struct Inner {
    /// Cursors below this are too old.
    position: Position,
    /// Floors that moved before this need not be known any more.
    forgotten: Position,
    /// When the log was marked last, in milliseconds since the Unix epoch.
    marked_ms: u64,
}

impl Horizon {
    /// Reads the marks of a store.
    pub(crate) fn open(store: &dyn Store, now_ms: u64, age_max: Duration) -> Result<Self, StoreError> {
        let marked_ms = newest_mark(store)?;
        let at = |age| newest_mark_before(store, now_ms, age).map(|mark| mark.map_or(Position::ORIGIN, |(_, at)| at));
        let (position, forgotten) = (at(age_max)?, at(kept_for(age_max))?);
        Ok(Self { inner: Mutex::new(Inner { position, forgotten, marked_ms }), age_max })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cursors below this are too old.
    pub(crate) fn position(&self) -> Position {
        self.lock().position
    }

    /// Nobody who began with a cursor that was good can be from before this: floors that moved before it may be forgotten.
    pub(crate) fn forgotten(&self) -> Position {
        self.lock().forgotten
    }

    /// Finds out when the log was marked last: a commit failed, and the mark may not have come to be. The horizon itself
    /// only ever follows marks that were stored before.
    pub(crate) fn reread(&self, store: &dyn Store) -> Result<(), StoreError> {
        let marked_ms = newest_mark(store)?;
        self.lock().marked_ms = marked_ms;
        Ok(())
    }

    /// How long it is remembered what those must be told who come back with a cursor: as long as one may be old, and the
    /// grace.
    pub(crate) fn kept_for(&self) -> Duration {
        kept_for(self.age_max)
    }

    /// Marks the head with the time, if it is time for it, and moves the horizon. Returns whether there is something to
    /// commit.
    pub(crate) fn mark(
        &self,
        now_ms: u64,
        head: Position,
        store: &dyn Store,
        batch: &mut Batch,
    ) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        let every = (self.age_max / MARKS).as_millis() as u64;
        if now_ms < inner.marked_ms.saturating_add(every) {
            return Ok(false);
        }
        inner.marked_ms = now_ms;
        batch.put(Table::Meta, key_of(now_ms), Bytes::copy_from_slice(&head.to_key()));
        if let Some((_, position)) = newest_mark_before(store, now_ms, self.age_max)? {
            inner.position = inner.position.max(position);
        }
        if let Some((at_ms, position)) = newest_mark_before(store, now_ms, self.kept_for())? {
            inner.forgotten = inner.forgotten.max(position);
            let older = (Bound::Included(PREFIX.to_vec()), Bound::Excluded(key_of(at_ms).to_vec()));
            for pair in store.scan(Table::Meta, older, Order::Ascending) {
                batch.remove(Table::Meta, pair?.0);
            }
        }
        Ok(true)
    }
}

fn kept_for(age_max: Duration) -> Duration {
    age_max + (age_max / GRACE_PART).max(GRACE_MIN)
}

fn key_of(at_ms: u64) -> Bytes {
    [PREFIX, &at_ms.to_be_bytes()].concat().into()
}

fn time_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|time| u64::from_be_bytes(*time))
}

/// When the log was marked last; 0 if never.
fn newest_mark(store: &dyn Store) -> Result<u64, StoreError> {
    let newest = store.scan(Table::Meta, keys_with_prefix(PREFIX), Order::Descending).next().transpose()?;
    Ok(newest.and_then(|(key, _)| time_of(&key)).unwrap_or(0))
}

/// The newest mark that is at least so old.
fn newest_mark_before(store: &dyn Store, now_ms: u64, age: Duration) -> Result<Option<(u64, Position)>, StoreError> {
    let Some(limit_ms) = now_ms.checked_sub(age.as_millis() as u64) else { return Ok(None) };
    let range = (Bound::Included(PREFIX.to_vec()), Bound::Included(key_of(limit_ms).to_vec()));
    let mark = store.scan(Table::Meta, range, Order::Descending).next().transpose()?;
    Ok(mark.and_then(|(key, value)| Some((time_of(&key)?, Position::from_key(value.as_ref().try_into().ok()?)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Persist;
    use crate::store::memory::MemoryStore;

    #[test]
    fn the_horizon_follows_the_marks_at_the_age_of_a_cursor() {
        let store = MemoryStore::default();
        let age = Duration::from_mins(12);
        let horizon = Horizon::open(&store, 0, age).unwrap();
        for second in 1..=1500u64 {
            let mut batch = Batch::default();
            horizon.mark(second * 1000, Position::new(1, second), &store, &mut batch).unwrap();
            store.commit(batch, Persist::Now).unwrap();
        }
        let again = Horizon::open(&store, 1_500_000, age).unwrap();
        for horizon in [horizon, again] {
            assert_eq!(horizon.position(), Position::new(1, 780));
            assert_eq!(horizon.forgotten(), Position::new(1, 480), "what streams need that began lately is known");
        }
        let marks = store.scan(Table::Meta, keys_with_prefix(PREFIX), Order::Ascending).count();
        assert!(marks <= 722 + 300, "{marks} marks are kept");
    }
}
