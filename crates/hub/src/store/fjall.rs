//! The store on disk, by fjall: a log-structured merge tree with a journal. Knows nothing of events.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, UserKey};

use seal::Seal;
use tables::How;

use super::{Batch, DiskRoom, KeyRange, Lost, LostRows, Order, Persist, Scan, Store, StoreError, Table, journal};

mod files;
mod mark;
mod mend;
mod notes;
mod opening;
mod rewrite;
mod seal;
mod tables;

/// Memory for blocks that were read. Catch-up reads are sequential, so more would hardly help.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Memory for what isn't in tables yet, per table of the store. Bounds what a start has to replay, together with
/// [`JOURNAL_BYTES_MAX`].
const MEMTABLE_BYTES: u64 = if cfg!(test) { 1024 * 1024 } else { 16 * 1024 * 1024 };

/// Journal kept at most. A start replays it, at a few hundred MB a second.
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Bytes of a file of a table of the store. With the sizes of levels that follow from it, this bounds what one compaction
/// writes before it removes what it read, and so what has to be free for it.
const TABLE_BYTES: u64 = MEMTABLE_BYTES;

/// Open files for tables.
const FILES_MAX: usize = 256;

/// Inodes below which the disk counts as full. The store needs a few for its next tables and journals.
const FREE_INODES_MIN: u64 = 64;

/// How long reopening waits for those who still read; then they may go on and it is tried again later.
const RELEASE_MAX: Duration = Duration::from_secs(5);

/// How often a wait for the engine's workers looks whether they still work.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Memtables waiting to be written, per table, at which a commit waits. The engine itself waits at four, also for workers
/// that have failed and will never write them.
const SEALED_MAX: usize = 3;

/// Runs of young tables, per table, at which a commit waits for compaction. The engine itself waits at 30, in the same way.
const RUNS_MAX: usize = 28;

/// Threads that flush and compact. The first of several compacts nothing: with only one, a compaction would keep memory from
/// being written to files, and so publishers waiting. With more than two, compactions at the same time may leave
/// overlapping files on a level, which the engine doesn't expect: see [`rewrite`].
const WORKERS: usize = 2;

/// The store in a folder on disk.
///
/// Once a write has failed, the engine takes no further ones. Then everything that it has open is let go of, and the
/// folder is opened anew: see [`Store::reopen`].
pub struct FjallStore {
    folder: PathBuf,
    /// What is open; nothing while it is reopened. Whoever uses it holds it meanwhile.
    open: Mutex<Option<Arc<Opened>>>,
    /// Signalled when something is open again.
    back: Condvar,
    /// Disconnected once the last user of what was open has let go of it. Held while it is reopened.
    released: Mutex<Receiver<()>>,
    /// Held by whoever writes a table anew, and by whoever reopens.
    stepping: Mutex<()>,
    /// Whether reopening waits, and so nobody is to begin with a table.
    leave: AtomicBool,
    /// Whether the log's mark could not be written the last time: that is said once.
    unmarked: AtomicBool,
    /// Whether a commit met the failure that the store is reopened for. Otherwise work in the background did, perhaps since
    /// it met damage.
    failed: AtomicBool,
}

/// An opened folder. Fields are dropped in their order.
struct Opened {
    /// One per [`Table`], in the order of [`Table::ALL`].
    tables: [Keyspace; 8],
    /// Owns the journal and the worker threads.
    db: Database,
    /// What damaged journals took.
    lost: Vec<Lost>,
    /// Where all of it is.
    folder: PathBuf,
    /// Whether tables may be mended, at the next opening too.
    is_mending: bool,
    /// Whether damage was met, so that the next opening looks at every byte.
    suspect: AtomicBool,
    /// The key that every batch removes; see `seal.rs`.
    seal: UserKey,
    /// Tells that all of this is gone.
    _released: SyncSender<()>,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why something else failed.
fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(error))
}

