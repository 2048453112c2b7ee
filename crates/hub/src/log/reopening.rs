//! What the writer does after a commit failed, when nobody knows whether it came to be: it reopens the store and looks.
//!
//! The group of the failed commit is released whole or not at all. If its records are found, all of it is, also what it was
//! to keep in memory and its transient events, before any new position is given. If not, none of it ever appears. What of
//! it can't be read has come to be with the rest, and those who listen get it from memory; where nothing of it can be read
//! they are sent to history, which tells the gap. Its publishers were told that its outcome is unknown. A new epoch begins,
//! since numbers of the old one may have been lost.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::damage::restore;
use crate::keys::lineage::{Lineage, Succession};
use crate::log::append_error::AppendError;
use crate::log::directory::position_of_key;
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::oldest::Oldest;
use crate::retention::review::Review;
use crate::rule::{Durability, Overflow};
use crate::store::tier::Tier;
use crate::store::{Batch, Order, Persist, Store, StoreError, Table};
use crate::window::entry::Entry;
use crate::writer::{Outcome, State, Writer, damaged};

/// What a failed commit was to release, and to keep in memory.
#[derive(Default)]
pub(crate) struct Doubtful {
    /// Up to where the log says that it goes, where it has come to be; `None` where it didn't say so.
    pub(crate) head: Option<Position>,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) memory: Batch,
    /// What it was to take out of the log, also of its own.
    pub(crate) gone: HashSet<Position>,
    /// What was to come after what.
    pub(crate) successions: Vec<Succession>,
}

impl Doubtful {
    /// Whether it has come to be, by what was found of it. Where something could not be read a part of it is enough: it is on
    /// disk whole or not at all.
    fn is_found(&self, found: &[Arc<Entry>], head: Position, is_damaged: bool) -> bool {
        let mut durable = self.durable().peekable();
        let mut found = found.iter().map(|entry| entry.position).peekable();
        if found.peek().is_none() {
            // It may have had only removals for the disk.
            return durable.peek().is_none() && self.head == Some(head);
        }
        if is_damaged { found.all(|position| durable.any(|of| of == position)) } else { durable.eq(found) }
    }

    /// The positions that it has on disk, if it has come to be.
    fn durable(&self) -> impl Iterator<Item = Position> {
        let is_on_disk =
            |entry: &&Arc<Entry>| entry.durability == Durability::Durable && !self.gone.contains(&entry.position);
        self.entries.iter().filter(is_on_disk).map(|entry| entry.position)
    }
}

/// What the publishers of a failed commit are told: what was refused stays refused, of the rest nobody knows. `sizes` are
/// those of all groups, also of those that were not looked at any more.
pub(crate) fn doubt(outcomes: &mut Vec<Outcome>, sizes: &[usize]) {
    for result in outcomes.iter_mut().flatten() {
        match result {
            Ok(_) => *result = Err(AppendError::OutcomeUnknown),
            // Perhaps for an event of the same commit, which may not have come to be.
            Err(
                AppendError::Conflict
                | AppendError::Ended
                | AppendError::Fenced
                | AppendError::NoFence
                | AppendError::UnknownFence
                | AppendError::UnknownKey
                | AppendError::NoKey
                | AppendError::NoState
                | AppendError::TooManyKeys,
            ) => *result = Err(AppendError::Reopening),
            Err(_) => {}
        }
    }
    let placed = outcomes.len();
    outcomes.extend(sizes.iter().skip(placed).map(|size| vec![Err(AppendError::OutcomeUnknown); *size]));
}

impl Writer {
    /// Whether a commit failed, and the store must be reopened before anything is appended.
    pub(crate) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Takes note that the store failed.
    pub(crate) fn fail(&mut self, error: &StoreError) {
        tracing::error!(error = error as &dyn std::error::Error, "the store failed; it will be reopened");
        self.state = State::Failed;
    }

