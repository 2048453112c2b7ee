//! How far a shard has come in the window, told to who watches from outside: one number, stored after each pass.

use std::sync::atomic::{AtomicU64, Ordering};

/// A shard's place in the window.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The slot that it passes over next. Written by the shard only.
    slot: AtomicU64,
}

impl Progress {
    /// The place of a shard without streams: what is published concerns it not.
    pub(super) const NOWHERE: u64 = u64::MAX;

    /// The shard stands before this slot.
    pub(super) fn stands(&self, slot: u64) {
        self.slot.store(slot, Ordering::Relaxed);
    }

    /// The slot that it passes over next, if it has streams.
    pub(crate) fn slot(&self) -> Option<u64> {
        Some(self.slot.load(Ordering::Relaxed)).filter(|slot| *slot != Self::NOWHERE)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { slot: AtomicU64::new(Self::NOWHERE) }
    }
}
