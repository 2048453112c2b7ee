//! What is asked about channels, beside their events.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{History, Known, PageBuilder, index_range};
use crate::channel::ChannelName;
use crate::keys::{Held, KeyRow};
use crate::limits::{HISTORY_BYTES_MAX, VALUE_READS_MAX};
use crate::log::directory::{IndexEntry, Kind, position_of_key};
use crate::position::Position;
use crate::store::tier::Tier;
use crate::store::{Order, StoreError, Table, keys_with_prefix};
use crate::window::entry::Entry;

impl History {
    /// Events and bytes of a channel, and its newest position.
    pub(crate) fn tally(&self, known: Known) -> Result<(u64, u64, Option<Position>), StoreError> {
        if known.row.kind == Kind::Keys {
            return self.tally_of_keys(known);
        }
        let (mut events, mut bytes, mut head) = (0, 0, None);
        for (tier, id) in Tier::ALL.into_iter().zip(known.ids) {
            let Some(id) = id else { continue };
            let edge = |order| -> Result<Option<(Position, IndexEntry)>, StoreError> {
                let range = index_range(id, known.row.floor, Position::LAST);
                let pair = self.tiers.scan(tier, Table::ByChannel, range, order).next().transpose()?;
                Ok(pair.and_then(|(key, value)| Some((position_of_key(&key)?, IndexEntry::decode(&value)?))))
            };
            if let (Some((_, first)), Some((newest, last))) = (edge(Order::Ascending)?, edge(Order::Descending)?) {
                events += last.number.saturating_sub(first.number) + 1;
                bytes += (last.bytes_before + last.bytes).saturating_sub(first.bytes_before);
                head = head.max(Some(newest));
            }
        }
        Ok((events, bytes, head))
    }

    /// The same of a channel with keys: values and their bytes, and the newest position, also if that is a deletion.
    fn tally_of_keys(&self, known: Known) -> Result<(u64, u64, Option<Position>), StoreError> {
        let (mut sum, mut head) = (Held::default(), None);
        for (tier, id) in Tier::ALL.into_iter().zip(known.ids) {
            let Some(id) = id else { continue };
            sum = sum + Held::read(self.tiers.store(tier), &self.tiers.damage, id)?;
            let range = index_range(id, Position::ORIGIN, Position::LAST);
            let newest = self.tiers.scan(tier, Table::ByChannel, range, Order::Descending).next().transpose()?;
            head = head.max(newest.and_then(|(key, _)| position_of_key(&key)));
        }
        Ok((sum.values, sum.bytes, head))
    }

