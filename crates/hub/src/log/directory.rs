//! What the writer knows of each channel: its id, its floor, how much it holds. Only the writer's thread has it.
//!
//! Everything here can be read from the store again, so channels that nobody publishes to leave memory. Readers of
//! history don't come here; they read floors from the store, see [`ChannelRow`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::damage::{Damage, Readable};
use crate::keys::Held;
pub(crate) use crate::log::channel_row::{ChannelRow, Kind};
use crate::log::varint;
use crate::position::Position;
use crate::retention::floors::Floors;
use crate::rule::{Rule, Rules};
use crate::store::tier::{Tier, Tiers};
use crate::store::{Batch, Order, Store, StoreError, Table, keys_with_prefix};

/// An event of a channel, as the index has it. All numbers are the channel's own, in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// How many events the channel had before this one.
    pub(crate) number: u64,
    /// How many bytes the channel had before this one.
    pub(crate) bytes_before: u64,
    /// How many bytes this one has.
    pub(crate) bytes: u64,
    /// When it was published, in milliseconds since the Unix epoch.
    pub(crate) time_ms: u64,
    /// Whether the event names other channels too.
    pub(crate) shared: bool,
    /// Whether it says that its key has no value any more.
    pub(crate) is_deleted: bool,
}

impl IndexEntry {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(20);
        for number in [self.number, self.bytes_before, self.bytes, self.time_ms] {
            varint::write(number, &mut value);
        }
        value.push(u8::from(self.shared) | u8::from(self.is_deleted) << 1);
        value
    }

    pub(crate) fn decode(mut value: &[u8]) -> Option<Self> {
        let mut next = || varint::read(&mut value);
        let (number, bytes_before, bytes, time_ms) = (next()?, next()?, next()?, next()?);
        let flags = value.first().copied().unwrap_or_default();
        Some(Self { number, bytes_before, bytes, time_ms, shared: flags & 1 != 0, is_deleted: flags & 2 != 0 })
    }
}

/// The index key of an event in a channel.
pub(crate) fn index_key(id: u64, position: Position) -> Vec<u8> {
    let mut key = id.to_be_bytes().to_vec();
    key.extend_from_slice(&position.to_key());
    key
}

/// The position in an index key.
pub(crate) fn position_of_key(key: &[u8]) -> Option<Position> {
    key.last_chunk::<8>().map(|position| Position::from_key(*position))
}

/// How much of a channel one tier holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// The number of the next event.
    pub(crate) next_number: u64,
    /// Bytes of all events there ever were.
    pub(crate) bytes_ever: u64,
    /// Number and bytes before the oldest event that is kept.
    pub(crate) first: (u64, u64),
    /// Whether the channel's row is in this tier's store.
    pub(crate) has_row: bool,
}

impl Tally {
    /// Events kept.
    pub(crate) fn count(&self) -> u64 {
        self.next_number.saturating_sub(self.first.0)
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_ever.saturating_sub(self.first.1)
    }

    /// The channel's row and events are gone from this tier.
    pub(crate) fn clear(&mut self) {
        self.has_row = false;
        self.first = (self.next_number, self.bytes_ever);
    }

    /// Reads what a tier's store says.
    fn read(store: &dyn Store, damage: &Damage, name: &ChannelName) -> Result<(Self, Option<ChannelRow>), StoreError> {
        let Some(row) = ChannelRow::read(store, name)? else { return Ok((Self::default(), None)) };
        let edge = |order| -> Result<Option<IndexEntry>, StoreError> {
            // Where the edge itself is damaged, the next one that can be read does: then the numbers are only too small.
            let range = keys_with_prefix(&row.id.to_be_bytes());
            let mut entries = Readable::new(store, damage, Table::ByChannel, range, order);
            let value = entries.next().transpose()?.map(|(_, value)| value);
            Ok(value.and_then(|value| IndexEntry::decode(&value)))
        };
        let (first, last) = (edge(Order::Ascending)?, edge(Order::Descending)?);
        let tally = Self {
            next_number: last.map_or(0, |last| last.number + 1),
            bytes_ever: last.map_or(0, |last| last.bytes_before + last.bytes),
            first: first.map_or((0, 0), |first| (first.number, first.bytes_before)),
            has_row: true,
        };
        Ok((tally, Some(row)))
    }
}

/// A channel as the writer knows it.
#[derive(Debug)]
pub(crate) struct Channel {
    /// What its row says, or will say with the next commit.
    pub(crate) row: ChannelRow,
    /// Its settings.
    pub(crate) rule: Arc<Rule>,
    /// What each tier holds of it.
    pub(crate) tallies: [Tally; 2],
    /// Everything up to here is removed or about to be; scans begin above it.
    pub(crate) clean: Position,
    /// Whether it waits to be trimmed.
    pub(crate) trim_due: bool,
    /// What each tier holds of its keys.
    pub(crate) held: [Held; 2],
    /// Per tier: no value, and no deletion, lies at or below these.
    pub(crate) fronts: [[Position; 2]; 2],
    /// What the commit in the making has to write down of it, beside its events.
    pub(crate) stale: Stale,
    /// When it was heard of last, by the steady clock, as far as it was asked for or happened since it is in memory.
    pub(crate) heard: Option<Duration>,
    /// When somebody will look whether it fell silent: the time of its row in the table `due`, in milliseconds since the Unix
    /// epoch. Rows of other times are leftovers.
    pub(crate) silence_at: Option<u64>,
}

/// What of a channel stands otherwise in memory than in the stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stale {
    /// How much each tier holds of its keys.
    pub(crate) held: [bool; 2],
    /// Its row.
    pub(crate) row: bool,
}

