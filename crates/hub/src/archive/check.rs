//! Whether a data folder is whole: every byte is read, every checksum looked at, and the tables are held against each other.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::Archive;
use crate::channel::ChannelName;
use crate::keys::{Held, KeyRow, OF_NONE};
use crate::log::directory::{ChannelRow, IndexEntry, Kind, index_key, position_of_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::floors::Floors;
use crate::store::{StoreError, Table};
use crate::writer::LostPart;

/// Problems that are put in words; more of them are only counted.
const PROBLEMS_MAX: usize = 1_000;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Channels that are known.
    pub channels: u64,
    /// Events that could be read.
    pub events: u64,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problems_count: u64,
    /// Parts of the log that were lost earlier, of which listeners are told: from one id, up to another.
    pub lost: Vec<(String, String)>,
}

impl Report {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem());
        }
    }

    fn add_holes(&mut self, table: Table, count: usize) {
        for _ in 0..count {
            self.add(|| format!("table `{}`: a part of it can't be read", table.as_str()));
        }
    }
}

impl Archive {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn check(&self) -> Result<Report, StoreError> {
        let mut report = Report::default();
        for table in [Table::Meta, Table::Epochs, Table::Idempotency, Table::Due] {
            report.add_holes(table, self.holes(table, |_, _| Ok(()))?);
        }
        let parts = super::lost_of(&self.tiers, Position::ORIGIN)?;
        for part in &parts {
            report.lost.push((self.cursor(part.from).to_text(), self.cursor(part.to).to_text()));
        }
        let rows = self.check_rows(&mut report)?;
        self.check_log(&rows, &mut report)?;
        self.check_index(&rows, &parts, &mut report)?;
        self.check_keys(&rows, &mut report)?;
        Ok(report)
    }

    /// Looks at the channels: names, ids, floors.
    fn check_rows(&self, report: &mut Report) -> Result<HashMap<ChannelName, ChannelRow>, StoreError> {
        let highest = Floors::open(&*self.tiers.durable)?.highest();
        let (mut rows, mut ids) = (HashMap::new(), HashSet::new());
        let holes = self.holes(Table::Channels, |key, value| {
            let name = std::str::from_utf8(key).ok().and_then(|name| ChannelName::new(name).ok());
            let (Some(name), Some(row)) = (name, ChannelRow::decode(value)) else {
                report.add(|| format!("table `channels`: the row of {:?} is damaged", String::from_utf8_lossy(key)));
                return Ok(());
            };
            if !ids.insert(row.id) {
                report.add(|| format!("channel {name}: another channel has the same number"));
            }
            if row.floor > highest {
                report.add(|| format!("channel {name}: its floor is above the highest floor of all"));
            }
            rows.insert(name, row);
            Ok(())
        })?;
        report.add_holes(Table::Channels, holes);
        report.channels = rows.len() as u64;
        Ok(rows)
    }

    /// Looks at the events: checksums, epochs, and whether their channels' indexes have them.
    fn check_log(&self, rows: &HashMap<ChannelName, ChannelRow>, report: &mut Report) -> Result<(), StoreError> {
        let mut time_ms = 0;
        let holes = self.holes(Table::Log, |key, value| {
            let Some(position) = position_of_key(key) else {
                report.add(|| "table `log`: a key is no position".into());
                return Ok(());
            };
            let id = || self.cursor(position).to_text();
            let record = match Record::decode(&Bytes::copy_from_slice(value), position) {
                Ok(record) => record,
                Err(error) => {
                    report.add(|| format!("event {}: {error}", id()));
                    return Ok(());
                }
            };
            report.events += 1;
            if !self.epochs.iter().any(|epoch| epoch.ordinal == position.ordinal()) {
                report.add(|| format!("event {}: its epoch is unknown", id()));
            }
            if record.time_ms < time_ms {
                report.add(|| format!("event {}: it is older than the one before it", id()));
            }
            time_ms = record.time_ms.max(time_ms);
            for name in &record.channels {
                let Some(row) = rows.get(name) else {
                    report.add(|| format!("event {}: its channel {name} is unknown", id()));
                    continue;
                };
                let entry = self.tiers.durable.get(Table::ByChannel, &index_key(row.id, position));
                // What is below the floor is about to be removed, the one before the other.
                if position > row.floor && matches!(entry, Ok(None)) {
                    report.add(|| format!("event {}: the index of its channel {name} doesn't have it", id()));
                }
            }
            Ok(())
        })?;
        report.add_holes(Table::Log, holes);
        Ok(())
    }

