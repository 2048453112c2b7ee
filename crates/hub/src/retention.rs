//! What leaves the log: events beyond a channel's limits, and events whose time to live ran out.
//!
//! Two steps, never one. First a channel's floor is moved, durably; only then, with a later commit, what lies below it is
//! removed. Readers look at events first and at floors afterwards, so what they missed they also know of.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use self::floors::Floors;
use self::pace::Pace;
use crate::channel::ChannelName;
use crate::limits::CONDEMNED_MAX;
use crate::log::directory::{Channel, ChannelRow, Directory, IndexEntry, Kind, index_key, position_of_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::rule::{HistoryLimits, Rules};
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Order, StoreError, Table, keys_with_prefix};
use crate::window::shared_events::SharedEvents;

pub(crate) mod due;
pub(crate) mod floors;
pub(crate) mod horizon;
pub(crate) mod oldest;
pub(crate) mod pace;
pub(crate) mod review;
pub(crate) mod sweep;

/// An index entry that is to go, and with it the record if no channel keeps it.
#[derive(Clone, Copy, Debug)]
struct Doomed {
    tier: Tier,
    channel: u64,
    position: Position,
    /// Whether the event names other channels too.
    shared: bool,
    /// Bytes of its record.
    bytes: u64,
}

/// What was removed: why, and how much the disk may have to give back. An event of several channels counts with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Rows on disk, elsewhere than in the log.
    pub(crate) entries: u64,
    /// Bytes of records on disk.
    pub(crate) record_bytes: u64,
    /// Events beyond the limits of their channels.
    pub(crate) by_history: u64,
    /// Events that were the oldest when the disk limit was reached.
    pub(crate) by_disk: u64,
    /// Events whose time to live ran out.
    pub(crate) by_ttl: u64,
    /// Values whose key got another one, or was deleted.
    pub(crate) by_key: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.entries += other.entries;
        self.record_bytes += other.record_bytes;
        self.by_history += other.by_history;
        self.by_disk += other.by_disk;
        self.by_ttl += other.by_ttl;
        self.by_key += other.by_key;
    }
}

impl Doomed {
    fn of(tier: Tier, channel: u64, position: Position, entry: IndexEntry) -> Self {
        Self { tier, channel, position, shared: entry.shared, bytes: entry.bytes }
    }
}

/// What waits to be removed.
#[derive(Debug)]
pub(crate) struct Retention {
    /// The highest floor of all, for readers.
    floors: Arc<Floors>,
    /// Channels that may be beyond their limits.
    queue: VecDeque<ChannelName>,
    /// Channels with floors that are decided on, for the next synced commit.
    floors_waiting: Vec<(ChannelName, Position)>,
    /// Below a floor that is not durable yet.
    waiting: Vec<Doomed>,
    /// Below a durable floor.
    ready: VecDeque<Doomed>,
    /// Removed since somebody asked.
    removed: Removed,
    /// How many entries were ever condemned, and how many of them are removed. They go in the order they came.
    condemned: u64,
    done: u64,
    /// Up to where the oldest events were condemned, and `condemned` then.
    oldest: (Position, u64),
    /// Which events that several channels share are still kept by one of them.
    shared: SharedEvents,
}

/// Whether a channel is so far beyond its limits that trimming it is worth a step.
pub(crate) fn is_over(channel: &mut Channel, tier: Tier) -> bool {
    // What it may hold is decided as it comes.
    if channel.row.kind == Kind::Keys {
        return false;
    }
    let HistoryLimits { count_max, bytes_max, .. } = channel.rule.history;
    let tally = channel.tally(tier);
    let with_slack = |max: u64| max.saturating_add(max / 16);
    tally.count() > with_slack(count_max) || tally.bytes() > with_slack(bytes_max)
}

impl Retention {
    /// Nothing to remove yet.
    pub(crate) fn new(floors: Arc<Floors>) -> Self {
        Self {
            floors,
            queue: VecDeque::new(),
            floors_waiting: Vec::new(),
            waiting: Vec::new(),
            ready: VecDeque::new(),
            removed: Removed::default(),
            condemned: 0,
            done: 0,
            oldest: (Position::ORIGIN, 0),
            shared: SharedEvents::default(),
        }
    }

