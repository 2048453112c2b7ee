//! Values of keys, found in the log.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;

use super::channels::Rows;
use super::{Changes, Losses};
use crate::channel_row::Kind;
use crate::directory::{index_key, position_of_key};
use crate::keys::{HasKeys, KeyRow};
use crate::position::Position;
use crate::record::Record;
use crate::store::{Order, StoreError, Table, keys_with_prefix};
use crate::tier::{Tier, Tiers};

/// Gives each key that the log has a value of the last one, and takes out what came back of the others.
pub(super) fn restore(
    tiers: &Tiers,
    losses: &Losses,
    rows: &Rows,
    changes: &mut Changes<'_>,
) -> Result<(), StoreError> {
    let is_lost = [Table::Log, Table::ByChannel, Table::Channels, Table::Meta, Table::Keys]
        .into_iter()
        .any(|table| losses.is_in(table))
        || losses.journals.is_some()
        || HasKeys::is_bereft(&*tiers.durable)?;
    if !is_lost || !rows.values().any(|row| row.kind == Kind::Keys) {
        return Ok(());
    }
    // What it said is of keys and numbers of channels as they were.
    for pair in tiers.scan(Tier::Durable, Table::Keys, keys_with_prefix(b""), Order::Ascending) {
        changes.remove(Table::Keys, pair?.0)?;
    }
    HasKeys::put(&mut changes.batch);
    let mut last: HashMap<(u64, String), Position> = HashMap::new();
    for pair in tiers.scan(Tier::Durable, Table::Log, (Bound::Unbounded, Bound::Unbounded), Order::Ascending) {
        let (key, value) = pair?;
        let Some(position) = position_of_key(&key) else { continue };
        let Ok(Record { key: Some(key), channels, is_deleted, .. }) = Record::decode(&value, position) else {
            continue;
        };
        let Some(row) = channels.first().and_then(|name| rows.get(name)) else { continue };
        if let Some(before) = last.insert((row.id, key.clone()), position) {
            changes.remove(Table::Log, Bytes::copy_from_slice(&before.to_key()))?;
            changes.remove(Table::ByChannel, index_key(row.id, before))?;
        }
        let value = KeyRow { position, bytes: value.len() as u64, is_deleted };
        changes.put(Table::Keys, KeyRow::key(row.id, &key), value.encode())?;
    }
    // The rows that say how much there is are gone, so it is counted when it is asked for.
    Ok(())
}
