//! How much retention does with one commit. What is over a limit must go as fast as events come, and publishers wait for
//! little more than their own commit: so a commit removes twice what it appends. On a hub at rest steps are larger.

use crate::limits::{TRIM_ENTRIES_MAX, TRIM_ENTRIES_MIN};
use crate::store::{Batch, Table};
use crate::writer::Commit;

/// How much a commit takes along, in index entries: so many are condemned with it, and so many removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace(usize);

impl Pace {
    /// Of a commit without events.
    pub(crate) const AT_REST: Self = Self(TRIM_ENTRIES_MAX);

    /// Of this commit, before anything is removed with it.
    pub(crate) fn of(commit: &Commit) -> Self {
        if commit.entries.is_empty() { Self::AT_REST } else { Self::of_events(&commit.batches) }
    }

    fn of_events(batches: &[Batch]) -> Self {
        let changes = batches.iter().flat_map(|batch| &batch.changes);
        let entries = changes.filter(|change| change.table == Table::ByChannel && change.value.is_some()).count();
        Self((2 * entries).max(TRIM_ENTRIES_MIN))
    }

    /// So many entries.
    pub(crate) fn entries(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_removes_twice_what_it_appends_and_no_less_than_a_little() {
        let mut batch = Batch::default();
        batch.put(Table::Log, "record", "of two channels");
        batch.put(Table::ByChannel, "one", "");
        batch.put(Table::ByChannel, "two", "");
        assert_eq!(Pace::of_events(&[batch.clone()]).entries(), TRIM_ENTRIES_MIN);
        (0..TRIM_ENTRIES_MAX).for_each(|at| batch.put(Table::ByChannel, at.to_string(), ""));
        assert_eq!(Pace::of_events(&[Batch::default(), batch]).entries(), 2 * (TRIM_ENTRIES_MAX + 2));
    }
}
