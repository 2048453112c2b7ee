//! What is asked about channels, beside their events.

use std::ops::Bound;

use super::{History, Known, index_range};
use crate::channel::ChannelName;
use crate::directory::{IndexEntry, Kind, position_of_key};
use crate::keys::Held;
use crate::position::Position;
use crate::store::{Order, StoreError, Table, keys_with_prefix};
use crate::tier::Tier;

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
}
