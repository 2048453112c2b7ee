//! Values of keys, found in the log.

use std::collections::HashMap;

use bytes::Bytes;

use super::channels::Rows;
use super::evidence::Evidence;
use super::{Changes, Losses};
use crate::keys::{HasKeys, KeyRow, OF_NONE};
use crate::log::channel_row::Kind;
use crate::log::directory::{index_key, position_of_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::due::Due;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Order, StoreError, Table, keys_with_prefix};

/// What keys have, by the numbers of their channels.
type Last = HashMap<(u64, String), KeyRow>;

/// Gives each key that the log has a good value of the last one, and takes out what came back of the others.
pub(super) fn restore(
    tiers: &Tiers,
    losses: &Losses,
    rows: &Rows,
    evidence: &Evidence<'_>,
    changes: &mut Changes<'_>,
) -> Result<(), StoreError> {
    let is_bereft = HasKeys::is_bereft(&*tiers.durable)?;
    let is_lost = [Table::Log, Table::ByChannel, Table::Channels, Table::Meta, Table::Keys]
        .into_iter()
        .any(|table| losses.is_in(table))
        || losses.journals.is_some()
        || is_bereft;
    let with_keys = || rows.iter().filter(|(_, row)| row.kind == Kind::Keys).map(|(name, _)| name);
    let has_any = with_keys().next().is_some();
    if is_lost && has_any {
        let last = read(tiers, rows, evidence, changes)?;
        write(tiers, last, changes)?;
    }
    // Last, and so with the commit that is synced: until then all of it is done again.
    if is_bereft || (is_lost && has_any) {
        HasKeys::restore(with_keys(), &mut changes.batch);
    }
    Ok(())
}

/// Reads what the keys have, and has the log give up what they have no more.
fn read(tiers: &Tiers, rows: &Rows, evidence: &Evidence<'_>, changes: &mut Changes<'_>) -> Result<Last, StoreError> {
    let (mut last, mut removed) = (Last::new(), 0_u64);
    for pair in tiers.scan(Tier::Durable, Table::Log, keys_with_prefix(b""), Order::Ascending) {
        let (log_key, value) = pair?;
        let Some(position) = position_of_key(&log_key) else { continue };
        let Ok(Record { key: Some(key), channels, is_deleted, expires_ms, .. }) = Record::decode(&value, position)
        else {
            continue;
        };
        let Some(row) = channels.first().and_then(|name| rows.get(name)) else { continue };
        if !evidence.is_good(position, Some(row))? {
            removed += 1;
            remove(row.id, position, changes)?;
            continue;
        }
        // What was due may be done already, and its mark gone.
        if let Some(at_ms) = expires_ms {
            Due::Event(position).put(at_ms, &mut changes.batch);
            changes.go_on()?;
        }
        let of = KeyRow { position, bytes: value.len() as u64, is_deleted };
        if let Some(before) = last.insert((row.id, key), of) {
            removed += 1;
            remove(row.id, before.position, changes)?;
        }
    }
    if removed > 0 {
        tracing::warn!(removed, "removed values of keys were in the log again, or may be; they are removed once more");
    }
    Ok(last)
}

/// Removes a value from the log and from its channel.
fn remove(channel: u64, position: Position, changes: &mut Changes<'_>) -> Result<(), StoreError> {
    changes.remove(Table::ByChannel, index_key(channel, position))?;
    changes.remove(Table::Log, Bytes::copy_from_slice(&position.to_key()))
}

/// Has the table `keys` say that. How much channels hold is counted when it is asked for.
fn write(tiers: &Tiers, last: Last, changes: &mut Changes<'_>) -> Result<(), StoreError> {
    let rows = last.into_iter().map(|((id, key), row)| (KeyRow::key(id, &key), row.encode()));
    let rows: HashMap<Vec<u8>, Vec<u8>> = rows.collect();
    // First what is new, so that what there is to go by never becomes less.
    for (key, row) in &rows {
        changes.put(Table::Keys, key.clone(), row.clone())?;
    }
    for pair in tiers.scan(Tier::Durable, Table::Keys, keys_with_prefix(b""), Order::Ascending) {
        let (key, _) = pair?;
        if !rows.contains_key(&*key) && *key != OF_NONE.to_be_bytes() {
            changes.remove(Table::Keys, key)?;
        }
    }
    Ok(())
}