/// Whether the bytes that were read are not those that were written, or the disk can't give them any more.
fn is_damage(error: &fjall::Error) -> bool {
    /// What Linux says of a sector that can't be read (EIO).
    const INPUT_OUTPUT: i32 = 5;
    let is_damaged_io = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
            || error.raw_os_error() == Some(INPUT_OUTPUT)
    };
    match error {
        fjall::Error::Storage(LsmError::Io(error)) | fjall::Error::Io(error) => is_damaged_io(error),
        fjall::Error::Storage(
            LsmError::Decompress(_)
            | LsmError::ChecksumMismatch { .. }
            | LsmError::InvalidTag(_)
            | LsmError::InvalidTrailer
            | LsmError::InvalidHeader(_)
            | LsmError::Utf8(_),
        )
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_) => true,
        _ => false,
    }
}

impl FjallStore {
    /// Opens the store in `folder`, which is made if need be.
    ///
    /// # Errors
    ///
    /// When the folder is in use, of another format, or can't be read or written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, true)
    }

    /// The same without mending tables: a folder that the engine can't open is refused.
    ///
    /// # Errors
    ///
    /// As those of [`FjallStore::open`], or when a table has to be mended.
    pub fn open_as_it_is(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, false)
    }

    /// What is wrong with the tables of a folder, in words. Nothing is changed.
    ///
    /// # Errors
    ///
    /// When the folder is in use, or can't be read.
    pub fn look(folder: &Path) -> Result<Vec<String>, StoreError> {
        opening::say(folder)
    }

    fn open_with(folder: &Path, is_mending: bool) -> Result<Self, StoreError> {
        let (open, released) = Opened::at(folder, is_mending)?;
        journal::forget(folder).map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            open: Mutex::new(Some(Arc::new(open))),
            back: Condvar::new(),
            released: Mutex::new(released),
            stepping: Mutex::default(),
            leave: AtomicBool::new(false),
            unmarked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        })
    }

    /// Has everything of a table written to its files; gives their bytes.
    #[cfg(test)]
    pub(crate) fn wait_for_tables(&self, table: Table) -> u64 {
        self.opened().unwrap().table(table).rotate_memtable_and_wait().unwrap();
        self.table_bytes(table).unwrap()
    }

    /// Bytes of the tables alone, without the journal.
    #[cfg(test)]
    pub(crate) fn tables_bytes(&self) -> u64 {
        self.opened().unwrap().tables.iter().map(Keyspace::disk_space).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Opened>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is open.
    fn opened(&self) -> Result<Arc<Opened>, StoreError> {
        self.lock().clone().ok_or(StoreError::Reopening)
    }

    /// Has everybody let go of what is open.
    fn release(&self, released: &Receiver<()>) -> Result<(), StoreError> {
        let Some(open) = self.lock().take() else { return Ok(()) };
        let old = Arc::downgrade(&open);
        drop(open);
        if released.recv_timeout(RELEASE_MAX) == Err(RecvTimeoutError::Timeout) {
            if let Some(open) = old.upgrade() {
                *self.lock() = Some(open);
                self.back.notify_all();
                return Err(StoreError::Failed("a long read of the store has to end first".into()));
            }
            // Somebody has let go of it just now and is closing it.
            let _ = released.recv();
        }
        Ok(())
    }
}

impl Opened {
    /// Opens a folder. What the engine can't open is mended, and opened then.
    fn at(folder: &Path, is_mending: bool) -> Result<(Self, Receiver<()>), StoreError> {
        let opening::Found { mut lost, wrong } = opening::look_at(folder, is_mending)?;
        if let Some(what) = wrong {
            return Err(StoreError::unreadable(what));
        }
        let mut looks = [How::Opening, How::All].into_iter();
        loop {
            match Self::once(folder, &lost, is_mending) {
                Err(StoreError::Unreadable { what, source }) if is_mending => {
                    let Some(how) = looks.next() else { return Err(StoreError::Unreadable { what, source }) };
                    tracing::error!(what, source = source.as_deref().map(tracing::field::debug), "tables are damaged");
                    opening::mend_tables(folder, how)?;
                    // The engine may have touched the journals.
                    lost.append(&mut opening::look_at(folder, true)?.lost);
                }
                opened => return opened,
            }
        }
    }