    /// Looks at the indexes: whether the log has what they have.
    fn check_index(
        &self,
        rows: &HashMap<ChannelName, ChannelRow>,
        parts: &[LostPart],
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let of_id: HashMap<u64, (&ChannelName, Position)> =
            rows.iter().map(|(name, row)| (row.id, (name, row.floor))).collect();
        let mut last: Option<(u64, u64)> = None;
        let holes = self.holes(Table::ByChannel, |key, value| {
            let id = key.first_chunk().map(|id| u64::from_be_bytes(*id));
            let (Some(id), Some(position), Some(entry)) = (id, position_of_key(key), IndexEntry::decode(value)) else {
                report.add(|| "table `by_channel`: an entry is damaged".into());
                return Ok(());
            };
            let Some((name, floor)) = of_id.get(&id) else {
                report.add(|| format!("table `by_channel`: channel number {id} is unknown"));
                return Ok(());
            };
            if last.is_some_and(|(of, number)| of == id && entry.number <= number) {
                report.add(|| format!("channel {name}: its index miscounts at {}", self.cursor(position).to_text()));
            }
            last = Some((id, entry.number));
            let record = self.tiers.durable.get(Table::Log, &position.to_key());
            let is_lost = parts.iter().any(|part| part.from < position && position <= part.to);
            if position > *floor && !is_lost && matches!(record, Ok(None)) {
                let event = self.cursor(position).to_text();
                report.add(|| format!("channel {name}: event {event} is in its index, but not in the log"));
            }
            Ok(())
        })?;
        report.add_holes(Table::ByChannel, holes);
        Ok(())
    }

    /// Looks at the keys: whether the log has their values, and whether channels hold what they say.
    fn check_keys(&self, rows: &HashMap<ChannelName, ChannelRow>, report: &mut Report) -> Result<(), StoreError> {
        let of_id: HashMap<u64, &ChannelName> = rows.iter().map(|(name, row)| (row.id, name)).collect();
        let (mut said, mut found): (HashMap<u64, Held>, HashMap<u64, Held>) = Default::default();
        let holes = self.holes(Table::Keys, |key, value| {
            let Some((id, key)) = key.split_first_chunk().map(|(id, key)| (u64::from_be_bytes(*id), key)) else {
                report.add(|| "table `keys`: a row is damaged".into());
                return Ok(());
            };
            if id == OF_NONE {
                return Ok(());
            }
            let Some(name) = of_id.get(&id) else {
                report.add(|| format!("table `keys`: channel number {id} is unknown"));
                return Ok(());
            };
            if key.is_empty() {
                said.extend(Held::decode(value).map(|held| (id, held)));
                return Ok(());
            }
            let key = String::from_utf8_lossy(key);
            let Some(row) = KeyRow::decode(value) else {
                report.add(|| format!("channel {name}: the row of key {key:?} is damaged"));
                return Ok(());
            };
            found.entry(id).or_default().add(row);
            let record = self.tiers.durable.get(Table::Log, &row.position.to_key());
            let is_it = |record: &Record| record.key.as_deref() == Some(&*key) && record.is_deleted == row.is_deleted;
            let is_there = match record {
                Ok(value) => value.is_some_and(|value| Record::decode(&value, row.position).is_ok_and(|r| is_it(&r))),
                // That is told with the log.
                Err(_) => true,
            };
            if !is_there {
                report.add(|| format!("channel {name}: the value of key {key:?} is not in the log"));
            }
            Ok(())
        })?;
        report.add_holes(Table::Keys, holes);
        for (name, row) in rows.iter().filter(|(_, row)| row.kind == Kind::Keys) {
            if said.get(&row.id).copied().unwrap_or_default() != found.get(&row.id).copied().unwrap_or_default() {
                report.add(|| format!("channel {name}: it does not hold as many keys as it says"));
            }
        }
        Ok(())
    }
}