    /// Reopens the store, releases what is found of the failed commit, and goes on in a new epoch. Returns how many events
    /// were found.
    ///
    /// # Errors
    ///
    /// When the store can't be used yet. Nothing has happened then, and it may be tried again.
    pub(crate) fn reopen(&mut self) -> Result<usize, StoreError> {
        let store = self.tiers.durable.clone();
        store.reopen()?;
        restore::restore(&self.tiers, &mut self.random_source)?;
        let (released, _) = self.window.head();
        let (found, is_damaged) = self.found(released)?;
        self.look_for_lost()?;
        self.horizon.reread(&*store)?;
        self.floors.reread(&*store)?;
        self.directory.forget_all(&*store)?;
        let stored_head = damaged::head(&*store)?;
        let review = Review::open(&*store, &self.rules, self.directory.next_id())?;
        let random = (self.random_source)();
        // Durable before anything that is found is seen, and the last thing that can fail.
        let epoch = self.epochs.resume(&*store, self.clock.unix_ms(), random)?;

        let doubtful = std::mem::take(&mut self.doubtful);
        let is_found = doubtful.is_found(&found, stored_head, is_damaged);
        let (count, entries) = if is_found {
            let count = doubtful.durable().count();
            self.tiers.memory.commit(doubtful.memory, Persist::Later)?;
            self.lineages.succeed(doubtful.successions);
            (count, doubtful.entries)
        } else {
            self.lineages.succeed(found.iter().filter_map(|entry| entry.succession()).collect());
            (found.len(), found)
        };
        self.last = Position::new(epoch.ordinal, 0);
        (self.last_event, self.random) = (self.last, random);
        self.window.append(entries, self.last);
        if is_damaged && !is_found {
            self.window.send_to_history();
        }
        self.review = review;
        self.retention.start_over();
        self.oldest = Oldest::default();
        self.swept_ms = [0; 2];
        self.state = State::Open;
        Ok(count)
    }

    /// What hears of what comes after a record, and whether streams that are behind do without it then.
    fn lineage_of(&self, record: &Record) -> (Option<Arc<Lineage>>, bool) {
        let name = record.channels.first();
        let lineage = name.zip(record.key.as_ref()).map(|(name, key)| self.lineages.of(name, key));
        (lineage, name.is_some_and(|name| self.rules.of(name).overflow == Overflow::Conflate))
    }

    /// The events on disk above a position, in order, and whether some can't be read. They are those of one commit at most.
    fn found(&self, above: Position) -> Result<(Vec<Arc<Entry>>, bool), StoreError> {
        let range = (Bound::Excluded(above.to_key().to_vec()), Bound::Unbounded);
        let (mut found, mut is_damaged) = (Vec::new(), false);
        let mut scan = self.tiers.scan(Tier::Durable, Table::Log, range, Order::Ascending);
        for pair in scan.by_ref() {
            let (key, value) = pair?;
            let Some(position) = position_of_key(&key) else { continue };
            match Record::decode(&value, position) {
                Ok(record) => {
                    let random = self.epochs.random_of(position.ordinal());
                    let (lineage, is_conflated) = self.lineage_of(&record);
                    let entry = Entry::new(position, random, Durability::Durable, record);
                    found.push(Arc::new(entry.with_lineage(lineage, is_conflated)));
                }
                Err(error) => {
                    self.tiers.damage.found(Table::Log, &key, &error);
                    is_damaged = true;
                }
            }
        }
        Ok((found, is_damaged || !scan.holes.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::Placed;

    #[test]
    fn what_was_refused_stays_refused_when_the_commit_of_the_others_fails() {
        use AppendError::{Batch, Conflict, DiskFull, NoFence, OutcomeUnknown, Reopening};
        let placed =
            Placed { position: None, durability: Durability::Transient, duplicate: false, fence: 0, found: None };
        let mut outcomes = vec![vec![Ok(placed), Err(DiskFull)], vec![Err(Conflict), Err(NoFence), Err(Batch(0))]];
        doubt(&mut outcomes, &[2, 3, 1]);
        let expected: [&[AppendError]; 3] =
            [&[OutcomeUnknown, DiskFull], &[Reopening, Reopening, Batch(0)], &[OutcomeUnknown]];
        let errors: Vec<Vec<AppendError>> =
            outcomes.into_iter().map(|outcome| outcome.into_iter().filter_map(Result::err).collect()).collect();
        assert_eq!(errors, expected);
    }
}
