//! What came after a value: whether its key has a later one, or was deleted. Shared by all entries of a key that somebody
//! holds, in the window or in a page, so that a page which was read before a deletion doesn't show what was deleted.
//!
//! Only what is committed is told here: a failed commit leaves nothing to take back.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::channel::ChannelName;
use crate::position::Position;

/// In how many parts lineages are, each with a lock of its own: so many that the writer and whoever reads pages seldom meet
/// at one.
const PARTS: usize = 16;

/// How many lineages a part may have before the first look for those that nobody holds any more.
const SWEPT_AT: usize = 64;

/// What came after the values of one key.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// Where the key's last value or deletion is.
    last: AtomicU64,
    /// Where its last deletion is.
    deleted: AtomicU64,
}

impl Lineage {
    /// Whether the key has a later value than the one at this position, or was deleted later.
    pub(crate) fn is_superseded(&self, position: Position) -> bool {
        number(position) < self.last.load(Ordering::Acquire)
    }

    /// Whether the key was deleted later.
    pub(crate) fn is_withdrawn(&self, position: Position) -> bool {
        number(position) < self.deleted.load(Ordering::Acquire)
    }
}

fn number(position: Position) -> u64 {
    u64::from_be_bytes(position.to_key())
}

/// A value or deletion that is about to come after others.
#[derive(Clone, Debug)]
pub(crate) struct Succession {
    pub(crate) lineage: Arc<Lineage>,
    pub(crate) position: Position,
    pub(crate) is_deleted: bool,
}

/// The lineages of all keys of which somebody holds a value.
#[derive(Debug, Default)]
pub(crate) struct Lineages {
    /// Each key is in one of them, by a hash of its name.
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    /// Counts deletions.
    deletions: AtomicU64,
}

#[derive(Debug)]
struct Part {
    /// By channel and key, with a character between them that neither has.
    all: HashMap<Box<str>, Weak<Lineage>>,
    /// When to look for those that nobody holds.
    sweep_at: usize,
    /// Where names are put together, so that asking for a lineage that is there takes no memory.
    name: String,
}

impl Default for Part {
    fn default() -> Self {
        Self { all: HashMap::new(), sweep_at: SWEPT_AT, name: String::new() }
    }
}

impl Lineages {
    /// The lineage of a key.
    pub(crate) fn of(&self, channel: &ChannelName, key: &str) -> Arc<Lineage> {
        self.part(channel, key).lock().unwrap_or_else(PoisonError::into_inner).of(channel, key)
    }

    fn part(&self, channel: &ChannelName, key: &str) -> &Mutex<Part> {
        let [first, ..] = &self.parts;
        let number = self.hasher.hash_one((channel, key)) as usize % PARTS;
        self.parts.get(number).unwrap_or(first)
    }

    /// Tells that these are committed.
    pub(crate) fn succeed(&self, successions: Vec<Succession>) {
        for Succession { lineage, position, is_deleted } in successions {
            lineage.last.fetch_max(number(position), Ordering::AcqRel);
            if is_deleted {
                lineage.deleted.fetch_max(number(position), Ordering::AcqRel);
                // Behind the mark: who reads the store sees either the one or the other.
                self.deletions.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// How many deletions there were. What was read before the last of them may be deleted, unless its lineage says so.
    pub(crate) fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::Acquire)
    }
}

impl Part {
    fn of(&mut self, channel: &ChannelName, key: &str) -> Arc<Lineage> {
        let Self { all, sweep_at, name } = self;
        name.clear();
        name.extend([channel.as_str(), "\0", key]);
        if let Some(known) = all.get(name.as_str()).and_then(Weak::upgrade) {
            return known;
        }
        let lineage = Arc::new(Lineage::default());
        all.insert(name.as_str().into(), Arc::downgrade(&lineage));
        if all.len() >= *sweep_at {
            all.retain(|_, lineage| lineage.strong_count() > 0);
            *sweep_at = (2 * all.len()).max(SWEPT_AT);
        }
        lineage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    #[test]
    fn all_holders_of_a_key_hear_what_came_after() {
        let lineages = Lineages::default();
        let (one, other) = (lineages.of(&name("c"), "k"), lineages.of(&name("c"), "k"));
        let neighbour = lineages.of(&name("c"), "k2");
        let at = |sequence| Position::new(1, sequence);
        let then = |sequence, is_deleted| Succession { lineage: one.clone(), position: at(sequence), is_deleted };
        lineages.succeed(vec![then(2, false)]);
        assert!(other.is_superseded(at(1)) && !other.is_superseded(at(2)) && !other.is_withdrawn(at(1)));
        lineages.succeed(vec![then(3, true), then(4, false)]);
        assert!(other.is_withdrawn(at(2)) && !other.is_withdrawn(at(3)) && other.is_superseded(at(3)));
        assert!(!neighbour.is_superseded(at(1)));
        assert_eq!(lineages.deletions(), 1);
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let lineages = Lineages::default();
        let held = lineages.of(&name("c"), "held");
        for at in 0..10 * PARTS * SWEPT_AT {
            lineages.of(&name("c"), &at.to_string());
        }
        let counts = lineages.parts.iter().map(|part| part.lock().unwrap().all.len()).collect::<Vec<_>>();
        assert!(counts.iter().all(|count| (1..=2 * SWEPT_AT).contains(count)), "{counts:?}");
        assert!(Arc::ptr_eq(&held, &lineages.of(&name("c"), "held")));
    }
}