    fn once(folder: &Path, lost: &[Lost], is_mending: bool) -> Result<(Self, Receiver<()>), StoreError> {
        let builder = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(FILES_MAX))
            .worker_threads(WORKERS);
        // The engine takes some of its files for good, and panics where they are not.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.open()));
        let db = opened.unwrap_or(Err(fjall::Error::Unrecoverable)).map_err(opening::refused)?;
        let is_there = |table: &Table| db.keyspace_exists(table.as_str());
        if is_there(&Table::Meta)
            && let Some(table) = Table::ALL.iter().find(|table| **table != Table::Keys && !is_there(table))
        {
            // `meta` is made after all others, so this one was there. Only `keys` is younger: older hubs had none.
            return Err(StoreError::unreadable(format!("its table `{}` is missing", table.as_str())));
        }
        let open = |table: Table| db.keyspace(table.as_str(), || options(table)).map_err(failed);
        let [log, by_channel, channels, epochs, idempotency, due, meta, keys] = Table::ALL;
        let tables = [
            open(log)?,
            open(by_channel)?,
            open(channels)?,
            open(epochs)?,
            open(idempotency)?,
            open(due)?,
            open(meta)?,
            open(keys)?,
        ];
        let (tell, released) = sync_channel(0);
        let seal = Seal::of(folder).key().into();
        let (folder, suspect) = (folder.to_owned(), AtomicBool::new(false));
        Ok((Self { tables, db, lost: lost.to_vec(), folder, is_mending, suspect, seal, _released: tell }, released))
    }

    /// Why a read failed. Where that is damage, the next opening looks for all there is.
    fn unread(&self, error: fjall::Error) -> StoreError {
        if !is_damage(&error) {
            return failed(error);
        }
        if !self.suspect.swap(true, Ordering::AcqRel) && self.is_mending {
            notes::suspect(&self.folder);
        }
        StoreError::Damaged(Box::new(error))
    }

    fn table(&self, table: Table) -> &Keyspace {
        let [log, by_channel, channels, epochs, idempotency, due, meta, keys] = &self.tables;
        match table {
            Table::Log => log,
            Table::ByChannel => by_channel,
            Table::Channels => channels,
            Table::Epochs => epochs,
            Table::Idempotency => idempotency,
            Table::Due => due,
            Table::Meta => meta,
            Table::Keys => keys,
        }
    }

    /// Fails once the engine takes no further writes.
    fn check(&self) -> Result<(), StoreError> {
        self.db.persist(PersistMode::Buffer).map_err(failed)
    }

    /// Waits while the engine has too much to catch up with, as long as it does.
    fn wait_for_workers(&self) -> Result<(), StoreError> {
        let is_behind = |table: &Keyspace| {
            table.tree.sealed_memtable_count() >= SEALED_MAX || table.tree.l0_run_count() >= RUNS_MAX
        };
        while self.tables.iter().any(is_behind) {
            self.check()?;
            std::thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }
}

/// How a table is laid out.
fn options(table: Table) -> KeyspaceCreateOptions {
    let strategy = rewrite::usual();
    let options =
        KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES).compaction_strategy(Arc::new(strategy));
    match table {
        // Read in long runs.
        Table::Log => options.data_block_size_policy(BlockSizePolicy::all(16 * 1024)),
        // Only ever read by ranges, for which filters are of no use.
        Table::ByChannel | Table::Due => options.filter_policy(FilterPolicy::all(FilterPolicyEntry::None)),
        Table::Channels | Table::Epochs | Table::Idempotency | Table::Meta | Table::Keys => options,
    }
}

/// A scan with what it reads. Fields are dropped in their order.
struct Reading<I> {
    pairs: I,
    open: Arc<Opened>,
}

impl<I: Iterator<Item = fjall::Guard>> Iterator for Reading<I> {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.pairs.next()?.into_inner().map_err(|error| self.open.unread(error));
        Some(pair.map(|(key, value)| (Bytes::from(key), Bytes::from(value))))
    }
}

