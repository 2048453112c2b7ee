//! The format of a data folder as a whole. A folder that a newer hub wrote is refused by name, before anything is changed.

use bytes::Bytes;

use crate::store::{Batch, Order, Persist, Store, StoreError, Table, keys_with_prefix};

/// The format that this hub writes, and the newest that it reads.
const FORMAT: u8 = 1;

/// Where it is kept.
const KEY: &[u8] = b"format";

/// Checks the format of a store; gives a new store this hub's.
pub(crate) fn check(store: &dyn Store) -> Result<(), StoreError> {
    match store.get(Table::Meta, KEY)?.as_deref() {
        Some([FORMAT]) => Ok(()),
        Some(found) => {
            Err(StoreError::Format { found: found.first().map_or_else(|| "unknown".into(), u8::to_string), known: "1" })
        }
        // Every folder that ever held an epoch has a format.
        None if store.scan(Table::Epochs, keys_with_prefix(b""), Order::Ascending).next().transpose()?.is_some() => {
            Err(StoreError::unreadable("its format in its table `meta` is missing"))
        }
        None => {
            let mut batch = Batch::default();
            batch.put(Table::Meta, KEY, Bytes::from_static(&[FORMAT]));
            store.commit(batch, Persist::Now)
        }
    }
}

/// Has the format stand there again after it was lost.
pub(crate) fn restore(store: &dyn Store, batch: &mut Batch) -> Result<(), StoreError> {
    if store.get(Table::Meta, KEY)?.is_none() {
        batch.put(Table::Meta, KEY, Bytes::from_static(&[FORMAT]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_newer_folder_is_refused_by_name() {
        let store = MemoryStore::default();
        check(&store).unwrap();
        check(&store).unwrap();
        let mut batch = Batch::default();
        batch.put(Table::Meta, KEY, vec![2]);
        store.commit(batch, Persist::Now).unwrap();
        let error = check(&store).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the data folder holds format 2, which this hub can't read (it reads format 1); \
             use the newer Fanfare that wrote it, or restore a backup from before"
        );
    }
}
