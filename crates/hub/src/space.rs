//! How much room the disk has, so that publishing ends before the room does: a full disk would fail a commit, and after
//! a failed commit nobody knows what is kept.
//!
//! The keeper looks once a second; in between, what the writer appends is counted down, so that a burst can't run through
//! the reserve between two looks. Below the reserve `durable` events are refused and everything else goes on: reading
//! needs no room, and removing what is too old makes some. What goes on needs a little room itself, which is what the
//! reserve is for (see [`DISK_RESERVE_BYTES_MIN`](crate::limits::DISK_RESERVE_BYTES_MIN)).
//!
//! Once publishing was refused, it goes on when there is a sixteenth of the reserve more than the reserve, so that it
//! doesn't begin and end with each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::draft::Draft;
use crate::ending::Deed;
use crate::limits::{DISK_BYTES_MAX_MIN, DISK_RESERVE_BYTES, DISK_RESERVE_BYTES_MIN, DISK_RESERVE_SMALL_DISK};
use crate::store::{Batch, DiskRoom, Store};

pub(crate) mod disk_limit;
pub(crate) mod keeper;
pub(crate) mod reclaimer;

/// How often each byte is written before it is seen at the latest: into the journal, then into a table.
const WRITTEN_TIMES: u64 = 2;

/// Bytes around a key and its value in the journal.
const CHANGE_BYTES: usize = 32;

/// The room on the disk. Written by the keeper and the writer, read by both.
pub(crate) struct Space {
    /// Asked for the room.
    store: Arc<dyn Store>,
    /// Free bytes below which `durable` events are refused.
    reserve: AtomicU64,
    /// Bytes that the tables may take; `u64::MAX` for no limit. The [`reclaimer`](crate::space::reclaimer) sees to it.
    bytes_max: AtomicU64,
    /// Bytes that the writer has written since the start.
    spent: AtomicU64,
    /// What `spent` will be when no byte is free any more, by the last look. One number, so that both sides of the
    /// reckoning are always of the same look.
    exhausted_at: AtomicU64,
    /// Whether events are being refused.
    full: AtomicBool,
    /// Whether the last look failed, which is told once.
    blind: AtomicBool,
}

/// Why a reserve or limit of the disk can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// The reserve is less than the store needs.
    #[error("a reserve of {0} bytes is too small; the store itself may need {DISK_RESERVE_BYTES_MIN} bytes")]
    Reserve(u64),
    /// The limit leaves no history.
    #[error("a disk limit of {0} bytes is too small; it must be at least {DISK_BYTES_MAX_MIN} bytes")]
    Limit(u64),
}

