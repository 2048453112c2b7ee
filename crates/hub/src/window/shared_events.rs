//! Which events of several channels are still kept by one of them. Asked again and again while its channels let go of an
//! event, one by one, so the channel that still keeps it is remembered: floors only rise, so those before it need never be
//! asked again.

use std::collections::HashMap;

use crate::channel::ChannelName;
use crate::log::directory::{ChannelRow, index_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::store::tier::{Tier, Tiers};
use crate::store::{StoreError, Table};

/// Events of which something is remembered; beyond this all is forgotten.
const REMEMBERED_MAX: usize = 1_024;

/// What is known of events that several channels share.
#[derive(Debug, Default)]
pub(crate) struct SharedEvents {
    /// The first of an event's channels that kept it when that was asked last: its place in the record, and its name.
    keepers: HashMap<Position, (usize, ChannelName)>,
}

impl SharedEvents {
    /// Whether some channel of an event has a stored floor below it.
    pub(crate) fn is_kept(&mut self, position: Position, tier: Tier, tiers: &Tiers) -> Result<bool, StoreError> {
        let store = tiers.store(tier);
        let keeps = |name: &ChannelName| match ChannelRow::read(store, name) {
            // One that was forgotten and began anew has nothing of before.
            Ok(Some(row)) if row.floor < position => {
                Ok(store.get(Table::ByChannel, &index_key(row.id, position))?.is_some())
            }
            Ok(_) => Ok(false),
            // What a damaged row says nobody knows.
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        };
        let known = self.keepers.remove(&position);
        let mut first = 0;
        if let Some((at, keeper)) = known {
            if keeps(&keeper)? {
                self.keepers.insert(position, (at, keeper));
                return Ok(true);
            }
            first = at + 1;
        }
        let value = match store.get(Table::Log, &position.to_key()) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(false),
            // Whose it is nobody knows. Its place must tell the others so.
            Err(error) if error.is_damage() => return Ok(true),
            Err(error) => return Err(error),
        };
        let Ok(record) = Record::decode(&value, position) else { return Ok(true) };
        for (at, name) in record.channels.into_iter().enumerate().skip(first) {
            if keeps(&name)? {
                if self.keepers.len() >= REMEMBERED_MAX {
                    self.keepers.clear();
                }
                self.keepers.insert(position, (at, name));
                return Ok(true);
            }
        }
        Ok(false)
    }
}
