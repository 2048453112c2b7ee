//! Channels, their indexes and what is due, written anew from the log.

use std::collections::HashMap;
use std::ops::Bound;

use super::evidence::Evidence;
use super::{Changes, Losses, put_next_id};
use crate::channel::ChannelName;
use crate::ending::Deed;
use crate::log::directory::{self, ChannelRow, IndexEntry, Kind, index_key, position_of_key};
use crate::log::idempotency::Published;
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::due::Due;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Order, StoreError, Table, keys_with_prefix};

/// The rows of all channels.
pub(super) type Rows = HashMap<ChannelName, ChannelRow>;

/// A channel, as the pass over the log finds it.
struct Seen {
    row: ChannelRow,
    /// Whether the row is another one than the store has.
    is_new: bool,
    /// The number and bytes of its next index entry, once its first event was met.
    next: Option<(u64, u64)>,
}

impl Seen {
    /// Has the row say what an event did, unless it knows what came later.
    fn do_deed(&mut self, deed: Option<Deed>, position: Position) {
        if self.row.end.is_some_and(|(ended, _)| ended > position) {
            return;
        }
        let end = match deed {
            Some(Deed::End(reason)) => Some((position, reason)),
            Some(Deed::Reopen) => None,
            Some(Deed::None | Deed::Fence) | None => return,
        };
        (self.row.end, self.is_new) = (end, true);
    }
}

/// Reads all rows.
pub(super) fn read(tiers: &Tiers) -> Result<Rows, StoreError> {
    let mut rows = HashMap::new();
    for pair in tiers.scan(Tier::Durable, Table::Channels, keys_with_prefix(b""), Order::Ascending) {
        let (key, value) = pair?;
        let name = std::str::from_utf8(&key).ok().and_then(|name| ChannelName::new(name).ok());
        rows.extend(name.zip(ChannelRow::decode(&value)));
    }
    Ok(rows)
}

/// Goes over the log above a position. No floor was above `highest`. Returns all rows.
pub(super) fn restore(
    tiers: &Tiers,
    losses: &Losses,
    evidence: &Evidence<'_>,
    (from, highest): (Position, Position),
    changes: &mut Changes<'_>,
) -> Result<Rows, StoreError> {
    let rows = read(tiers)?;
    let used = remove_unknown(tiers, &rows, changes)?;
    let seen = |(name, row)| (name, Seen { row, is_new: false, next: None });
    let next_id = put_next_id(used, losses, changes)?;
    let mut pass = Pass { tiers, losses, evidence, highest, next_id, channels: rows.into_iter().map(seen).collect() };
    pass.recall(changes)?;
    let range = (Bound::Excluded(from.to_key().to_vec()), Bound::Unbounded);
    for pair in tiers.scan(Tier::Durable, Table::Log, range, Order::Ascending) {
        let (key, value) = pair?;
        let Some(position) = position_of_key(&key) else { continue };
        if let Ok(record) = Record::decode(&value, position) {
            pass.take(position, &record, value.len() as u64, changes)?;
        }
    }
    pass.finish(changes)?;
    if losses.is_in(Table::Due) {
        restore_due(tiers, changes)?;
    }
    Ok(pass.channels.into_iter().map(|(name, seen)| (name, seen.row)).collect())
}

/// Removes what the index has of channels that nobody knows any more. Returns the highest number of a channel.
fn remove_unknown(tiers: &Tiers, rows: &Rows, changes: &mut Changes<'_>) -> Result<u64, StoreError> {
    let known: std::collections::HashSet<u64> = rows.values().map(|row| row.id).collect();
    let mut used = known.iter().max().copied().unwrap_or_default();
    let mut from = Bound::Unbounded;
    loop {
        let range = (from, Bound::Unbounded);
        let next = tiers.scan(Tier::Durable, Table::ByChannel, range, Order::Ascending).next().transpose()?;
        let Some(id) = next.and_then(|(key, _)| key.first_chunk().map(|id| u64::from_be_bytes(*id))) else { break };
        used = used.max(id);
        if !known.contains(&id) {
            let all = keys_with_prefix(&id.to_be_bytes());
            for pair in tiers.scan(Tier::Durable, Table::ByChannel, all, Order::Ascending) {
                changes.remove(Table::ByChannel, pair?.0)?;
            }
        }
        let Some(next) = id.checked_add(1) else { break };
        from = Bound::Included(next.to_be_bytes().to_vec());
    }
    Ok(used)
}