impl Channel {
    /// Reads what the stores say. A channel without a row gets the next id, and the floor of those whose row may be lost.
    fn read(
        name: &ChannelName,
        rules: &Rules,
        tiers: &Tiers,
        (next_id, unknown): (&mut u64, Position),
    ) -> Result<Self, StoreError> {
        let (durable, row) = Tally::read(&*tiers.durable, &tiers.damage, name)?;
        let (memory, memory_row) = Tally::read(&*tiers.memory, &tiers.damage, name)?;
        let row = if let Some(row) = ChannelRow::together(row, memory_row) {
            row
        } else {
            let id = *next_id;
            *next_id += 1;
            ChannelRow { id, floor: unknown, moved: unknown, ..ChannelRow::default() }
        };
        let mut held = [Held::default(); 2];
        if row.kind == Kind::Keys {
            for (tier, tally) in Tier::ALL.into_iter().zip([durable, memory]) {
                if tally.has_row {
                    *tier.of_pair(&mut held) = Held::read(tiers.store(tier), &tiers.damage, row.id)?;
                }
            }
        }
        Ok(Self {
            row,
            rule: rules.of(name),
            tallies: [durable, memory],
            clean: Position::ORIGIN,
            trim_due: false,
            held,
            fronts: [[Position::ORIGIN; 2]; 2],
            stale: Stale::default(),
            heard: None,
            silence_at: None,
        })
    }

    /// Whether no floor of it waits to be moved.
    pub(crate) fn is_settled(&self) -> bool {
        !self.trim_due && self.clean <= self.row.floor
    }

    pub(crate) fn tally(&mut self, tier: Tier) -> &mut Tally {
        tier.of_pair(&mut self.tallies)
    }

    /// What it holds, if that is decided: by its first event, as long as a store knows of it.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.tallies.iter().any(|tally| tally.has_row).then_some(self.row.kind)
    }

    /// What it holds of keys, in both tiers.
    pub(crate) fn held(&self) -> Held {
        let [durable, memory] = self.held;
        durable + memory
    }
}

/// The channels that are in use, by name.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Used lately. When it is full it becomes `old`, and what was old and unused is forgotten.
    young: HashMap<ChannelName, Box<Channel>>,
    /// Used some time ago.
    old: HashMap<ChannelName, Box<Channel>>,
    /// How many channels `young` may hold.
    young_max: usize,
    /// The id of the next new channel.
    next_id: u64,
    /// The floor of a channel without a row: damage may have taken it.
    unknown: Position,
}

/// Where the next channel id is kept.
const NEXT_ID: &[u8] = b"next_channel_id";

impl Directory {
    /// An empty directory that keeps about `channels_max` channels in memory.
    pub(crate) fn open(store: &dyn Store, channels_max: usize) -> Result<Self, StoreError> {
        let (next_id, unknown) = (next_id(store)?, Floors::unknown_of(store)?);
        Ok(Self { young: HashMap::new(), old: HashMap::new(), young_max: (channels_max / 2).max(1), next_id, unknown })
    }

    /// The channel of this name, read from the stores if need be. A channel without a row gets a new id; its row is
    /// written with its first event.
    pub(crate) fn channel(
        &mut self,
        name: &ChannelName,
        rules: &Rules,
        tiers: &Tiers,
    ) -> Result<&mut Channel, StoreError> {
        match self.young.entry(name.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(match self.old.remove(name) {
                Some(channel) => channel,
                None => Box::new(Channel::read(name, rules, tiers, (&mut self.next_id, self.unknown))?),
            })),
        }
    }

    /// The id of the next new channel.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The channels that are in memory.
    pub(crate) fn in_use(&mut self) -> impl Iterator<Item = (&ChannelName, &mut Channel)> {
        self.young.iter_mut().chain(&mut self.old).map(|(name, channel)| (name, &mut **channel))
    }

    /// Forgets channels that were not used for long, if there are too many. Only between two commits: what a commit in
    /// the making has changed stands nowhere else yet.
    pub(crate) fn make_room(&mut self) {
        if self.young.len() >= self.young_max {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Forgets all channels: what a failed commit changed of them may not be so. Ids that were given stay given, as those
    /// of channels in memory stand in no durable store.
    ///
    /// # Errors
    ///
    /// When the store failed. Then nothing was forgotten.
    pub(crate) fn forget_all(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        (self.next_id, self.unknown) = (self.next_id.max(next_id(store)?), Floors::unknown_of(store)?);
        (self.young, self.old) = (HashMap::new(), HashMap::new());
        Ok(())
    }

    /// Adds to `batch` what makes the ids given so far never be given again.
    pub(crate) fn store_next_id(&self, batch: &mut Batch) {
        put_next_id(self.next_id, batch);
    }
}

/// Has a batch say which id is the next.
pub(crate) fn put_next_id(next_id: u64, batch: &mut Batch) {
    batch.put(Table::Meta, NEXT_ID, Bytes::copy_from_slice(&next_id.to_be_bytes()));
}

/// The id of the next new channel, as a store says.
pub(crate) fn next_id(store: &dyn Store) -> Result<u64, StoreError> {
    match store.get(Table::Meta, NEXT_ID)?.map(|value| value.as_ref().try_into().map(u64::from_be_bytes)) {
        Some(Ok(next_id)) => Ok(next_id),
        // Ids that were given before must not be given again.
        Some(Err(_)) => Err(StoreError::unreadable("the next channel id in its table `meta` is damaged")),
        None => Ok(1),
    }
}
