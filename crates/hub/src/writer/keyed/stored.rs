//! What the stores hold of channels with keys, as far as the writer asks.

use std::collections::HashSet;

use crate::keys::KeyRow;
use crate::log::directory::{Channel, IndexEntry};
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::entries_after;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Order, StoreError, Table, keys_with_prefix};

/// Whether the stores hold nothing of a channel. What the commit in the making brings isn't there yet.
pub(super) fn is_empty(channel: &Channel, tiers: &Tiers) -> Result<bool, StoreError> {
    for tier in Tier::ALL {
        let entries = keys_with_prefix(&channel.row.id.to_be_bytes());
        if tiers.store(tier).scan(Table::ByChannel, entries, Order::Ascending).next().transpose()?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The oldest value or deletion of a channel in one tier's store, and its key.
pub(super) fn oldest_in(
    channel: &mut Channel,
    tier: Tier,
    is_deletion: bool,
    gone: &HashSet<Position>,
    tiers: &Tiers,
) -> Result<Option<(KeyRow, String)>, StoreError> {
    let [values, deletions] = tier.of_pair(&mut channel.fronts);
    let front = if is_deletion { deletions } else { values };
    for entry in entries_after(channel.row.id, *front, tier, tiers) {
        let (position, IndexEntry { bytes, is_deleted, .. }) = entry?;
        if is_deleted != is_deletion {
            continue;
        }
        *front = position.before();
        if gone.contains(&position) {
            continue;
        }
        let value = match tiers.store(tier).get(Table::Log, &position.to_key()) {
            Ok(value) => value,
            // Which key it is of nobody knows any more.
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error),
        };
        let record = value.and_then(|value| Record::decode(&value, position).ok());
        if let Some(key) = record.and_then(|record| record.key) {
            return Ok(Some((KeyRow { position, bytes, is_deleted }, key)));
        }
    }
    Ok(None)
}

/// When a channel's oldest value was published, but for those that are about to go.
pub(super) fn time_of_oldest(
    channel: &mut Channel,
    gone: &HashSet<Position>,
    tiers: &Tiers,
) -> Result<Option<u64>, StoreError> {
    let mut oldest: Option<u64> = None;
    for tier in Tier::ALL {
        if !channel.tally(tier).has_row {
            continue;
        }
        let [front, _] = *tier.of_pair(&mut channel.fronts);
        for entry in entries_after(channel.row.id, front, tier, tiers) {
            let (position, entry) = entry?;
            if !entry.is_deleted && !gone.contains(&position) {
                oldest = Some(oldest.map_or(entry.time_ms, |other| other.min(entry.time_ms)));
                break;
            }
        }
    }
    Ok(oldest)
}
