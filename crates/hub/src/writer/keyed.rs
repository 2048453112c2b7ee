//! Values of keys: whether a channel takes one, and what it takes out of the log.
//!
//! A value and the one before it change places in one commit, so no reader finds both or none, and nothing has to be told. Where
//! a value goes for another key's sake, or a deletion is forgotten, the channel's floor moves with that commit. Unlike that
//! of other channels it says only that something at or below it is gone; values there are still good.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{AppendError, Commit, Writer};
use crate::channel::ChannelName;
use crate::draft::Draft;
use crate::ending::Deed;
use crate::keys::lineage::{Lineage, Succession};
use crate::keys::{Held, KeyRow};
use crate::limits::SWEEP_ENTRIES_MAX;
use crate::log::directory::{Channel, Kind, Stale, index_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::rule::{Durability, Overflow, WhenFull};
use crate::store::tier::{Tier, Tiers};
use crate::store::{StoreError, Table};

mod stored;

use self::stored::{is_empty, oldest_in, time_of_oldest};

/// What a commit in the making does to keys. None of it stands in a store yet.
#[derive(Default)]
pub(crate) struct KeyChanges {
    /// What keys have with it, by their channel's number: a value, a deletion, or nothing any more.
    now: HashMap<(u64, String), Option<InCommit>>,
    /// Numbers of channels that get an event without a key, and so can't hold values.
    plain: HashSet<u64>,
    /// Places of what it takes out.
    pub(crate) gone: HashSet<Position>,
    /// Channels that hold something else with it, each once.
    touched: Vec<ChannelName>,
    /// What comes after what, once it is done.
    pub(crate) successions: Vec<Succession>,
}

/// A value or deletion of a commit in the making.
#[derive(Clone, Copy, Debug)]
struct InCommit {
    row: KeyRow,
    tier: Tier,
    /// The places in the batch of what puts its record and its index entry.
    puts: [usize; 2],
}

/// Where a record was put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) bytes: u64,
    pub(super) puts: [usize; 2],
}

/// What a group that is judged as a whole would make of channels with keys.
#[derive(Default)]
pub(super) struct Trial {
    /// Whether there is more of it to come, which must know what is decided here.
    is_of_many: bool,
    kinds: HashMap<u64, Kind>,
    /// Bytes of what keys would have; `None` for no value.
    values: HashMap<(u64, String), Option<u64>>,
    /// How much the channels would hold.
    held: HashMap<u64, Held>,
}

impl Trial {
    /// What a group of so many would make of them.
    pub(super) fn of(count: usize) -> Self {
        Self { is_of_many: count > 1, ..Self::default() }
    }

    /// What a channel would hold, if that is decided.
    pub(super) fn kind(&self, channel: &Channel) -> Option<Kind> {
        self.kinds.get(&channel.row.id).copied().or(channel.kind())
    }
}

impl Writer {
    /// Whether the channels of a draft take it, by what they hold. `trial` is what those before it in its group would make
    /// of them.
    pub(super) fn admit(
        &mut self,
        draft: &Draft,
        commit: &Commit,
        trial: &mut Trial,
    ) -> Result<Result<(), AppendError>, StoreError> {
        if draft.deed != Deed::None {
            // What the hub says of a channel is no part of what it holds.
            return Ok(Ok(()));
        }
        // A message has its key only once it has its place.
        let key = if draft.is_message { Some("") } else { draft.event.key.as_deref() };
        for name in &draft.channels {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            let known = trial.kinds.get(&channel.row.id).copied();
            match (trial.kind(channel), key) {
                (Some(Kind::Keys), None) => return Ok(Err(AppendError::NoKey)),
                (Some(Kind::Events), Some(_))
                    if known.is_some()
                        || commit.keys.plain.contains(&channel.row.id)
                        || !is_empty(channel, &self.tiers)? =>
                {
                    return Ok(Err(AppendError::NoState));
                }
                _ => {}
            }
            let is_kept = channel.rule.durability != Durability::Transient;
            if key.is_some() && !is_kept {
                return Ok(Err(AppendError::TransientState));
            }
            let wanted = if key.is_some() { Kind::Keys } else { Kind::Events };
            // What a channel may yet hold, its row says only until it holds something.
            if is_kept && (trial.is_of_many || channel.kind() != Some(wanted)) {
                trial.kinds.insert(channel.row.id, wanted);
            }
        }
        match (draft.channels.first(), key) {
            (Some(name), Some(key)) => self.admit_value(name, key, draft, commit, trial),
            _ => Ok(Ok(())),
        }
    }