impl Store for FjallStore {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        let open = self.opened()?;
        let mode = match persist {
            Persist::Now => PersistMode::SyncData,
            // To the operating system, so that a crash of the process alone loses nothing.
            Persist::Later => PersistMode::Buffer,
        };
        if batch.is_empty() {
            return open.db.persist(mode).map_err(failed);
        }
        open.wait_for_workers()?;
        let mut writes = open.db.batch().durability(Some(mode));
        writes.remove(open.table(Table::Meta), open.seal.clone());
        for change in batch.changes {
            let table = open.table(change.table);
            match change.value {
                Some(value) => writes.insert(table, change.key, value),
                None => writes.remove(table, change.key),
            }
        }
        writes.commit().map_err(|error| {
            self.failed.fetch_or(!matches!(error, fjall::Error::Poisoned), Ordering::AcqRel);
            failed(error)
        })
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let open = self.opened()?;
        let value = open.table(table).get(key).map_err(|error| open.unread(error))?;
        Ok(value.map(Bytes::from))
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        let open = match self.opened() {
            Ok(open) => open,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let pairs = open.table(table).range::<Vec<u8>, _>(range);
        match order {
            Order::Ascending => Box::new(Reading { pairs, open }),
            Order::Descending => Box::new(Reading { pairs: pairs.rev(), open }),
        }
    }

    fn mark(&self, key: [u8; 8]) {
        let written = mark::write(&self.folder, key);
        let said = self.unmarked.swap(written.is_err(), Ordering::AcqRel);
        if let Err(error) = written
            && !said
        {
            tracing::warn!(%error, "the log's mark could not be written; it only helps to notice damage");
        }
    }

    fn marked(&self) -> Option<[u8; 8]> {
        mark::read(&self.folder)
    }

    fn lost(&self) -> Vec<Lost> {
        self.opened().map(|open| open.lost.clone()).unwrap_or_default()
    }

    fn lost_rows(&self) -> Vec<LostRows> {
        notes::read(&self.folder)
    }

    fn settle(&self) -> Result<(), StoreError> {
        notes::forget(&self.folder).map_err(failed)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        Table::ALL.into_iter().try_for_each(|table| self.rewrite(table, &|| true).map(drop))
    }

    fn flush(&self, go_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
        self.flush_all(go_on)
    }

    fn table_bytes(&self, table: Table) -> Option<u64> {
        self.opened().ok().map(|open| open.table(table).disk_space())
    }

    fn dead_bytes(&self, table: Table) -> Option<u64> {
        self.dead(table)
    }

    fn reclaim_table(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        self.rewrite(table, go_on)
    }

    fn drop_below(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        // Files that lie in the range whole; nothing is read or written for it.
        self.opened()?.table(table).tree.drop_range(..=key).map_err(|error| failed(fjall::Error::from(error)))
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.opened()?.db.disk_space().map_err(failed)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        // Until the table that is at work is done, what is open can at least be read.
        self.leave.store(true, Ordering::Release);
        let _stepping = match self.stepping.try_lock() {
            Ok(stepping) => stepping,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Failed("a compaction of the store has to end first".into()));
            }
        };
        if self.lock().is_some() {
            // While there is no room for copies, what is open can at least be read.
            journal::copy(&self.folder).map_err(failed)?;
            self.release(&released).inspect_err(|_| drop(journal::forget(&self.folder)))?;
        }
        journal::replace(&self.folder).map_err(failed)?;
        // Where no commit failed, something else did: perhaps a compaction, at damage, which would fail again and again.
        if !self.failed.swap(true, Ordering::AcqRel) {
            notes::suspect(&self.folder);
        }
        let (open, next) = Opened::at(&self.folder, true)?;
        self.failed.store(false, Ordering::Release);
        *released = next;
        *self.lock() = Some(Arc::new(open));
        self.leave.store(false, Ordering::Release);
        self.back.notify_all();
        Ok(())
    }

    fn wait(&self, timeout: Duration) -> bool {
        let guard = self.back.wait_timeout_while(self.lock(), timeout, |open| open.is_none());
        guard.unwrap_or_else(PoisonError::into_inner).0.is_some()
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