/// A pass over the log.
struct Pass<'a> {
    tiers: &'a Tiers,
    losses: &'a Losses,
    evidence: &'a Evidence<'a>,
    highest: Position,
    next_id: u64,
    channels: HashMap<ChannelName, Seen>,
}

impl Pass<'_> {
    /// Has rows that are lost say of ends and fences what their copies say.
    fn recall(&mut self, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        for pair in self.tiers.scan(Tier::Durable, Table::Meta, ChannelRow::copies(), Order::Ascending) {
            let (key, value) = pair?;
            let (Some(name), Some(copy)) = (ChannelRow::is_copy_of(&key), ChannelRow::decode(&value)) else { continue };
            if !self.losses.may_be_old(Table::Channels, name.as_str().as_bytes()) {
                if !self.channels.contains_key(&name) {
                    // The channel was forgotten, and mending brought the copy back.
                    changes.remove(Table::Meta, key)?;
                }
                continue;
            }
            let seen = self.channels.entry(name).or_insert_with(|| {
                self.next_id += 1;
                let row = ChannelRow { id: self.next_id - 1, kind: copy.kind, ..ChannelRow::default() };
                Seen { row, is_new: true, next: None }
            });
            let row = seen.row;
            if copy.fence > row.fence {
                let ChannelRow { fence, fenced, fenced_ms, .. } = copy;
                seen.row = ChannelRow { fence, fenced, fenced_ms, ..row };
            }
            // Of the two the copy is the newer one, unless it may be an old one itself.
            let ended = |row: &ChannelRow| row.end.map(|(position, _)| position);
            if !self.losses.may_be_old(Table::Meta, &key) || ended(&copy) > ended(&row) {
                seen.row.end = copy.end;
            }
            seen.is_new |= seen.row != row;
        }
        Ok(())
    }

    /// Takes an event, in order.
    fn take(
        &mut self,
        position: Position,
        record: &Record,
        bytes: u64,
        changes: &mut Changes<'_>,
    ) -> Result<(), StoreError> {
        let row = record.channels.first().and_then(|name| self.channels.get(name)).map(|seen| &seen.row);
        if record.key.is_some() && !self.evidence.is_good(position, row)? {
            // It was removed, and is again with the values.
            return Ok(());
        }
        if let Some(at_ms) = record.expires_ms {
            Due::Event(position).put(at_ms, &mut changes.batch);
        }
        let deed = record.name.as_deref().and_then(|name| Deed::of_event(name, &record.data));
        for name in &record.channels {
            let floor = self.highest.min(position.before());
            let is_lost = self.losses.may_be_old(Table::Channels, name.as_str().as_bytes());
            let floor = if is_lost { floor } else { Position::ORIGIN };
            let moved = |row: ChannelRow| ChannelRow { floor, moved: self.highest.max(floor), ..row };
            let seen = self.channels.entry(name.clone()).or_insert_with(|| {
                self.next_id += 1;
                let row = ChannelRow { id: self.next_id - 1, ..ChannelRow::default() };
                Seen { row: moved(row), is_new: true, next: None }
            });
            let next = if let Some(next) = seen.next {
                next
            } else {
                // It lost no event before its first one but by its floor.
                if floor > seen.row.floor {
                    (seen.row, seen.is_new) = (moved(seen.row), true);
                }
                before(self.tiers, seen.row.id, position)?
            };
            seen.next = Some(next);
            if is_lost || seen.is_new {
                seen.do_deed(deed, position);
            }
            if record.key.is_some() && seen.row.kind != Kind::Keys {
                (seen.row.kind, seen.is_new) = (Kind::Keys, true);
            }
            if position > seen.row.floor || record.key.is_some() {
                let entry = IndexEntry {
                    number: next.0,
                    bytes_before: next.1,
                    bytes,
                    time_ms: record.time_ms,
                    shared: record.channels.len() > 1,
                    is_deleted: record.is_deleted,
                };
                seen.next = Some(restore_entry(self.tiers, seen.row.id, position, entry, changes)?);
            }
        }
        Ok(())
    }

    /// Writes the rows that changed.
    fn finish(&mut self, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        // What of them was removed, if they have nothing left.
        for (name, seen) in self.channels.iter_mut().filter(|(_, seen)| seen.next.is_none()) {
            if self.losses.may_be_old(Table::Channels, name.as_str().as_bytes()) && seen.row.floor < self.highest {
                seen.row = ChannelRow { floor: self.highest, moved: self.highest, ..seen.row };
                seen.is_new = true;
            }
        }
        let has_lost_copy = |row: &ChannelRow| row.has_copy() && self.losses.is_in(Table::Meta);
        for (name, seen) in self.channels.iter().filter(|(_, seen)| seen.is_new || has_lost_copy(&seen.row)) {
            seen.row.put(name, &mut changes.batch);
            if !seen.row.has_copy() {
                ChannelRow::remove_copy(name, &mut changes.batch);
            }
            changes.go_on()?;
        }
        directory::put_next_id(self.next_id, &mut changes.batch);
        Ok(())
    }
}