    /// Has a channel looked at in the next step.
    pub(crate) fn enqueue(&mut self, name: &ChannelName, channel: &mut Channel) {
        if !channel.trim_due {
            channel.trim_due = true;
            self.queue.push_back(name.clone());
        }
    }

    /// What was removed since this was asked last.
    pub(crate) fn take_removed(&mut self) -> Removed {
        std::mem::take(&mut self.removed)
    }

    /// Whether floors wait to be made durable, or entries to be removed.
    pub(crate) fn has_work(&self) -> bool {
        self.has_floors() || !self.ready.is_empty() || !self.queue.is_empty()
    }

    /// Whether floors wait to be made durable.
    pub(crate) fn has_floors(&self) -> bool {
        !self.floors_waiting.is_empty()
    }

    /// Whether channels wait to be looked at.
    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Decides on new floors for queued channels, at this pace.
    /// What is committed must be in the stores already.
    pub(crate) fn step(
        &mut self,
        directory: &mut Directory,
        rules: &Rules,
        tiers: &Tiers,
        (now_ms, pace): (u64, Pace),
    ) -> Result<(), StoreError> {
        let mut budget = pace.entries();
        while budget > 0
            && let Some(name) = self.queue.pop_front()
        {
            let channel = directory.channel(&name, rules, tiers)?;
            channel.trim_due = false;
            let doomed = beyond_limits(channel, tiers, now_ms, budget)?;
            budget -= doomed.len().min(budget);
            if budget == 0 {
                self.enqueue(&name, channel);
            }
            if let Some(floor) = doomed.iter().map(|doomed| doomed.position).max() {
                self.removed.by_history += self.condemn(&name, channel, floor, doomed, tiers)?;
            }
        }
        Ok(())
    }

    /// Has a channel's floor moved over these entries, and over whatever else lies at or below it. Tells how many entries
    /// that are.
    fn condemn(
        &mut self,
        name: &ChannelName,
        channel: &mut Channel,
        floor: Position,
        mut doomed: Vec<Doomed>,
        tiers: &Tiers,
    ) -> Result<u64, StoreError> {
        if floor <= channel.clean {
            return Ok(0);
        }
        for tier in Tier::ALL {
            let known = doomed.iter().filter(|doomed| doomed.tier == tier).map(|doomed| doomed.position).max();
            let from = known.unwrap_or(channel.clean);
            if from >= floor || !channel.tally(tier).has_row {
                continue;
            }
            for entry in entries_after(channel.row.id, from, tier, tiers) {
                let (position, entry) = entry?;
                if position > floor {
                    break;
                }
                doomed.push(Doomed::of(tier, channel.row.id, position, entry));
                channel.tally(tier).first = (entry.number + 1, entry.bytes_before + entry.bytes);
            }
        }
        channel.clean = floor;
        self.floors_waiting.push((name.clone(), floor));
        let count = doomed.len() as u64;
        self.condemned += count;
        self.waiting.append(&mut doomed);
        Ok(count)
    }

    /// Has an event of a channel go that is among the hub's oldest, as its record tells. Records say all that there is to
    /// know, so no index is read for it: that would be a search for each channel. The channel's floor is moved later, by
    /// [`Retention::condemn_oldest`].
    pub(crate) fn doom_oldest(&mut self, channel: &mut Channel, position: Position, (bytes, shared): (u64, bool)) {
        self.condemned += 1;
        self.waiting.push(Doomed { tier: Tier::Durable, channel: channel.row.id, position, shared, bytes });
        // Below the floor it may be gone already.
        if position > channel.row.floor {
            self.removed.by_disk += 1;
            // Too little where events in between had run out of time. Then the channel is trimmed too early, which sets it
            // right.
            let tally = channel.tally(Tier::Durable);
            tally.first = (tally.first.0 + 1, tally.first.1 + bytes);
        }
    }

    /// Has a value go that was removed before and came back. Nothing has to be told of it, so it waits for no floor.
    pub(crate) fn doom_removed(&mut self, channel: u64, position: Position, bytes: u64) {
        self.condemned += 1;
        self.ready.push_back(Doomed { tier: Tier::Durable, channel, position, shared: false, bytes });
    }

