//! A store for tests whose commits and reopenings fail when told to. It keeps the promises of [`Store`], and no others: a
//! batch that failed is seen after reopening or never, and what was not synced may be gone then.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::memory::MemoryStore;
use super::{Batch, DiskRoom, KeyRange, Order, Persist, Scan, Store, StoreError, Table};

/// What becomes of a batch whose commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there after reopening.
    Kept,
    /// It is not.
    Dropped,
    /// It is not, and neither is what was not synced before it.
    DroppedWithUnsynced,
}

/// How the store fails next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// What becomes of the batch of the next commit, which fails.
    pub(crate) fate: Fate,
    /// How many tries to reopen fail after it.
    pub(crate) failed_reopenings: u32,
    /// Whether nothing can be read between these.
    pub(crate) closed_meanwhile: bool,
}

/// A store on [`MemoryStore`] that fails when told to.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    disk: MemoryStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Fails the next commit.
    armed: Option<Fault>,
    /// What failed, until it is reopened.
    failed: Option<(Fault, Batch)>,
    /// Whether nothing can be read.
    closed: bool,
    /// How often it was opened again.
    openings: u64,
}

impl Default for FaultyStore {
    fn default() -> Self {
        Self { disk: MemoryStore::forgetful(), state: Mutex::default() }
    }
}

impl FaultyStore {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`MemoryStore::limit_room`].
    pub(crate) fn limit_room(&self, free: Option<u64>) {
        self.disk.limit_room(free);
    }

    /// Has the next commit fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().armed = Some(fault);
    }

    /// Takes everything away from whoever reads, or gives it back.
    pub(crate) fn close(&self, closed: bool) {
        self.lock().closed = closed;
    }

    /// Has the next commit succeed again.
    pub(crate) fn disarm(&self) {
        self.lock().armed = None;
    }

    /// How often it was opened again.
    pub(crate) fn openings(&self) -> u64 {
        self.lock().openings
    }

    /// What becomes of the batch that failed.
    pub(crate) fn fate(&self) -> Option<Fate> {
        self.lock().failed.as_ref().map(|(fault, _)| fault.fate)
    }

    /// Whether nothing can be read.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The process ends, and another one opens the store. In a crash what was not synced is lost.
    pub(crate) fn restart(&self, crash: bool) {
        self.disarm();
        self.settle();
        if crash {
            self.disk.forget();
        }
    }

    /// What failed has its fate.
    fn settle(&self) {
        let mut state = self.lock();
        state.closed = false;
        state.openings += 1;
        match state.failed.take() {
            Some((Fault { fate: Fate::Kept, .. }, batch)) => {
                self.disk.commit(batch, Persist::Now).unwrap_or_else(|error| panic!("{error}"));
            }
            Some((Fault { fate: Fate::DroppedWithUnsynced, .. }, _)) => self.disk.forget(),
            Some((Fault { fate: Fate::Dropped, .. }, _)) | None => {}
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_closed() { Err(StoreError::Reopening) } else { Ok(()) }
    }
}

fn broken() -> StoreError {
    StoreError::Failed("no space left on device".into())
}

impl Store for FaultyStore {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.failed.is_some() {
            return Err(broken());
        }
        if let Some(fault) = state.armed.take() {
            state.failed = Some((fault, batch));
            return Err(broken());
        }
        self.disk.commit(batch, persist)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        self.disk.get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        match self.check() {
            Ok(()) => self.disk.scan(table, range, order),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.check()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.check().map(|()| 0)
    }

    fn table_bytes(&self, table: Table) -> Option<u64> {
        self.check().ok()?;
        self.disk.table_bytes(table)
    }

    fn disk_room(&self) -> Result<DiskRoom, StoreError> {
        self.disk.disk_room()
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some((fault, _)) = &mut state.failed
            && let Some(left) = fault.failed_reopenings.checked_sub(1)
        {
            fault.failed_reopenings = left;
            state.closed = fault.closed_meanwhile;
            return Err(broken());
        }
        drop(state);
        self.settle();
        self.disk.reopen()
    }

    fn wait(&self, _: std::time::Duration) -> bool {
        !self.is_closed()
    }
}
