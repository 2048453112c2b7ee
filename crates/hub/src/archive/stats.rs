//! What a data folder holds, in numbers.

use std::collections::HashMap;

use serde::Serialize;

use super::Archive;
use crate::log::directory::{ChannelRow, IndexEntry, Kind, position_of_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::store::{StoreError, Table};

/// What a data folder holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ArchiveStats {
    /// Events that are kept.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Openings of the log.
    pub epochs: u64,
    /// When the oldest event was published, in milliseconds since the Unix epoch.
    pub oldest: Option<u64>,
    /// When the newest was.
    pub newest: Option<u64>,
    /// Places that can't be read.
    pub damaged: u64,
    /// Each channel that is known.
    pub channels: Vec<ChannelStats>,
}

/// What a data folder holds of a channel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelStats {
    /// Its name.
    pub channel: String,
    /// Events that are kept.
    pub events: u64,
    /// Their bytes. An event of several channels counts in each.
    pub bytes: u64,
    /// When the oldest was published, in milliseconds since the Unix epoch.
    pub oldest: Option<u64>,
    /// When the newest was.
    pub newest: Option<u64>,
}

impl Archive {
    /// Counts what is there.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn stats(&self) -> Result<ArchiveStats, StoreError> {
        let mut stats = ArchiveStats {
            epochs: self.epochs.len() as u64,
            disk_bytes: self.tiers.durable.disk_bytes()?,
            ..ArchiveStats::default()
        };
        let mut of_id = HashMap::new();
        let mut damaged = self.holes(Table::Channels, |key, value| {
            if let Some(row) = ChannelRow::decode(value) {
                let channel = String::from_utf8_lossy(key).into_owned();
                let count = ChannelStats { channel, events: 0, bytes: 0, oldest: None, newest: None };
                // Below the floor of a channel with keys there are values still.
                let floor = if row.kind == Kind::Keys { Position::ORIGIN } else { row.floor };
                of_id.insert(row.id, (floor, count));
            }
            Ok(())
        })?;
        damaged += self.holes(Table::ByChannel, |key, value| {
            let id = key.first_chunk().map(|id| u64::from_be_bytes(*id));
            if let (Some(position), Some(entry), Some((floor, count))) =
                (position_of_key(key), IndexEntry::decode(value), id.and_then(|id| of_id.get_mut(&id)))
                && position > *floor
            {
                count.events += 1;
                count.bytes += entry.bytes;
                count.oldest = count.oldest.or(Some(entry.time_ms));
                count.newest = Some(entry.time_ms);
            }
            Ok(())
        })?;
        damaged += self.holes(Table::Log, |key, value| {
            let value = bytes::Bytes::copy_from_slice(value);
            match position_of_key(key).map(|position| Record::decode(&value, position)) {
                Some(Ok(record)) => {
                    stats.events += 1;
                    stats.bytes += value.len() as u64;
                    stats.oldest = stats.oldest.or(Some(record.time_ms));
                    stats.newest = Some(record.time_ms);
                }
                _ => stats.damaged += 1,
            }
            Ok(())
        })?;
        stats.damaged += damaged as u64;
        stats.channels = of_id.into_values().map(|(_, count)| count).collect();
        stats.channels.sort_by(|a, b| a.channel.cmp(&b.channel));
        Ok(stats)
    }
}