/// The number and bytes that come after what a channel's index has below a position.
fn before(tiers: &Tiers, id: u64, position: Position) -> Result<(u64, u64), StoreError> {
    let range = (Bound::Included(index_key(id, Position::ORIGIN)), Bound::Excluded(index_key(id, position)));
    let last = tiers.scan(Tier::Durable, Table::ByChannel, range, Order::Descending).next().transpose()?;
    let entry = last.and_then(|(_, value)| IndexEntry::decode(&value));
    Ok(entry.map_or((0, 0), |entry| (entry.number + 1, entry.bytes_before + entry.bytes)))
}

/// Writes an index entry where there is none, or one that counts too little. Returns what the next one counts.
fn restore_entry(
    tiers: &Tiers,
    id: u64,
    position: Position,
    entry: IndexEntry,
    changes: &mut Changes<'_>,
) -> Result<(u64, u64), StoreError> {
    let key = index_key(id, position);
    let after = |entry: IndexEntry| (entry.number + 1, entry.bytes_before + entry.bytes);
    let found = match tiers.durable.get(Table::ByChannel, &key) {
        // The log is read where the index can't be.
        Err(error) if error.is_damage() => return Ok(after(entry)),
        found => found?.and_then(|value| IndexEntry::decode(&value)),
    };
    if let Some(found) = found.filter(|found| found.number >= entry.number && found.bytes_before >= entry.bytes_before)
    {
        return Ok(after(found));
    }
    changes.put(Table::ByChannel, key, entry.encode())?;
    Ok(after(entry))
}

/// Has idempotency keys forgotten in their time.
fn restore_due(tiers: &Tiers, changes: &mut Changes<'_>) -> Result<(), StoreError> {
    for pair in tiers.scan(Tier::Durable, Table::Idempotency, keys_with_prefix(b""), Order::Ascending) {
        let (key, value) = pair?;
        if let Some(until_ms) = Published::until_ms(&value) {
            Due::Idempotency(key.to_vec()).put(until_ms, &mut changes.batch);
            changes.go_on()?;
        }
    }
    Ok(())
}
