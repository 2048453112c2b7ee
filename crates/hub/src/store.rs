//! Where the log's bytes lie: a few ordered tables of keys and values, changed by atomic batches. That is all the engine
//! asks of a disk; what the bytes mean is decided above.
//!
//! Two stores stand behind the trait: [`fjall`](self::fjall::FjallStore) on disk, and [`memory`](self::memory::MemoryStore)
//! for `memory` channels and for tests. One suite, `store/contract.rs`, holds for both.

use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;

#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
pub(crate) mod faulty;
pub mod fjall;
mod journal;
pub mod memory;
pub(crate) mod tier;

/// The tables of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Position → record.
    Log,
    /// Channel id and position → the channel's own count, bytes and time at that event.
    ByChannel,
    /// Channel name → id and floor.
    Channels,
    /// Ordinal → random part and times of an opening of the log.
    Epochs,
    /// Publisher and idempotency key → what was published.
    Idempotency,
    /// Time and subject → nothing: what has to be looked at then.
    Due,
    /// What there is once: format, next channel id, time marks.
    Meta,
    /// Channel id and key → where the key's value is; channel id → how much the channel holds.
    Keys,
}

impl Table {
    /// All tables, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Log,
        Self::ByChannel,
        Self::Channels,
        Self::Epochs,
        Self::Idempotency,
        Self::Due,
        Self::Meta,
        Self::Keys,
    ];

    /// The table's name on disk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::ByChannel => "by_channel",
            Self::Channels => "channels",
            Self::Epochs => "epochs",
            Self::Idempotency => "idempotency",
            Self::Due => "due",
            Self::Meta => "meta",
            Self::Keys => "keys",
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which table.
    pub table: Table,
    /// Of which key.
    pub key: Bytes,
    /// The new value; `None` removes the key.
    pub value: Option<Bytes>,
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In their order; of several changes of one key the last counts.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Adds a key or gives it a new value.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change { table, key: key.into(), value: Some(value.into()) });
    }

    /// Removes a key.
    pub fn remove(&mut self, table: Table, key: impl Into<Bytes>) {
        self.changes.push(Change { table, key: key.into(), value: None });
    }

    /// Has the change at a place remove its key instead, so that what it was to put is never written.
    pub(crate) fn take_back(&mut self, place: usize) {
        if let Some(change) = self.changes.get_mut(place) {
            change.value = None;
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// When a batch must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// Before `commit` returns (`fdatasync`).
    Now,
    /// Together with some later batch, or never if the machine fails first.
    Later,
}

/// Which way a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the least key up.
    Ascending,
    /// From the greatest key down.
    Descending,
}

/// Keys from one bound to another.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// All keys that begin with `prefix`.
pub fn keys_with_prefix(prefix: &[u8]) -> KeyRange {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

/// Keys and values in order, read as they are asked for.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes), StoreError>> + 'a>;

/// What to do about a folder that can't be opened.
const ADVICE: &str = "Keep a copy of the folder, then restore the last backup of it; or begin with an empty folder, and have \
                      it take over an earlier `fanfare data export` by `fanfare data import`";

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the folder open.
    #[error("the data folder is in use by another process")]
    Locked,
    /// There is no data folder at this place.
    #[error("{0} is no data folder")]
    NoFolder(String),
    /// The folder is of another kind or version.
    #[error(
        "the data folder holds format {found}, which this hub can't read (it reads format {known}); \
             use the newer Fanfare that wrote it, or restore a backup from before"
    )]
    Format {
        /// What the folder says.
        found: String,
        /// What this hub reads.
        known: &'static str,
    },
    /// The store is being reopened after a failure. Nothing was read or written; it may be asked again once it is back.
    #[error("the store is being reopened")]
    Reopening,
    /// What is asked for can't be read: its bytes are not those that were written. Other places may be sound.
    #[error("the store is damaged at this place")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The folder can't be opened: something that everything hangs on is damaged or missing.
    #[error("the data folder can't be opened: {what}. {ADVICE}")]
    Unreadable {
        /// What is wrong with which file or table.
        what: String,
        /// What the storage engine says.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The disk, the file system or the storage engine failed.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The room on the disk that holds a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes of the whole disk.
    pub total: u64,
}

impl DiskRoom {
    /// Nothing bounds the store, or nobody knows what does.
    pub const UNKNOWN: Self = Self { free: u64::MAX, total: u64::MAX };
}

impl StoreError {
    /// Something that everything hangs on is damaged.
    pub(crate) fn unreadable(what: impl Into<String>) -> Self {
        Self::Unreadable { what: what.into(), source: None }
    }