    /// Has a channel's floor moved to where the hub's oldest events are condemned. Those on disk are known already.
    pub(crate) fn condemn_oldest(
        &mut self,
        name: &ChannelName,
        channel: &mut Channel,
        floor: Position,
        tiers: &Tiers,
    ) -> Result<(), StoreError> {
        if floor <= channel.clean {
            return Ok(());
        }
        if channel.tally(Tier::Memory).has_row {
            for entry in entries_after(channel.row.id, channel.clean, Tier::Memory, tiers) {
                let (position, entry) = entry?;
                if position > floor {
                    break;
                }
                self.removed.by_disk += 1;
                self.condemned += 1;
                self.waiting.push(Doomed::of(Tier::Memory, channel.row.id, position, entry));
                channel.tally(Tier::Memory).first = (entry.number + 1, entry.bytes_before + entry.bytes);
            }
        }
        channel.clean = floor;
        self.floors_waiting.push((name.clone(), floor));
        Ok(())
    }

    /// Whether so much is condemned and not removed yet that the hub's oldest events can wait. Only they are as many as one
    /// likes; what is beyond channels' limits is no more than was appended.
    pub(crate) fn has_enough(&self) -> bool {
        self.waiting.len() + self.ready.len() >= CONDEMNED_MAX
    }

    /// Takes note that everything up to here is condemned, in all channels.
    pub(crate) fn mark_oldest(&mut self, upto: Position) {
        self.oldest = (upto, self.condemned);
    }

    /// Up to where the hub's oldest events are removed, once they all are that were condemned.
    pub(crate) fn cleared(&self) -> Option<Position> {
        let (upto, condemned) = self.oldest;
        (self.done >= condemned).then_some(upto)
    }

    /// Adds to the batches what any commit should carry: removals below durable floors. Returns how many these are.
    pub(crate) fn fill(&mut self, batches: &mut [Batch; 2], tiers: &Tiers, pace: Pace) -> Result<usize, StoreError> {
        let count = self.ready.len().min(pace.entries());
        for doomed in self.ready.range(..count) {
            remove(*doomed, doomed.tier.of_pair(batches), &mut self.shared, tiers)?;
        }
        Ok(count)
    }

    /// Tells that a commit which carried so many removals is done.
    pub(crate) fn filled(&mut self, count: usize) {
        self.done += count as u64;
        for doomed in self.ready.drain(..count).filter(|doomed| doomed.tier == Tier::Durable) {
            self.removed.entries += 1;
            self.removed.record_bytes += doomed.bytes;
        }
    }

    /// Forgets what was decided on but may not have come to be, and has its channels looked at again.
    pub(crate) fn start_over(&mut self) {
        self.waiting.clear();
        // What is ready lies below floors that are durable; removing it twice does no harm.
        self.queue.extend(self.floors_waiting.drain(..).map(|(name, _)| name));
        self.condemned = self.done + self.ready.len() as u64;
        self.oldest = (Position::ORIGIN, 0);
        self.shared = SharedEvents::default();
    }

    /// Adds to the batches of a synced commit the floors that wait. `moved` is a position of this very commit, given to
    /// nobody: a stream that begins before the commit is released begins below it, one that begins later knows the floors.
    pub(crate) fn fill_floors(
        &mut self,
        batches: &mut [Batch; 2],
        moved: Position,
        directory: &mut Directory,
        rules: &Rules,
        tiers: &Tiers,
    ) -> Result<(), StoreError> {
        for (name, floor) in &self.floors_waiting {
            let (channel, floor) = (directory.channel(name, rules, tiers)?, *floor);
            if floor > channel.row.floor {
                channel.row = ChannelRow { floor, moved, ..channel.row };
            }
            for (tier, batch) in Tier::ALL.into_iter().zip(&mut *batches) {
                if channel.tally(tier).has_row {
                    channel.row.put(name, batch);
                }
            }
            let [durable, _] = &mut *batches;
            self.floors.raise(floor, durable);
        }
        Ok(())
    }

    /// Tells that a synced commit, filled by [`Retention::fill_floors`], is done.
    pub(crate) fn synced(&mut self) {
        self.floors_waiting.clear();
        self.ready.extend(self.waiting.drain(..));
    }