    /// Whether a channel has index entries above one position, up to another.
    pub(crate) fn has_any(&self, ids: [Option<u64>; 2], above: Position, upto: Position) -> Result<bool, StoreError> {
        for (tier, id) in Tier::ALL.into_iter().zip(ids) {
            let Some(id) = id else { continue };
            let range = index_range(id, above, upto);
            let mut entries = self.tiers.scan(tier, Table::ByChannel, range, Order::Ascending);
            if entries.next().transpose()?.is_some() || !entries.holes.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Names of channels in bytewise order, beginning with `prefix` and after `after`.
    pub(crate) fn names(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ChannelName>, StoreError> {
        let mut names = std::collections::BTreeSet::new();
        for tier in Tier::ALL {
            let mut range = keys_with_prefix(prefix.as_bytes());
            if after >= prefix {
                range.0 = Bound::Excluded(after.as_bytes().to_vec());
            }
            for pair in self.tiers.scan(tier, Table::Channels, range, Order::Ascending).take(limit) {
                let (key, _) = pair?;
                names.extend(std::str::from_utf8(&key).ok().and_then(|text| ChannelName::new(text).ok()));
            }
        }
        Ok(names.into_iter().take(limit).collect())
    }

    /// Values of a channel's keys after one of them, in the order of the keys, at most `limit`; and the last key looked at,
    /// where there may be more.
    pub(crate) fn values(
        &self,
        known: Known,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<Arc<Entry>>, Option<String>), StoreError> {
        let mut rows: BTreeMap<String, (KeyRow, Tier)> = BTreeMap::new();
        for (tier, id) in Tier::ALL.into_iter().zip(known.ids) {
            let Some(id) = id else { continue };
            let range = (Bound::Excluded(KeyRow::key(id, after)), keys_with_prefix(&id.to_be_bytes()).1);
            let mut left = limit.saturating_add(1);
            for pair in self.tiers.scan(tier, Table::Keys, range, Order::Ascending) {
                let (key, value) = pair?;
                let key = key.get(8..).and_then(|key| std::str::from_utf8(key).ok());
                let Some((key, row)) = key.zip(KeyRow::decode(&value)).filter(|(_, row)| !row.is_deleted) else {
                    continue;
                };
                if rows.get(key).is_none_or(|(other, _)| other.position < row.position) {
                    rows.insert(key.to_owned(), (row, tier));
                }
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        let mut page = self.page();
        let (mut missed, mut last, mut looked_at, mut next) = (Vec::new(), None, 0, None);
        for (key, (row, tier)) in rows {
            if looked_at == limit || page.bytes >= HISTORY_BYTES_MAX {
                next = last;
                break;
            }
            if !page.push_value(row.position, tier)? {
                missed.push((key.clone(), row.position));
            }
            looked_at += 1;
            last = Some(key);
        }
        Ok((self.values_of_page(page, known, missed)?, next))
    }

    /// The value of one key.
    pub(crate) fn value(&self, known: Known, key: &str) -> Result<Option<Arc<Entry>>, StoreError> {
        let Some((row, tier)) = self.row_of_value(known, key)? else { return Ok(None) };
        let mut page = self.page();
        let missed = if page.push_value(row.position, tier)? { None } else { Some((key.to_owned(), row.position)) };
        Ok(self.values_of_page(page, known, missed.into_iter().collect())?.pop())
    }

    /// The values of a page in the order of their keys. Where the record of a key had gone when it was looked for, here
    /// `missed` with its position, the key has another value by now, or none; that is looked up again.
    fn values_of_page(
        &self,
        mut page: PageBuilder<'_>,
        known: Known,
        mut missed: Vec<(String, Position)>,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        for _ in 0..VALUE_READS_MAX {
            let gone = page.take_gone()?;
            missed.extend(gone.into_iter().filter_map(|entry| Some((entry.record.key.clone()?, entry.position))));
            if missed.is_empty() {
                break;
            }
            for (key, before) in std::mem::take(&mut missed) {
                // The same row again: its record has expired, or is damaged.
                if let Some((row, tier)) = self.row_of_value(known, &key)?.filter(|(row, _)| row.position != before)
                    && !page.push_value(row.position, tier)?
                {
                    missed.push((key, row.position));
                }
            }
        }
        let mut entries = page.finish(Position::LAST)?.entries;
        entries.sort_by(|a, b| a.record.key.cmp(&b.record.key));
        Ok(entries)
    }

    /// Where the value of a key is, if it has one.
    fn row_of_value(&self, known: Known, key: &str) -> Result<Option<(KeyRow, Tier)>, StoreError> {
        let mut found: Option<(KeyRow, Tier)> = None;
        for (tier, id) in Tier::ALL.into_iter().zip(known.ids) {
            let Some(id) = id else { continue };
            if let Some(row) = KeyRow::read(self.tiers.store(tier), &self.tiers.damage, id, key)?
                && found.is_none_or(|(other, _)| other.position < row.position)
            {
                found = Some((row, tier));
            }
        }
        Ok(found.filter(|(row, _)| !row.is_deleted))
    }
}

impl PageBuilder<'_> {
    /// Adds a value. Returns whether it was there.
    fn push_value(&mut self, position: Position, tier: Tier) -> Result<bool, StoreError> {
        let count = self.entries.len();
        self.push(position, tier)?;
        Ok(self.entries.len() > count)
    }
}

#[cfg(test)]
mod tests;
