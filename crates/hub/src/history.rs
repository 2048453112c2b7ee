//! What is kept of the log, read in pages: for streams that are behind the window, and for whoever asks over HTTP.
//!
//! Reading takes no snapshot, and no lock but a short one for each value of a key (see `lineage`). Retention moves a floor first and removes below it later; here events are read
//! first and floors afterwards. What was removed under our eyes therefore always lies below a floor that we see.

use std::collections::{BinaryHeap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::clock::Clock;
use crate::damage::Readable;
use crate::ending::Endings;
use crate::keys::lineage::Lineages;
use crate::keys::{HasKeys, NamedIn};
use crate::limits::PAGE_RECORDS_SCANNED_MAX;
use crate::log::directory::{ChannelRow, Kind, index_key, position_of_key};
use crate::log::epoch::Epochs;
use crate::log::record::{Record, RecordError};
use crate::pattern::Pattern;
use crate::position::Position;
use crate::retention::floors::Floors;
use crate::retention::horizon::Horizon;
use crate::rule::Rules;
use crate::store::tier::{Tier, Tiers};
use crate::store::{KeyRange, Order, Scan, StoreError, Table, keys_with_prefix};
use crate::window::Window;
use crate::window::entry::Entry;
use crate::writer::LostParts;

pub(crate) mod beginning;
pub(crate) mod catchup;
mod channels;
pub mod info;
mod page_builder;

use self::page_builder::PageBuilder;

/// Reads what is kept. Cheap to share between threads.
pub(crate) struct History {
    pub(crate) tiers: Tiers,
    pub(crate) rules: Arc<Rules>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) window: Arc<Window>,
    pub(crate) horizon: Arc<Horizon>,
    /// What damage took.
    pub(crate) lost: Arc<LostParts>,
    pub(crate) floors: Arc<Floors>,
    pub(crate) endings: Arc<Endings>,
    /// What came after the values that somebody holds.
    pub(crate) lineages: Arc<Lineages>,
    /// Whether there are channels with keys.
    pub(crate) has_keys: Arc<HasKeys>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the stores know of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// The row with the highest floor.
    pub(crate) row: ChannelRow,
    /// The channel's ids in the tiers that know it.
    pub(crate) ids: [Option<u64>; 2],
}

impl Known {
    /// Below this the channel keeps nothing. The floor of a channel with keys only says that something is gone.
    pub(crate) fn bottom(&self) -> Position {
        if self.row.kind == Kind::Keys { Position::ORIGIN } else { self.row.floor }
    }
}

/// A channel to read, and from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// Its ids in the tiers that know it.
    pub(crate) ids: [Option<u64>; 2],
    /// Only what is above.
    pub(crate) above: Position,
}

/// A run of events in the log's order.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Up to here everything asked for is in `entries`, or damaged.
    pub(crate) covered: Position,
    /// What can't be read.
    pub(crate) damaged: Vec<Unread>,
}

/// A part of the log that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// Whose events these were, among the sources that were asked for; `None` where nobody knows.
    pub(crate) source: Option<usize>,
    /// Above this.
    pub(crate) from: Position,
    /// Not above this.
    pub(crate) to: Position,
}

