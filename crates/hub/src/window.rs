//! The newest part of the log, in memory, for all streams together. The writer appends; everybody else reads. Bounded in
//! bytes and by age: the oldest entries leave, and who still needed them reads history.
//!
//! The window knows no streams. Its places are slots, counted from the start of the process, since transient events have
//! no position of their own.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use self::entry::Entry;
use crate::position::Position;
use crate::rule::Durability;

pub mod entry;
pub mod frame;
pub mod notice;
pub(crate) mod recent;
pub(crate) mod shared_events;

/// The newest events.
#[derive(Debug)]
pub struct Window {
    inner: RwLock<Inner>,
    /// What it may hold.
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner {
    /// Oldest first.
    entries: VecDeque<Arc<Entry>>,
    /// The slot of the oldest.
    first: u64,
    /// What the entries weigh.
    bytes: usize,
    /// Every event above this position is in the window, or not yet released.
    floor: Position,
    /// The highest position released. The feed's readers never see beyond it.
    head: Position,
}

/// What the window has from some slot on.
#[derive(Debug)]
pub enum Slots {
    /// These entries, perhaps none, and the slot after them.
    Entries(Vec<Arc<Entry>>),
    /// The slot has left the window.
    Gone,
}

impl Window {
    /// An empty window: everything up to `head` is history.
    pub(crate) fn new(head: Position, bytes_max: usize) -> Self {
        let inner = Inner { entries: VecDeque::new(), first: 0, bytes: 0, floor: head, head };
        Self { inner: RwLock::new(inner), bytes_max }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases a batch, whole and in order, and everything up to `head`.
    pub(crate) fn append(&self, batch: impl IntoIterator<Item = Arc<Entry>>, head: Position) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for entry in batch {
            inner.bytes += entry.weight();
            inner.entries.push_back(entry);
        }
        inner.head = inner.head.max(head);
        while inner.bytes > self.bytes_max && inner.pop().is_some() {}
    }

    /// The highest position released, and the slot that the next event will have.
    pub fn head(&self) -> (Position, u64) {
        let inner = self.read();
        (inner.head, inner.end())
    }

    /// Every event above this position is in the window, or not yet released.
    pub fn floor(&self) -> Position {
        self.read().floor
    }

    /// The slot of the oldest entry.
    pub(crate) fn first(&self) -> u64 {
        self.read().first
    }

    /// Up to `count` entries from `slot` on, and up to `bytes` of them, but at least one if there is one.
    pub fn entries(&self, slot: u64, count: usize, bytes: usize) -> Slots {
        let inner = self.read();
        let Some(skip) = slot.checked_sub(inner.first) else { return Slots::Gone };
        let entries = inner.entries.range((skip as usize).min(inner.entries.len())..).take(count);
        let mut sum = 0;
        let fit = entries.take_while(|entry| {
            sum < bytes && {
                sum += entry.record.data.len();
                true
            }
        });
        Slots::Entries(fit.cloned().collect())
    }

    /// Lets go of all entries and has everybody read history up to the head, also who has read all that there was: something
    /// below the head was never here.
    pub(crate) fn send_to_history(&self) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        while inner.pop().is_some() {}
        inner.first += 1;
        inner.floor = inner.head;
    }

    /// Lets go of entries that were published before `time_ms`.
    pub(crate) fn forget_before(&self, time_ms: u64) {
        // Freed when the lock is let go: it may be very many.
        let mut gone = Vec::new();
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        while inner.entries.front().is_some_and(|entry| entry.record.time_ms < time_ms) {
            gone.extend(inner.pop());
        }
        if inner.entries.len() < inner.entries.capacity() / 8 {
            inner.entries.shrink_to_fit();
        }
        drop(inner);
    }

    /// The slot from which a stream goes on that has everything up to `position`, or `None` where the window doesn't reach
    /// back that far. Transient events that follow the event at `position` are still to come, but for those before the slot
    /// `opened`, at which the stream wasn't there.
    pub fn slot_after(&self, position: Position, opened: u64) -> Option<u64> {
        let inner = self.read();
        if position < inner.floor {
            return None;
        }
        let mut at = inner.entries.partition_point(|entry| entry.position <= position);
        let is_transient =
            |at: usize| inner.entries.get(at).is_some_and(|entry| entry.durability == Durability::Transient);
        while inner.first + at as u64 > opened
            && let Some(before) = at.checked_sub(1)
            && is_transient(before)
        {
            at = before;
        }
        Some(inner.first + at as u64)
    }

    /// What the entries weigh, in bytes, and how many there are.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.read();
        (inner.bytes, inner.entries.len())
    }
}

impl Inner {
    /// Takes the oldest entry out.
    fn pop(&mut self) -> Option<Arc<Entry>> {
        let gone = self.entries.pop_front()?;
        self.bytes -= gone.weight();
        self.first += 1;
        self.floor = gone.position;
        Some(gone)
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::log::record::Record;

    fn entry(sequence: u64, durability: Durability) -> Arc<Entry> {
        let channels = vec![ChannelName::new("c").unwrap()];
        let draft = Draft::new(channels, Event::text("x".repeat(100)), Publisher::Anyone).unwrap();
        Arc::new(Entry::new(Position::new(1, sequence), 0, durability, Record::of(draft, 0)))
    }

    #[test]
    fn the_oldest_leave_when_the_window_is_full() {
        let weight = entry(1, Durability::Durable).weight();
        let window = Window::new(Position::new(1, 0), weight * 3);
        window.append((1..=5).map(|n| entry(n, Durability::Durable)), Position::new(1, 5));
        assert_eq!(window.head(), (Position::new(1, 5), 5));
        assert_eq!(window.floor(), Position::new(1, 2));
        assert!(matches!(window.entries(1, 9, 9_000), Slots::Gone));
        let Slots::Entries(entries) = window.entries(2, 2, 9_000) else { panic!("slot 2 is there") };
        assert_eq!(entries.iter().map(|e| e.position.sequence()).collect::<Vec<_>>(), [3, 4]);
        let slot_after = |sequence| window.slot_after(Position::new(1, sequence), 0);
        assert_eq!(slot_after(1), None);
        assert_eq!(slot_after(2), Some(2));
        assert_eq!(slot_after(4), Some(4));
        assert_eq!(slot_after(5), Some(5));
    }

    #[test]
    fn who_comes_from_history_is_not_given_transient_events_of_before() {
        let window = Window::new(Position::new(1, 0), 1 << 20);
        window.append(
            [entry(1, Durability::Durable), entry(1, Durability::Transient), entry(2, Durability::Durable)],
            Position::new(1, 2),
        );
        assert_eq!(window.slot_after(Position::new(1, 1), 2), Some(2));
        assert_eq!(window.slot_after(Position::new(1, 1), 0), Some(1), "but who was there gets it");
        assert_eq!(window.slot_after(Position::new(1, 2), 0), Some(3), "unless something later has been sent already");
    }
}