    /// Removes an expired event from its channels, whatever their floors. Gives its record, if it was there.
    pub(crate) fn expire(
        &mut self,
        position: Position,
        tier: Tier,
        batch: &mut Batch,
        tiers: &Tiers,
    ) -> Result<Option<Record>, StoreError> {
        let store = tiers.store(tier);
        let value = match store.get(Table::Log, &position.to_key()) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(None),
            Err(error) if error.is_damage() => Bytes::new(),
            Err(error) => return Err(error),
        };
        self.removed.by_ttl += 1;
        if tier == Tier::Durable {
            self.removed.record_bytes += value.len() as u64;
        }
        let record = Record::decode(&value, position).ok();
        if let Some(record) = &record {
            for name in &record.channels {
                match ChannelRow::read(store, name) {
                    Ok(Some(row)) => batch.remove(Table::ByChannel, index_key(row.id, position)),
                    Ok(None) => {}
                    // Which entry is the channel's nobody knows. It names nothing any more.
                    Err(error) if error.is_damage() => {
                        tiers.damage.found(Table::Channels, name.as_str().as_bytes(), &error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        batch.remove(Table::Log, Bytes::copy_from_slice(&position.to_key()));
        Ok(record)
    }

    /// Takes note of a value that goes with the commit in the making. `is_oldest`: to make room for others.
    pub(crate) fn count_value(&mut self, tier: Tier, bytes: u64, is_oldest: bool) {
        if is_oldest {
            self.removed.by_history += 1;
        } else {
            self.removed.by_key += 1;
        }
        if tier == Tier::Durable {
            self.removed.entries += 1;
            self.removed.record_bytes += bytes;
        }
    }

    /// Takes note of a row that was removed for other reasons.
    pub(crate) fn count_row(&mut self, tier: Tier) {
        self.removed.entries += u64::from(tier == Tier::Durable);
    }
}

/// Removes an index entry, and the record where no other channel keeps it.
fn remove(doomed: Doomed, batch: &mut Batch, events: &mut SharedEvents, tiers: &Tiers) -> Result<(), StoreError> {
    let Doomed { tier, channel, position, shared, .. } = doomed;
    batch.remove(Table::ByChannel, index_key(channel, position));
    if shared && events.is_kept(position, tier, tiers)? {
        return Ok(());
    }
    batch.remove(Table::Log, Bytes::copy_from_slice(&position.to_key()));
    Ok(())
}

/// The entries of a channel in one tier above a position, oldest first.
pub(crate) fn entries_after(
    id: u64,
    from: Position,
    tier: Tier,
    tiers: &Tiers,
) -> impl Iterator<Item = Result<(Position, IndexEntry), StoreError>> + use<'_> {
    // From the position on, not from the channel's first key: what was removed lies there until it is compacted.
    let range = (Bound::Excluded(index_key(id, from)), keys_with_prefix(&id.to_be_bytes()).1);
    let pairs = tiers.scan(tier, Table::ByChannel, range, Order::Ascending);
    pairs.filter_map(|pair| match pair {
        Ok((key, value)) => Some(Ok((position_of_key(&key)?, IndexEntry::decode(&value)?))),
        Err(error) => Some(Err(error)),
    })
}

/// The oldest entries of a channel that are beyond its limits, up to `budget` of them.
fn beyond_limits(channel: &mut Channel, tiers: &Tiers, now_ms: u64, budget: usize) -> Result<Vec<Doomed>, StoreError> {
    let HistoryLimits { count_max, bytes_max, age_max } = channel.rule.history;
    let (id, floor, clean) = (channel.row.id, channel.row.floor, channel.clean);
    let mut doomed = Vec::new();
    if channel.row.kind == Kind::Keys {
        return Ok(doomed);
    }
    for tier in Tier::ALL {
        let tally = channel.tally(tier);
        if !tally.has_row {
            continue;
        }
        for entry in entries_after(id, clean, tier, tiers).take(budget.saturating_sub(doomed.len())) {
            let (position, entry) = entry?;
            // The entry itself says how many there are from it on, whatever was removed before it.
            let count = tally.next_number.saturating_sub(entry.number);
            let bytes = tally.bytes_ever.saturating_sub(entry.bytes_before);
            let too_old = entry.time_ms.saturating_add(age_max.as_millis() as u64) <= now_ms;
            // At or below the floor: a crash came between moving the floor and removing.
            if count <= count_max && bytes <= bytes_max && !too_old && position > floor {
                tally.first = (entry.number, entry.bytes_before);
                break;
            }
            tally.first = (entry.number + 1, entry.bytes_before + entry.bytes);
            doomed.push(Doomed::of(tier, id, position, entry));
        }
    }
    Ok(doomed)
}