impl History {
    /// A page to be gathered.
    fn page(&self) -> PageBuilder<'_> {
        let now_ms = self.clock.unix_ms();
        let deletions = self.lineages.deletions();
        PageBuilder { history: self, entries: Vec::new(), damaged: Vec::new(), bytes: 0, now_ms, deletions }
    }

    /// A channel's row: its floor, and its ids per tier.
    pub(crate) fn row(&self, name: &ChannelName) -> Result<Known, StoreError> {
        let durable = ChannelRow::read(&*self.tiers.durable, name)?;
        let memory = ChannelRow::read(&*self.tiers.memory, name)?;
        let row = ChannelRow::together(durable, memory);
        let floor = self.floors.unknown();
        let unknown = ChannelRow { floor, moved: floor, ..ChannelRow::default() };
        Ok(Known { row: row.unwrap_or(unknown), ids: [durable.map(|row| row.id), memory.map(|row| row.id)] })
    }

    /// The same for those who go on without it: where the row is damaged, the channel is as if nobody knew it.
    pub(crate) fn row_if_readable(&self, name: &ChannelName) -> Result<Option<Known>, StoreError> {
        match self.row(name) {
            Ok(known) => Ok(Some(known)),
            Err(error) if error.is_damage() => {
                self.tiers.damage.found(Table::Channels, name.as_str().as_bytes(), &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The rows of all channels that match a pattern, in the order of their names within each tier, as far as they can be
    /// read.
    pub(crate) fn rows<'a>(
        &'a self,
        pattern: &'a Pattern,
    ) -> impl Iterator<Item = Result<(ChannelName, ChannelRow, Tier), StoreError>> + use<'a> {
        Tier::ALL.into_iter().flat_map(move |tier| {
            let range = keys_with_prefix(pattern.literal_prefix().as_bytes());
            let pairs = self.tiers.scan(tier, Table::Channels, range, Order::Ascending);
            pairs.filter_map(move |pair| match pair {
                Ok((key, value)) => {
                    let name = ChannelName::new(std::str::from_utf8(&key).ok()?).ok()?;
                    let row = ChannelRow::decode(&value);
                    if row.is_none() {
                        self.tiers.damage.found(Table::Channels, &key, &RecordError::Damaged);
                    }
                    pattern.matches(&name).then_some(Ok((name, row?, tier)))
                }
                Err(error) => Some(Err(error)),
            })
        })
    }

    /// Events of these channels, each once, in order, above their starts and up to `upto`; as many as fit a page.
    ///
    /// # Errors
    ///
    /// When the store failed, or an index is damaged. The log itself may still be read then, see [`History::scan`].
    pub(crate) fn merge(&self, sources: &[Source], upto: Position) -> Result<Run, StoreError> {
        let mut scans: Vec<(Tier, Scan<'_>)> = Vec::new();
        let mut source_of = Vec::new();
        let next = |scan: &mut Scan<'_>, id: u64| {
            next_position(scan).inspect_err(|error| {
                if error.is_damage() {
                    self.tiers.damage.found(Table::ByChannel, &id.to_be_bytes(), error);
                }
            })
        };
        for (number, source) in sources.iter().enumerate() {
            for (tier, id) in Tier::ALL.into_iter().zip(source.ids) {
                let Some(id) = id else { continue };
                let scan = self.tiers.store(tier).scan(
                    Table::ByChannel,
                    index_range(id, source.above, upto),
                    Order::Ascending,
                );
                scans.push((tier, scan));
                source_of.push((number, id));
            }
        }
        // The next position of every scan, least first.
        let mut heap = BinaryHeap::with_capacity(scans.len());
        for ((at, (tier, scan)), (_, id)) in scans.iter_mut().enumerate().zip(&source_of) {
            if let Some(position) = next(scan, *id)? {
                heap.push(std::cmp::Reverse((position, at, *tier)));
            }
        }
        let mut page = self.page();
        let (mut last, mut last_was_read) = (Position::ORIGIN, true);
        // Per source: up to where it was read, and so where a gap begins.
        let mut upto_of: Vec<Position> = sources.iter().map(|source| source.above).collect();
        while let Some(std::cmp::Reverse((position, at, tier))) = heap.pop() {
            if position > last {
                if page.is_full() {
                    return page.finish(last);
                }
                last = position;
                last_was_read = page.push(position, tier)?;
            }
            let Some(&(source, id)) = source_of.get(at) else { continue };
            if let Some(upto) = upto_of.get_mut(source) {
                if !last_was_read {
                    page.damaged.push(Unread { source: Some(source), from: *upto, to: position });
                }
                *upto = position;
            }
            if let Some((tier, scan)) = scans.get_mut(at)
                && let Some(position) = next(scan, id)?
            {
                heap.push(std::cmp::Reverse((position, at, *tier)));
            }
        }
        page.finish(upto)
    }

    /// Events above `from` up to `upto` that `wanted` picks, in order; as many as fit a page or as are found in a page's
    /// share of reading. Values of keys that were removed and came back are none.
    pub(crate) fn scan(
        &self,
        from: Position,
        upto: Position,
        mut wanted: impl FnMut(&Record, Position) -> bool,
    ) -> Result<Run, StoreError> {
        let range = || (Bound::Excluded(from.to_key().to_vec()), Bound::Included(upto.to_key().to_vec()));
        let mut page = self.page();
        let mut durable = self.tiers.scan(Tier::Durable, Table::Log, range(), Order::Ascending);
        let mut memory = self.tiers.scan(Tier::Memory, Table::Log, range(), Order::Ascending);
        let (mut next_durable, mut next_memory) = (next_record(&mut durable)?, next_record(&mut memory)?);
        let mut named = Tier::ALL.map(|tier| NamedIn::new(self.tiers.store(tier)));
        let mut last = from;
        for _ in 0..PAGE_RECORDS_SCANNED_MAX {
            if page.is_full() {
                break;
            }
            let memory_first = match (&next_durable, &next_memory) {
                (None, None) => {
                    last = upto;
                    break;
                }
                (Some((a, _)), Some((b, _))) => b < a,
                (durable, _) => durable.is_none(),
            };
            let (taken, tier) = if memory_first {
                (std::mem::replace(&mut next_memory, next_record(&mut memory)?), Tier::Memory)
            } else {
                (std::mem::replace(&mut next_durable, next_record(&mut durable)?), Tier::Durable)
            };
            if let Some((position, value)) = taken {
                let named = tier.of_pair(&mut named);
                let is_good = |record: &Record| Ok(wanted(record, position) && named.has(record, position)?);
                if !page.push_if(position, tier, &value, is_good)? {
                    page.damaged.push(Unread { source: None, from: position.before(), to: position });
                }
                last = position;
            }
        }
        for (from, to) in durable.holes {
            let edge = |key: &[u8]| position_of_key(key).unwrap_or_default();
            // The scan reads one ahead: a hole behind the page's end belongs to the next page.
            if edge(&from) <= last {
                page.damaged.push(Unread { source: None, from: edge(&from).before(), to: edge(&to).min(last) });
            }
        }
        page.damaged.sort_by_key(|unread| unread.from);
        page.finish(last)
    }

    /// Events of one channel, newest first, at or below `below` and above `above`. What it covers is from `covered` up.
    pub(crate) fn newest_first(&self, source: &Source, below: Position, count: usize) -> Result<Run, StoreError> {
        let mut page = self.page();
        let mut positions = Vec::new();
        for (tier, id) in Tier::ALL.into_iter().zip(source.ids) {
            let Some(id) = id else { continue };
            let range = index_range(id, source.above, below);
            let mut pairs = self.tiers.scan(tier, Table::ByChannel, range, Order::Descending);
            for pair in pairs.by_ref().take(count) {
                positions.extend(position_of_key(&pair?.0).map(|position| (position, tier)));
            }
            for (from, to) in pairs.holes {
                let edge = |key: &[u8]| position_of_key(key).unwrap_or_default();
                page.damaged.push(Unread { source: Some(0), from: edge(&from).before(), to: edge(&to).min(below) });
            }
        }
        positions.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
        let mut covered = source.above;
        for (position, tier) in positions.into_iter().take(count) {
            if !page.push(position, tier)? {
                page.damaged.push(Unread { source: Some(0), from: position.before(), to: position });
            }
            if page.is_full() || page.entries.len() + page.damaged.len() >= count {
                covered = position;
                break;
            }
        }
        // What lies beyond is told with the next page.
        page.damaged.retain(|unread| unread.to > covered);
        page.finish(covered)
    }

    /// The position above which a channel has its last `count` events at or below `upto`, or `None` where fewer are left.
    pub(crate) fn start_of_last(
        &self,
        known: Known,
        count: u32,
        upto: Position,
    ) -> Result<Option<Position>, StoreError> {
        let Some(skip) = count.checked_sub(1) else { return Ok(Some(upto)) };
        let mut positions = Vec::new();
        for (tier, id) in Tier::ALL.into_iter().zip(known.ids) {
            let Some(id) = id else { continue };
            let range = index_range(id, known.bottom(), upto);
            for pair in self.tiers.scan(tier, Table::ByChannel, range, Order::Descending).take(count as usize) {
                positions.extend(position_of_key(&pair?.0));
            }
        }
        positions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(positions.get(skip as usize).map(|position| position.before()))
    }

    /// The greatest position such that every event above it is not older than `time_ms`.
    pub(crate) fn position_at(&self, time_ms: u64) -> Result<Position, StoreError> {
        let (head, _) = self.window.head();
        let mut found = head;
        for tier in Tier::ALL {
            if let Some(first) = self.first_at_or_after(time_ms, tier, head)? {
                found = found.min(first.before());
            }
        }
        Ok(found)
    }

    /// The first event of a tier that is not older than `time_ms`, by bisection: times never decrease within a log.
    fn first_at_or_after(&self, time_ms: u64, tier: Tier, head: Position) -> Result<Option<Position>, StoreError> {
        let record_from = |from: Position| -> Result<Option<(Position, u64)>, StoreError> {
            let range = (Bound::Included(from.to_key().to_vec()), Bound::Included(head.to_key().to_vec()));
            for pair in self.tiers.scan(tier, Table::Log, range, Order::Ascending) {
                let (key, value) = pair?;
                if let Some(position) = position_of_key(&key)
                    && let Ok(record) = Record::decode(&value, position)
                {
                    return Ok(Some((position, record.time_ms)));
                }
            }
            Ok(None)
        };
        let as_number = |position: Position| u64::from_be_bytes(position.to_key());
        let (mut low, mut high) = (0, as_number(head).saturating_add(1));
        // Invariant: events below `low` are older; the first event at or above `high`, if any, is not.
        while low < high {
            let middle = low + (high - low) / 2;
            match record_from(Position::from_key(middle.to_be_bytes()))? {
                Some((position, time)) if time < time_ms => low = as_number(position).saturating_add(1),
                Some(_) | None => high = middle,
            }
        }
        Ok(record_from(Position::from_key(low.to_be_bytes()))?.map(|(position, _)| position))
    }

    /// When the newest kept event at or below a position was published.
    pub(crate) fn time_at(&self, position: Position) -> Result<Option<u64>, StoreError> {
        let mut newest: Option<u64> = None;
        for tier in Tier::ALL {
            let range: KeyRange = (Bound::Unbounded, Bound::Included(position.to_key().to_vec()));
            for pair in self.tiers.scan(tier, Table::Log, range, Order::Descending) {
                let (key, value) = pair?;
                if let Some(Ok(record)) = position_of_key(&key).map(|position| Record::decode(&value, position)) {
                    newest = newest.max(Some(record.time_ms));
                    break;
                }
            }
        }
        Ok(newest)
    }

    /// Where the events of the last `ago` begin.
    pub(crate) fn position_ago(&self, ago: Duration) -> Result<Position, StoreError> {
        self.position_at(self.clock.unix_ms().saturating_sub(ago.as_millis() as u64))
    }

    /// The channels of these rows as sources, one for each name.
    pub(crate) fn known(rows: impl Iterator<Item = (ChannelName, ChannelRow, Tier)>) -> HashMap<ChannelName, Known> {
        let mut sources: HashMap<ChannelName, Known> = HashMap::new();
        for (name, row, tier) in rows {
            let Known { row: highest, ids } = sources.entry(name).or_default();
            if row.floor >= highest.floor {
                *highest = row;
            }
            *tier.of_pair(ids) = Some(row.id);
        }
        sources
    }
}

/// The index keys of a channel above one position, up to another.
pub(crate) fn index_range(id: u64, above: Position, upto: Position) -> KeyRange {
    (Bound::Excluded(index_key(id, above)), Bound::Included(index_key(id, upto)))
}

/// The position of a scan's next key.
fn next_position(scan: &mut Scan<'_>) -> Result<Option<Position>, StoreError> {
    Ok(scan.next().transpose()?.and_then(|(key, _)| position_of_key(&key)))
}

/// A scan's next position and record.
fn next_record(scan: &mut Readable<'_>) -> Result<Option<(Position, Bytes)>, StoreError> {
    Ok(scan.next().transpose()?.and_then(|(key, value)| Some((position_of_key(&key)?, value))))
}