    /// The same for what is read to open the log, which can't be left out.
    pub(crate) fn at_opening(self) -> Self {
        match self {
            Self::Damaged(source) => Self::Unreadable {
                what: "one of its tables `meta` and `epochs` is damaged".into(),
                source: Some(source),
            },
            error => error,
        }
    }

    /// Whether only a place of the store is damaged, beside which others can be read.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

/// A part of the log that was lost: between these keys of the table [`Table::Log`], as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The last key before the damage.
    pub after: Option<[u8; 8]>,
    /// The first key behind it.
    pub before: Option<[u8; 8]>,
}

/// Rows that are lost: between these keys of a table, as far as they are known. Rows that they hid may be back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRows {
    /// Of which table.
    pub table: Table,
    /// The last key before them.
    pub after: Option<Vec<u8>>,
    /// The first key behind them.
    pub before: Option<Vec<u8>>,
}

/// Ordered tables with atomic batches.
pub trait Store: Send + Sync + 'static {
    /// Makes all changes of the batch, or none. Readers see them once this returns. An empty batch only asks whether the
    /// store still takes changes.
    ///
    /// # Errors
    ///
    /// When the store failed; whether the batch will be found after reopening is then unknown. Until then no reader sees it,
    /// and no commit succeeds.
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The keys of a range in order, with their values.
    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_>;

    /// Parts of the log that were found lost when the store was opened: between these keys of the table `log`, as far as
    /// they are known.
    fn lost(&self) -> Vec<Lost> {
        Vec::new()
    }

    /// Rows that mending tables took, at this opening or an earlier one, since [`Store::settle`] was called last.
    fn lost_rows(&self) -> Vec<LostRows> {
        Vec::new()
    }

    /// Forgets the rows that were lost: what they meant was put right, durably.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Remembers a key of the table `log` outside of all tables, without a need that it lasts. Where a later opening finds the
    /// log to end before it, something is lost.
    fn mark(&self, _key: [u8; 8]) {}

    /// What was marked last, as found when the store was opened.
    fn marked(&self) -> Option<[u8; 8]> {
        None
    }

    /// Gives the space of removed keys back to the file system, all of it. May take long, and commits may have to wait for
    /// it.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn reclaim(&self) -> Result<(), StoreError>;

    /// Has what only the journal keeps written to tables, so that the next opening has less to read. Before each step
    /// `go_on` is asked.
    ///
    /// # Errors
    ///
    /// When the store failed. Nothing that was committed is lost.
    fn flush(&self, go_on: &dyn Fn() -> bool) -> Result<(), StoreError> {
        let _ = go_on;
        Ok(())
    }

    /// Bytes on disk.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn disk_bytes(&self) -> Result<u64, StoreError>;

    /// Bytes of a table on disk, with what is removed but not given back; `None` while the store is reopened.
    fn table_bytes(&self, table: Table) -> Option<u64> {
        let _ = table;
        Some(0)
    }

    /// About how many bytes of a table on disk are of removed keys, as far as can be told without reading it; `None` while
    /// the store is reopened.
    fn dead_bytes(&self, table: Table) -> Option<u64> {
        let _ = table;
        Some(0)
    }

    /// Gives the space of removed keys of one table back to the file system, by writing it anew: it may take as much room
    /// again until it is done, and commits may have to wait if it takes long. Before it begins `go_on` is asked. Returns
    /// whether it came to its end.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn reclaim_table(&self, table: Table, go_on: &dyn Fn() -> bool) -> Result<bool, StoreError> {
        let _ = table;
        Ok(go_on())
    }

    /// Drops, where that costs next to nothing, what lies at the front of a table up to a key. Whoever calls this has
    /// removed all keys up to there and doesn't mind if some of them come back: what it drops may be the mark that removed
    /// them.
    ///
    /// # Errors
    ///
    /// When the store failed.
    fn drop_below(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let _ = (table, key);
        Ok(())
    }

    /// The room on the store's disk. Asked every second.
    ///
    /// # Errors
    ///
    /// When the system doesn't say.
    fn disk_room(&self) -> Result<DiskRoom, StoreError> {
        Ok(DiskRoom::UNKNOWN)
    }

    /// Closes the store and opens it again, after a commit failed or where one would. What is found then is on disk and
    /// stays there; what isn't found doesn't appear later. Scans that began before are waited for; what else is asked
    /// meanwhile fails with [`StoreError::Reopening`]. To be called by whoever commits, and by nobody that holds a scan.
    ///
    /// # Errors
    ///
    /// When the store can't be opened yet. It may be tried again; reading may go on until then or not.
    fn reopen(&self) -> Result<(), StoreError>;

    /// Waits until the store can be read, which it always can but while it is reopened, at most for `timeout`. Returns
    /// whether it can.
    fn wait(&self, timeout: Duration) -> bool {
        let _ = timeout;
        true
    }
}