    /// Whether a channel takes a value of a key, or its deletion.
    fn admit_value(
        &mut self,
        name: &ChannelName,
        key: &str,
        draft: &Draft,
        commit: &Commit,
        trial: &mut Trial,
    ) -> Result<Result<(), AppendError>, StoreError> {
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        let (id, rule) = (channel.row.id, channel.rule.clone());
        let mut held = trial.held.get(&id).copied().unwrap_or_else(|| channel.held());
        let at = (id, key.to_owned());
        let before = if draft.is_message {
            None
        } else if let Some(before) = trial.values.get(&at) {
            *before
        } else {
            let rows = commit.keys.rows(id, key, &self.tiers)?;
            let last = rows.into_iter().flatten().max_by_key(|row| row.position);
            last.filter(|row| !row.is_deleted).map(|row| row.bytes)
        };
        if draft.event.is_deleted {
            if before.is_none() && !self.is_import {
                return Ok(Err(AppendError::UnknownKey));
            }
            (held.values, held.bytes) =
                (held.values.saturating_sub(1), held.bytes.saturating_sub(before.unwrap_or_default()));
            trial.values.insert(at, None);
        } else {
            let bytes_before = held.bytes.saturating_sub(before.unwrap_or_default());
            let bytes_max = rule.history.bytes_max;
            // No less than it comes to. Only where that is too much, or would add up, is it worth looking what it comes to.
            let mut bytes = draft.weight() as u64;
            if trial.is_of_many || bytes_before.saturating_add(bytes) > bytes_max {
                bytes = Record::of(draft.clone(), u64::from(u32::MAX) << 10).encode(Position::LAST).len() as u64;
            }
            held.values += u64::from(before.is_none());
            held.bytes = bytes_before.saturating_add(bytes);
            let is_refused = match rule.when_full {
                WhenFull::Refuse => {
                    held.bytes > bytes_max && before.is_none_or(|before| bytes > before)
                        || held.values > rule.keys_max && before.is_none()
                }
                // However many of the others go.
                WhenFull::DropOldest => bytes > bytes_max,
            };
            if is_refused {
                return Ok(Err(AppendError::TooManyKeys));
            }
            if !draft.is_message {
                trial.values.insert(at, Some(bytes));
            }
        }
        trial.held.insert(id, held);
        Ok(Ok(()))
    }

    /// Whether a record is no value, but something that is said of a channel of values: retention would keep it for ever.
    pub(super) fn is_aside(&mut self, record: &Record, deed: Deed) -> Result<bool, StoreError> {
        let Some(name) = record.channels.first().filter(|_| deed != Deed::None) else { return Ok(false) };
        Ok(self.directory.channel(name, &self.rules, &self.tiers)?.row.kind == Kind::Keys)
    }

    /// Decides what a channel holds, before its first event is kept.
    pub(super) fn decide_kind(&mut self, record: &Record, deed: Deed, commit: &mut Commit) -> Result<(), StoreError> {
        if deed != Deed::None {
            return Ok(());
        }
        let kind = if record.key.is_some() { Kind::Keys } else { Kind::Events };
        for name in &record.channels {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            if kind == Kind::Events {
                commit.keys.plain.insert(channel.row.id);
            }
            if channel.row.kind == kind {
                continue;
            }
            channel.row.kind = kind;
            (channel.held, channel.fronts) = Default::default();
            commit.keys.touch(name, channel, Stale { row: true, ..Stale::default() });
            if kind == Kind::Keys {
                self.has_keys.set(name, commit.batch(Tier::Durable));
            }
        }
        Ok(())
    }

    /// Puts a value in the place of what its key had. Its record is in the batch already. Gives what hears of what comes after
    /// it.
    pub(super) fn keep_value(
        &mut self,
        record: &Record,
        position: Position,
        (tier, kept): (Tier, Kept),
        commit: &mut Commit,
    ) -> Result<Option<std::sync::Arc<Lineage>>, StoreError> {
        let (Some(name), Some(key)) = (record.channels.first(), record.key.as_deref()) else { return Ok(None) };
        let id = self.directory.channel(name, &self.rules, &self.tiers)?.row.id;
        for (of, row) in Tier::ALL.into_iter().zip(commit.keys.rows(id, key, &self.tiers)?) {
            if let Some(row) = row {
                self.take_out(name, key, (of, row), false, commit)?;
            }
        }
        let row = KeyRow { position, bytes: kept.bytes, is_deleted: record.is_deleted };
        commit.batch(tier).put(Table::Keys, KeyRow::key(id, key), row.encode());
        commit.keys.now.insert((id, key.to_owned()), Some(InCommit { row, tier, puts: kept.puts }));
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        tier.of_pair(&mut channel.held).add(row);
        commit.keys.touch(name, channel, held_in(tier));
        self.make_way(name, position, commit)?;
        let lineage = self.lineages.of(name, key);
        let succession = Succession { lineage: lineage.clone(), position, is_deleted: record.is_deleted };
        commit.keys.successions.push(succession);
        Ok(Some(lineage))
    }