impl Space {
    /// Looks at the disk for the first time. Without a `reserve` it is the default for a disk of this size.
    ///
    /// # Errors
    ///
    /// When the reserve or the limit is too small.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        reserve: Option<u64>,
        bytes_max: Option<u64>,
    ) -> Result<Self, SpaceError> {
        let space = Self {
            store,
            reserve: AtomicU64::new(0),
            bytes_max: AtomicU64::new(u64::MAX),
            spent: AtomicU64::new(0),
            exhausted_at: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
            blind: AtomicBool::new(false),
        };
        space.reload(reserve, bytes_max)?;
        Ok(space)
    }

    /// Has another reserve and limit count from now on.
    ///
    /// # Errors
    ///
    /// When one is too small; then nothing changes.
    pub(crate) fn reload(&self, reserve: Option<u64>, bytes_max: Option<u64>) -> Result<(), SpaceError> {
        if let Some(bytes) = reserve.filter(|bytes| *bytes < DISK_RESERVE_BYTES_MIN) {
            return Err(SpaceError::Reserve(bytes));
        }
        if let Some(bytes) = bytes_max.filter(|bytes| *bytes < DISK_BYTES_MAX_MIN) {
            return Err(SpaceError::Limit(bytes));
        }
        self.bytes_max.store(bytes_max.unwrap_or(u64::MAX), Ordering::Release);
        let room = self.store.disk_room().unwrap_or(DiskRoom::UNKNOWN);
        self.reserve.store(reserve.unwrap_or_else(|| default_reserve(room.total)), Ordering::Release);
        self.look();
        Ok(())
    }

    /// Looks at the disk. Without an answer the last one counts on.
    pub(crate) fn look(&self) {
        // Before the disk is asked: what is written meanwhile is counted twice rather than never.
        let spent = self.spent.load(Ordering::Acquire);
        let room = match self.store.disk_room() {
            Ok(room) => room,
            Err(error) => {
                if !self.blind.swap(true, Ordering::AcqRel) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the disk's free space can't be told");
                }
                return;
            }
        };
        self.blind.store(false, Ordering::Release);
        self.exhausted_at.store(spent.saturating_add(room.free), Ordering::Release);
        let reserve = self.reserve();
        if room.free < reserve {
            self.refuse();
        } else if room.free >= reserve.saturating_add(reserve / 16) && self.full.swap(false, Ordering::AcqRel) {
            tracing::info!(free_bytes = room.free, reserve_bytes = reserve, "durable events are taken again");
        }
    }

    /// Bytes that are free, as far as is known; `None` where the store has no such bound.
    pub(crate) fn free(&self) -> Option<u64> {
        let exhausted_at = self.exhausted_at.load(Ordering::Acquire);
        (exhausted_at < u64::MAX).then(|| exhausted_at.saturating_sub(self.spent.load(Ordering::Acquire)))
    }

    /// Free bytes below which `durable` events are refused.
    pub(crate) fn reserve(&self) -> u64 {
        self.reserve.load(Ordering::Acquire)
    }

    /// Bytes that the tables may take; `None` for no limit.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        Some(self.bytes_max.load(Ordering::Acquire)).filter(|bytes| *bytes < u64::MAX)
    }

    /// Whether `durable` events are being refused.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Whether so little of the reserve is left that what can wait has to: removing takes room before it gives any back, and
    /// the store needs the rest for its own work.
    pub(crate) fn is_scarce(&self) -> bool {
        self.free().is_some_and(|free| free < self.reserve() / 2)
    }

    /// What the next commit may add. It holds for the whole commit, whatever a look finds meanwhile.
    pub(crate) fn room(&self) -> Room {
        if self.is_full() {
            return Room(0);
        }
        Room(self.free().map_or(u64::MAX, |free| free.saturating_sub(self.reserve())))
    }

    /// Takes note of what a commit has written.
    pub(crate) fn spend(&self, bytes: u64) {
        self.spent.fetch_add(bytes.saturating_mul(WRITTEN_TIMES), Ordering::AcqRel);
    }

    /// Takes note that an event was refused; further ones are, until a look finds room again.
    pub(crate) fn refuse(&self) {
        if !self.full.swap(true, Ordering::AcqRel) {
            let free_bytes = self.free().unwrap_or_default();
            tracing::warn!(free_bytes, reserve_bytes = self.reserve(), "the disk is full; durable events are refused");
        }
    }
}

/// The default: enough for what goes on while a large store is refused events, but no more than a part of a small disk.
fn default_reserve(total: u64) -> u64 {
    if total < DISK_RESERVE_SMALL_DISK { (total / 16).max(DISK_RESERVE_BYTES_MIN) } else { DISK_RESERVE_BYTES }
}

/// What one commit may add to the disk, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room(u64);

impl Room {
    /// Whether this much fits in.
    pub(crate) fn has(self, bytes: u64) -> bool {
        bytes <= self.0
    }

    /// Takes so much of it, if there is so much.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let has = self.has(bytes);
        if has {
            self.0 -= bytes;
        }
        has
    }
}

/// What a durable draft adds to the disk at most, in bytes.
pub(crate) fn cost(draft: &Draft) -> u64 {
    // A channel that is new has a row and something due, beside its index entry.
    let channels: usize = draft.channels.iter().map(|name| 2 * name.as_str().len() + 4 * CHANGE_BYTES).sum();
    let key = draft.event.idempotency_key.as_ref().map_or(0, |key| 2 * key.len());
    // A value of a key takes the one before it out, and perhaps others; and what its channel holds is written down.
    let value = draft.event.key.as_ref().map_or(0, |key| channels + 5 * key.len() + 12 * CHANGE_BYTES);
    // Of a row that says of an end or a fence there is a copy.
    let copies = if draft.deed == Deed::None { 0 } else { channels };
    (draft.weight() + channels + key + value + copies) as u64 * WRITTEN_TIMES
}

