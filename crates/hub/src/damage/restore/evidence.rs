//! Which values of keys are good, of those that the log shows after something was lost: removed ones may be back in it.

use std::collections::HashSet;

use super::Losses;
use crate::keys::{HasKeys, KeyRow};
use crate::log::channel_row::ChannelRow;
use crate::log::directory::index_key;
use crate::position::Position;
use crate::store::tier::{Tier, Tiers};
use crate::store::{Order, StoreError, Table, keys_with_prefix};

/// What says so, best first.
pub(super) enum Evidence<'a> {
    /// The table `keys` is whole: it names these places.
    Named(HashSet<Position>),
    /// The index is whole: it has what there is.
    Indexed(&'a Tiers),
    /// Neither is. Above its channel's floor a value counts as good.
    Floors,
}

impl<'a> Evidence<'a> {
    /// The best that there is. To be asked for before anything is put right.
    pub(super) fn of(tiers: &'a Tiers, losses: &Losses) -> Result<Self, StoreError> {
        if !losses.is_in(Table::Keys)
            && !HasKeys::is_bereft(&*tiers.durable)?
            && let Some(named) = named(tiers)?
        {
            return Ok(Self::Named(named));
        }
        let is_whole = ![Table::ByChannel, Table::Channels].into_iter().any(|table| losses.is_in(table));
        // What a lost batch removed of the index is still in it.
        Ok(if is_whole && losses.journals.is_none() { Self::Indexed(tiers) } else { Self::Floors })
    }

    /// Whether a value or deletion in the log is good. `row` is its channel's row, if there was one.
    pub(super) fn is_good(&self, position: Position, row: Option<&ChannelRow>) -> Result<bool, StoreError> {
        let above_floor = || row.is_none_or(|row| position > row.floor);
        match self {
            Self::Named(named) => Ok(named.contains(&position)),
            Self::Indexed(tiers) => {
                let Some(row) = row else { return Ok(false) };
                match tiers.durable.get(Table::ByChannel, &index_key(row.id, position)) {
                    Err(error) if error.is_damage() => Ok(above_floor()),
                    entry => Ok(entry?.is_some()),
                }
            }
            Self::Floors => Ok(above_floor()),
        }
    }
}

/// The places that the table `keys` names, whatever the numbers of their channels; nothing if it says nothing at all, or
/// can't be read.
fn named(tiers: &Tiers) -> Result<Option<HashSet<Position>>, StoreError> {
    let (mut named, mut is_empty) = (HashSet::new(), true);
    let mut scan = tiers.scan(Tier::Durable, Table::Keys, keys_with_prefix(b""), Order::Ascending);
    for pair in scan.by_ref() {
        let (key, value) = pair?;
        is_empty = false;
        if key.len() <= 8 {
            continue;
        }
        let Some(row) = KeyRow::decode(&value) else { return Ok(None) };
        named.insert(row.position);
    }
    Ok((!is_empty && scan.holes.is_empty()).then_some(named))
}