    /// Takes a value or deletion out of the log, with the row of its key.
    fn take_out(
        &mut self,
        name: &ChannelName,
        key: &str,
        (tier, row): (Tier, KeyRow),
        is_oldest: bool,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        let id = channel.row.id;
        let now = commit.keys.now.insert((id, key.to_owned()), None).flatten();
        let batch = tier.of_pair(&mut commit.batches);
        if let Some(InCommit { puts, .. }) = now.filter(|now| now.row.position == row.position) {
            for place in puts {
                batch.take_back(place);
            }
        } else {
            batch.remove(Table::ByChannel, index_key(id, row.position));
            batch.remove(Table::Log, Bytes::copy_from_slice(&row.position.to_key()));
            self.retention.count_value(tier, row.bytes, is_oldest);
            // What was on disk must not come back after a crash, also where what came for it is in memory only.
            commit.synced |= tier == Tier::Durable;
        }
        batch.remove(Table::Keys, KeyRow::key(id, key));
        commit.keys.gone.insert(row.position);
        tier.of_pair(&mut channel.held).take(row);
        commit.keys.touch(name, channel, held_in(tier));
        Ok(())
    }

    /// Has some of the oldest values of a channel go that holds more than its rule says, as stricter rules find it. Returns
    /// whether there are more.
    pub(crate) fn drop_surplus(&mut self, name: &ChannelName, commit: &mut Commit) -> Result<bool, StoreError> {
        let mut at = None;
        for _ in 0..SWEEP_ENTRIES_MAX {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            if !is_over(channel, false) {
                return Ok(false);
            }
            // One number that no event has, for all of them.
            let moved = match at {
                Some(moved) => moved,
                None => *at.insert(self.next_position()?),
            };
            commit.synced = true;
            if !self.drop_oldest(name, false, moved, commit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has the oldest values of a channel go that is full, if its rule says so, and the oldest deletions where it has too many
    /// of them to remember. `at` is the place of the event for which this is done.
    fn make_way(&mut self, name: &ChannelName, at: Position, commit: &mut Commit) -> Result<(), StoreError> {
        for is_deletion in [false, true] {
            loop {
                let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
                if !is_over(channel, is_deletion) || !self.drop_oldest(name, is_deletion, at, commit)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Has a channel's oldest value go, or its oldest deletion. Tells whether there was one.
    fn drop_oldest(
        &mut self,
        name: &ChannelName,
        is_deletion: bool,
        at: Position,
        commit: &mut Commit,
    ) -> Result<bool, StoreError> {
        let tiers = self.tiers.clone();
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        let mut oldest: Option<(Tier, KeyRow, String)> = None;
        for tier in Tier::ALL {
            if channel.tally(tier).has_row
                && let Some((row, key)) = oldest_in(channel, tier, is_deletion, &commit.keys.gone, &tiers)?
                && oldest.as_ref().is_none_or(|(_, other, _)| row.position < other.position)
            {
                oldest = Some((tier, row, key));
            }
        }
        let oldest = match oldest {
            Some(oldest) => oldest,
            None => match commit.keys.oldest(channel.row.id, is_deletion, at) {
                Some(oldest) => oldest,
                None => return Ok(false),
            },
        };
        let (tier, row, key) = oldest;
        self.take_out(name, &key, (tier, row), true, commit)?;
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        if row.position > channel.row.floor {
            channel.row.floor = row.position;
        }
        channel.row.moved = at;
        commit.keys.touch(name, channel, Stale { row: true, ..Stale::default() });
        self.floors.raise(channel.row.floor, commit.batch(Tier::Durable));
        Ok(true)
    }

    /// Has the oldest values of a channel go that are too old for it, if its rule lets the oldest go. Gives when the next one
    /// is; `None` where it has no values.
    pub(crate) fn drop_aged(
        &mut self,
        name: &ChannelName,
        now_ms: u64,
        commit: &mut Commit,
    ) -> Result<Option<u64>, StoreError> {
        let tiers = self.tiers.clone();
        let mut at = None;
        for _ in 0..SWEEP_ENTRIES_MAX {
            let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
            let age_max = channel.rule.history.age_max.as_millis() as u64;
            let Some(oldest_ms) = time_of_oldest(channel, &commit.keys.gone, &tiers)? else { return Ok(None) };
            let until_ms = oldest_ms.saturating_add(age_max);
            if until_ms > now_ms {
                return Ok(Some(until_ms));
            }
            // One number that no event has, for all of them.
            let moved = match at {
                Some(moved) => moved,
                None => *at.insert(self.next_position()?),
            };
            commit.synced = true;
            if !self.drop_oldest(name, false, moved, commit)? {
                return Ok(None);
            }
        }
        Ok(Some(now_ms + 1))
    }

    /// The value or deletion of a key has left the log, as its time had run out.
    pub(crate) fn forget_value(
        &mut self,
        record: &Record,
        position: Position,
        tier: Tier,
        commit: &mut Commit,
    ) -> Result<(), StoreError> {
        let (Some(name), Some(key)) = (record.channels.first(), record.key.as_deref()) else { return Ok(()) };
        let channel = self.directory.channel(name, &self.rules, &self.tiers)?;
        let row = KeyRow::read(self.tiers.store(tier), &self.tiers.damage, channel.row.id, key)?;
        if let Some(row) = row.filter(|row| row.position == position) {
            commit.batch(tier).remove(Table::Keys, KeyRow::key(channel.row.id, key));
            // Nothing else of this commit must take it out once more.
            commit.keys.gone.insert(position);
            commit.keys.now.insert((channel.row.id, key.to_owned()), None);
            tier.of_pair(&mut channel.held).take(row);
            commit.keys.touch(name, channel, held_in(tier));
        }
        Ok(())
    }

    /// Whether streams that are behind do without a record's event once its key has a later value.
    pub(super) fn is_conflated(&self, record: &Record) -> bool {
        let name = record.channels.first().filter(|_| record.key.is_some());
        name.is_some_and(|name| self.rules.of(name).overflow == Overflow::Conflate)
    }

    /// Adds to a commit what its channels hold with it.
    pub(super) fn write_held(&mut self, commit: &mut Commit) -> Result<(), StoreError> {
        for name in std::mem::take(&mut commit.keys.touched) {
            let channel = self.directory.channel(&name, &self.rules, &self.tiers)?;
            let mut stale = std::mem::take(&mut channel.stale);
            for tier in Tier::ALL {
                if !channel.tally(tier).has_row {
                    continue;
                }
                let held = *tier.of_pair(&mut channel.held);
                let batch = tier.of_pair(&mut commit.batches);
                if *tier.of_pair(&mut stale.held) {
                    batch.put(Table::Keys, Held::key(channel.row.id), held.encode());
                }
                if stale.row {
                    channel.row.put(&name, batch);
                }
            }
        }
        Ok(())
    }
}

impl KeyChanges {
    /// What a key has in each tier, with this commit.
    fn rows(&self, channel: u64, key: &str, tiers: &Tiers) -> Result<[Option<KeyRow>; 2], StoreError> {
        let mut rows = [None; 2];
        match self.now.get(&(channel, key.to_owned())) {
            Some(Some(now)) => *now.tier.of_pair(&mut rows) = Some(now.row),
            Some(None) => {}
            None => {
                for tier in Tier::ALL {
                    *tier.of_pair(&mut rows) = KeyRow::read(tiers.store(tier), &tiers.damage, channel, key)?;
                }
            }
        }
        Ok(rows)
    }

    /// The oldest value or deletion of a channel that this commit brings, but for the one at `but`.
    fn oldest(&self, channel: u64, is_deletion: bool, but: Position) -> Option<(Tier, KeyRow, String)> {
        let of = |((id, key), now): (&(u64, String), &Option<InCommit>)| {
            let now =
                (*now).filter(|now| *id == channel && now.row.is_deleted == is_deletion && now.row.position != but)?;
            Some((now.tier, now.row, key.clone()))
        };
        self.now.iter().filter_map(of).min_by_key(|(_, row, _)| row.position)
    }

    /// Has it write down what of a channel stands otherwise in the stores.
    fn touch(&mut self, name: &ChannelName, channel: &mut Channel, stale: Stale) {
        if channel.stale == Stale::default() {
            self.touched.push(name.clone());
        }
        for tier in Tier::ALL {
            let (mut also, of) = (stale.held, tier.of_pair(&mut channel.stale.held));
            *of |= *tier.of_pair(&mut also);
        }
        channel.stale.row |= stale.row;
    }
}

/// Whether a channel holds more values, or remembers more deletions, than its rule has it do.
fn is_over(channel: &Channel, is_deletion: bool) -> bool {
    let (held, rule) = (channel.held(), &channel.rule);
    if is_deletion {
        return held.deletions > rule.keys_max;
    }
    rule.when_full == WhenFull::DropOldest
        && (held.values > rule.keys_max || held.bytes > rule.history.bytes_max)
        && held.values > 1
}

/// One tier holds something else.
fn held_in(tier: Tier) -> Stale {
    let mut stale = Stale::default();
    *tier.of_pair(&mut stale.held) = true;
    stale
}

#[cfg(test)]
mod tests;
