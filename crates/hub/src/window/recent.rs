//! What a shard has passed over last: a shard's own view of the newest part of the window, for its streams that are a
//! little behind. It saves them the window's lock; the entries are the window's own.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits::RECENT_ENTRIES_MAX;
use crate::window::entry::Entry;

/// The entries that a shard has passed over last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The slot of the oldest.
    first: u64,
    entries: VecDeque<Arc<Entry>>,
}

impl Recent {
    /// Takes what the shard passed over from `slot` on.
    pub(crate) fn push(&mut self, slot: u64, entries: Vec<Arc<Entry>>) {
        if slot != self.first + self.entries.len() as u64 {
            self.entries.clear();
            self.first = slot;
        }
        self.entries.extend(entries);
        self.forget_before((self.first + self.entries.len() as u64).saturating_sub(RECENT_ENTRIES_MAX as u64));
    }

    /// The entries from `slot` on, or `None` where it doesn't reach back that far.
    pub(crate) fn from(&self, slot: u64) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        let skip = slot.checked_sub(self.first)? as usize;
        (skip < self.entries.len()).then(|| self.entries.range(skip..))
    }

    /// Lets go of what is older than `slot`.
    pub(crate) fn forget_before(&mut self, slot: u64) {
        let count = (slot.saturating_sub(self.first) as usize).min(self.entries.len());
        self.entries.drain(..count);
        self.first += count as u64;
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }
}
