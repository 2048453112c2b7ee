//! The store in memory: for `memory` channels, and for tests, which can have it lose what wasn't synced.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Bytes;

use super::{Batch, Change, DiskRoom, KeyRange, Order, Persist, Scan, Store, StoreError, Table};

/// The store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: RwLock<Inner>,
    /// What a test says is free, in bytes; `None` where nothing bounds it.
    free: Mutex<Option<u64>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// One per [`Table`], in the order of [`Table::ALL`].
    tables: [BTreeMap<Bytes, Bytes>; 8],
    /// What would take back the changes since the last sync, oldest first; `None` where nobody will ask.
    undo: Option<Vec<Change>>,
}

impl Inner {
    /// Makes one change and returns the change that takes it back.
    fn apply(&mut self, change: Change) -> Change {
        let Change { table, key, value } = change;
        let Some(entries) = self.tables.get_mut(table as usize) else {
            return Change { table, key, value: None };
        };
        let before = match value {
            Some(value) => entries.insert(key.clone(), value),
            None => entries.remove(&key),
        };
        Change { table, key, value: before }
    }
}

impl MemoryStore {
    /// A store that can lose what wasn't synced, as a machine without power does.
    pub fn forgetful() -> Self {
        Self { inner: RwLock::new(Inner { undo: Some(Vec::new()), ..Inner::default() }), ..Self::default() }
    }

    /// Has it say that so many bytes are free, or that nothing bounds it. It takes what it is given all the same.
    pub fn limit_room(&self, free: Option<u64>) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = free;
    }

    /// Loses every batch since the last one with [`Persist::Now`]. Only a forgetful store does.
    pub fn forget(&self) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let undo = inner.undo.as_mut().map(std::mem::take).unwrap_or_default();
        for change in undo.into_iter().rev() {
            inner.apply(change);
        }
    }

    /// The first pair after (or, descending, before) a bound, within the other bound.
    fn next(&self, table: Table, range: &KeyRange, order: Order) -> Option<(Bytes, Bytes)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let entries = inner.tables.get(table as usize)?;
        let range = (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice));
        if is_void(range) {
            return None;
        }
        let mut pairs = entries.range::<[u8], _>(range);
        let pair = match order {
            Order::Ascending => pairs.next(),
            Order::Descending => pairs.next_back(),
        };
        pair.map(|(key, value)| (key.clone(), value.clone()))
    }
}

/// Whether nothing lies between two bounds (of such ranges a B-tree panics).
fn is_void(range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match range {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

impl Store for MemoryStore {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for change in batch.changes {
            let back = inner.apply(change);
            if let Some(undo) = &mut inner.undo {
                undo.push(back);
            }
        }
        if persist == Persist::Now
            && let Some(undo) = &mut inner.undo
        {
            undo.clear();
        }
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.tables.get(table as usize).and_then(|entries| entries.get(key)).cloned())
    }

    fn scan(&self, table: Table, mut range: KeyRange, order: Order) -> Scan<'_> {
        // No lock is held between two steps; each takes up where the last one ended.
        Box::new(std::iter::from_fn(move || {
            let (key, value) = self.next(table, &range, order)?;
            match order {
                Order::Ascending => range.0 = Bound::Excluded(key.to_vec()),
                Order::Descending => range.1 = Bound::Excluded(key.to_vec()),
            }
            Some(Ok((key, value)))
        }))
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        // What is here counts as on disk from now on.
        self.commit(Batch::default(), Persist::Now)
    }

    fn table_bytes(&self, table: Table) -> Option<u64> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let entries = inner.tables.get(table as usize).into_iter().flatten();
        Some(entries.map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    fn disk_room(&self) -> Result<DiskRoom, StoreError> {
        let free = *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(free.map_or(DiskRoom::UNKNOWN, |free| DiskRoom { free, ..DiskRoom::UNKNOWN }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgetful_store_loses_exactly_what_was_not_synced() {
        let store = MemoryStore::forgetful();
        let put = |key: &'static str, value: &'static str, persist| {
            let mut batch = Batch::default();
            batch.put(Table::Log, key, value);
            store.commit(batch, persist).unwrap();
        };
        put("a", "1", Persist::Later);
        put("b", "1", Persist::Now);
        put("a", "2", Persist::Later);
        put("c", "1", Persist::Later);
        store.forget();
        let all: Vec<_> = store
            .scan(Table::Log, (Bound::Unbounded, Bound::Unbounded), Order::Ascending)
            .map(Result::unwrap)
            .collect();
        assert_eq!(all, [("a".into(), "1".into()), ("b".into(), "1".into())]);
    }
}