/// What a batch writes, in bytes.
pub(crate) fn bytes_of(batch: &Batch) -> u64 {
    let of = |change: &crate::store::Change| {
        change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len) + CHANGE_BYTES
    };
    batch.changes.iter().map(of).sum::<usize>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::draft::Publisher;
    use crate::event::Event;
    use crate::store::memory::MemoryStore;

    const MIB: u64 = 1024 * 1024;
    const RESERVE: u64 = DISK_RESERVE_BYTES_MIN;

    fn space(free: u64) -> (Arc<MemoryStore>, Space) {
        let store = Arc::new(MemoryStore::default());
        store.limit_room(Some(free));
        let space = Space::open(store.clone(), Some(RESERVE), None).unwrap();
        (store, space)
    }

    #[test]
    fn a_burst_between_two_looks_is_counted_down() {
        let (store, space) = space(RESERVE + 10 * MIB);
        assert!(space.room().has(10 * MIB) && !space.room().has(10 * MIB + 1));
        space.spend(3 * MIB);
        assert_eq!(space.free(), Some(RESERVE + 4 * MIB), "each byte is written twice");
        space.spend(100 * MIB);
        assert!(!space.room().has(1));
        store.limit_room(Some(RESERVE + 2 * MIB));
        space.look();
        assert!(space.room().has(2 * MIB) && !space.room().has(2 * MIB + 1), "a look knows better");
    }

    #[test]
    fn what_was_refused_is_taken_again_once_there_is_a_little_more_than_the_reserve() {
        let (store, space) = space(RESERVE + MIB);
        space.refuse();
        assert!(space.is_full() && !space.room().has(1));
        space.look();
        assert!(space.is_full(), "a MiB is too little to begin again");
        store.limit_room(Some(RESERVE + RESERVE / 16));
        space.look();
        assert!(!space.is_full() && space.room().has(RESERVE / 16));
        store.limit_room(Some(RESERVE - 1));
        space.look();
        assert!(space.is_full(), "a look is enough to refuse");
    }

    #[test]
    fn another_reserve_counts_at_once() {
        let (_, space) = space(2 * RESERVE);
        space.reload(Some(3 * RESERVE), None).unwrap();
        assert!(space.is_full());
        assert_eq!(space.reload(Some(1), None), Err(SpaceError::Reserve(1)));
        assert_eq!(space.reload(None, Some(1)), Err(SpaceError::Limit(1)));
        assert_eq!(space.reserve(), 3 * RESERVE);
        space.reload(Some(RESERVE), Some(100 * MIB)).unwrap();
        assert!(!space.is_full());
        assert_eq!(space.bytes_max(), Some(100 * MIB));
    }

    #[test]
    fn a_store_without_bounds_is_never_full() {
        let space = Space::open(Arc::new(MemoryStore::default()), None, None).unwrap();
        space.spend(u64::MAX / 4);
        space.look();
        assert_eq!((space.free(), space.is_full()), (None, false));
        assert!(space.room().has(u64::MAX / 2));
    }

    #[test]
    fn the_default_reserve_follows_the_disk() {
        assert_eq!(default_reserve(u64::MAX), DISK_RESERVE_BYTES);
        assert_eq!(default_reserve(4096 * MIB), 256 * MIB);
        assert_eq!(default_reserve(2048 * MIB), 128 * MIB);
        assert_eq!(default_reserve(100 * MIB), DISK_RESERVE_BYTES_MIN);
        let error = Space::open(Arc::new(MemoryStore::default()), Some(RESERVE - 1), None).err().unwrap();
        assert!(error.to_string().contains("too small"), "{error}");
    }

    #[test]
    fn a_draft_costs_no_less_than_its_batch_turns_out_to_write() {
        use crate::clock::ManualClock;
        use crate::rule::Rules;
        use crate::writer::{Group, Writer, WriterParts};
        let draft = |names: &[&str], event: Event| {
            let names = names.iter().map(|name| ChannelName::new(name).unwrap()).collect();
            Draft::new(names, event, Publisher::Anyone).unwrap()
        };
        let long = "l".repeat(255);
        for draft in [
            draft(&["a"], Event::text("")),
            draft(&[&long], Event::text("x").idempotency_key("k".repeat(255))),
            draft(&[&long], Event::text("x").keyed("k".repeat(255))),
            draft(&["a"], Event::text("").keyed("k").idempotency_key("k")),
            draft(&["a", "b", &long, "d"], Event::text("x".repeat(5_000)).ttl(std::time::Duration::from_secs(9))),
        ] {
            let store = Arc::new(MemoryStore::default());
            store.limit_room(Some(u64::MAX / 2));
            let space = Arc::new(Space::open(store.clone(), None, None).unwrap());
            let mut writer = Writer::open(WriterParts {
                store,
                rules: Arc::new(Rules::default()),
                clock: Arc::new(ManualClock::at(1_000_000)),
                random: Box::new(|| 7),
                window_bytes: 1 << 20,
                channels_max: 10,
                cursor_age_max: crate::limits::CURSOR_AGE_MAX,
                space: space.clone(),
            })
            .unwrap();
            let (before, cost) = (space.free().unwrap(), cost(&draft));
            let outcomes = writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
            assert!(outcomes.iter().flatten().all(Result::is_ok));
            let spent = before - space.free().unwrap();
            assert!(spent > 0 && spent <= cost, "{cost} was asked for, {spent} was spent");
        }
    }
}
