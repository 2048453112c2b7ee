//! Parts of the log that mending took: told by the index as exactly as it knows them.

use std::ops::Bound;

use super::channels::Rows;
use super::{Changes, Losses};
use crate::log::directory::{index_key, position_of_key};
use crate::position::Position;
use crate::store::tier::{Tier, Tiers};
use crate::store::{LostRows, Order, StoreError, Table};
use crate::writer::LostPart;

/// Notes the parts of the log that were lost. The log ended at `end` at the latest.
pub(super) fn restore(
    tiers: &Tiers,
    losses: &Losses,
    rows: &Rows,
    end: Position,
    changes: &mut Changes<'_>,
) -> Result<(), StoreError> {
    let mut parts: Vec<LostPart> =
        losses.rows.iter().filter(|lost| lost.table == Table::Log).map(|lost| part(lost, end)).collect();
    if parts.is_empty() {
        return Ok(());
    }
    // What the index lost was written anew from the log alone.
    let is_indexed = ![Table::ByChannel, Table::Channels].into_iter().any(|table| losses.is_in(table));
    if is_indexed {
        parts = narrow(tiers, rows, &parts)?;
    }
    for part in parts.iter().filter(|part| part.from < part.to) {
        tracing::error!(from = ?part.from, to = ?part.to, "a part of the log is lost; listeners are told a gap");
        part.put(&mut changes.batch);
    }
    Ok(())
}

/// Between which positions rows of the log are lost.
fn part(lost: &LostRows, end: Position) -> LostPart {
    let position = |key: &Option<Vec<u8>>| key.as_deref().and_then(position_of_key);
    LostPart {
        from: position(&lost.after).unwrap_or_default(),
        to: position(&lost.before).map_or(end, Position::before),
        is_indexed: false,
    }
}

/// Makes parts as small as the events that the index has and the log doesn't.
fn narrow(tiers: &Tiers, rows: &Rows, parts: &[LostPart]) -> Result<Vec<LostPart>, StoreError> {
    let mut narrow: Vec<Option<LostPart>> = vec![None; parts.len()];
    for row in rows.values() {
        for (part, narrow) in parts.iter().zip(&mut narrow) {
            let above = part.from.max(row.floor);
            if above >= part.to {
                continue;
            }
            let range = (Bound::Excluded(index_key(row.id, above)), Bound::Included(index_key(row.id, part.to)));
            for pair in tiers.scan(Tier::Durable, Table::ByChannel, range, Order::Ascending) {
                let Some(position) = position_of_key(&pair?.0) else { continue };
                if matches!(tiers.durable.get(Table::Log, &position.to_key()), Ok(None)) {
                    let (from, to) = (position.before(), position);
                    let grown = narrow.map_or((from, to), |so_far| (so_far.from.min(from), so_far.to.max(to)));
                    *narrow = Some(LostPart { from: grown.0, to: grown.1, is_indexed: true });
                }
            }
        }
    }
    Ok(narrow.into_iter().flatten().collect())
}
