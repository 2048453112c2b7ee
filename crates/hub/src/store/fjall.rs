//! The store on disk, by fjall: a log-structured merge tree with a journal. Knows nothing of events.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Batch, DiskRoom, KeyRange, Order, Persist, Scan, Store, StoreError, Table};

/// Memory for blocks that were read. Catch-up reads are sequential, so more would hardly help.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Memory for what isn't in tables yet, per table of the store. Bounds what a start has to replay, together with
/// [`JOURNAL_BYTES_MAX`].
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// Journal kept at most. A start replays it, at a few hundred MB a second.
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Open files for tables.
const FILES_MAX: usize = 256;

/// Inodes below which the disk counts as full. The store needs a few for its next tables and journals.
const FREE_INODES_MIN: u64 = 64;

/// The store in a folder on disk.
pub struct FjallStore {
    /// Owns the journal and the worker threads.
    db: Database,
    /// One per [`Table`], in the order of [`Table::ALL`].
    tables: [Keyspace; 7],
    /// Where it is.
    folder: PathBuf,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").finish_non_exhaustive()
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(error))
}

impl FjallStore {
    /// Opens the store in `folder`, which is made if need be.
    ///
    /// # Errors
    ///
    /// When the folder is in use, of another format, or can't be read or written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let db = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(FILES_MAX))
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => StoreError::Locked,
                fjall::Error::InvalidVersion(found) => {
                    StoreError::Format { found: format!("{found:?} of its storage engine"), known: "fjall 3" }
                }
                error => failed(error),
            })?;
        let open = |table: Table| db.keyspace(table.as_str(), || options(table)).map_err(failed);
        let [log, by_channel, channels, epochs, idempotency, due, meta] = Table::ALL;
        let tables = [
            open(log)?,
            open(by_channel)?,
            open(channels)?,
            open(epochs)?,
            open(idempotency)?,
            open(due)?,
            open(meta)?,
        ];
        Ok(Self { db, tables, folder: folder.to_owned() })
    }

    /// Bytes of the tables alone, without the journal.
    #[cfg(test)]
    pub(crate) fn tables_bytes(&self) -> u64 {
        self.tables.iter().map(Keyspace::disk_space).sum()
    }

    fn table(&self, table: Table) -> &Keyspace {
        let [log, by_channel, channels, epochs, idempotency, due, meta] = &self.tables;
        match table {
            Table::Log => log,
            Table::ByChannel => by_channel,
            Table::Channels => channels,
            Table::Epochs => epochs,
            Table::Idempotency => idempotency,
            Table::Due => due,
            Table::Meta => meta,
        }
    }
}

/// How a table is laid out.
fn options(table: Table) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    match table {
        // Read in long runs.
        Table::Log => options.data_block_size_policy(BlockSizePolicy::all(16 * 1024)),
        // Only ever read by ranges, for which filters are of no use.
        Table::ByChannel | Table::Due => options.filter_policy(FilterPolicy::all(FilterPolicyEntry::None)),
        Table::Channels | Table::Epochs | Table::Idempotency | Table::Meta => options,
    }
}

impl Store for FjallStore {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        let mode = match persist {
            Persist::Now => PersistMode::SyncData,
            // To the operating system, so that a crash of the process alone loses nothing.
            Persist::Later => PersistMode::Buffer,
        };
        if batch.is_empty() {
            return match persist {
                Persist::Now => self.db.persist(mode).map_err(failed),
                Persist::Later => Ok(()),
            };
        }
        let mut writes = self.db.batch().durability(Some(mode));
        for change in batch.changes {
            let table = self.table(change.table);
            match change.value {
                Some(value) => writes.insert(table, change.key, value),
                None => writes.remove(table, change.key),
            }
        }
        writes.commit().map_err(failed)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.table(table).get(key).map_err(failed)?.map(Bytes::from))
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        let pairs = self.table(table).range::<Vec<u8>, _>(range);
        let read = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner().map_err(failed)?;
            Ok((Bytes::from(key), Bytes::from(value)))
        };
        match order {
            Order::Ascending => Box::new(pairs.map(read)),
            Order::Descending => Box::new(pairs.rev().map(read)),
        }
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        for table in &self.tables {
            table.rotate_memtable_and_wait().map_err(failed)?;
            table.major_compact().map_err(failed)?;
        }
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.db.disk_space().map_err(failed)
    }

    fn disk_room(&self) -> Result<DiskRoom, StoreError> {
        let disk = rustix::fs::statvfs(&self.folder).map_err(failed)?;
        // Without inodes there are no new files. Some file systems count none at all.
        let has_inodes = disk.f_files == 0 || disk.f_favail >= FREE_INODES_MIN;
        // What is kept for the administrator is not ours, even where we are the administrator.
        let free = if has_inodes { disk.f_bavail.saturating_mul(disk.f_frsize) } else { 0 };
        Ok(DiskRoom { free, total: disk.f_blocks.saturating_mul(disk.f_frsize) })
    }
}
