//! What the writer does when the disk limit is reached: removes the oldest events of all channels, in the order of the
//! log, as much as it was told and in steps between commits. Values of keys stay.
//!
//! Floors move as with any other retention: durably, before what lies below them is removed, so whoever needed the events
//! is told of the gap. Whether the limit is reached is not known here; [`disk_limit`](crate::space::disk_limit) decides.

use std::collections::HashMap;
use std::ops::Bound;

use crate::channel::ChannelName;
use crate::keys;
use crate::log::directory::{Kind, position_of_key};
use crate::log::record::Record;
use crate::position::Position;
use crate::retention::pace::Pace;
use crate::store::tier::Tier;
use crate::store::{Order, StoreError, Table};
use crate::writer::Writer;

/// How far the removal of the oldest events has come.
#[derive(Debug, Default)]
pub(crate) struct Oldest {
    /// Bytes of records that are still to be removed.
    wanted: u64,
    /// Everything up to here is removed or about to be, but for values of keys.
    upto: Position,
    /// No value of a key that stays lies below this, of those on the way; none does at all where it is missing.
    first_value: Option<Position>,
}

/// What is to become of a record among the oldest.
enum Standing {
    /// It is an event.
    Event,
    /// It is the value of a key, or a deletion. Those stay: they are no history, and their channels have limits of their own.
    Value,
    /// It was one, of the channel with this number, and is back though it was removed.
    Removed(u64),
}

impl Writer {
    /// Has the oldest events of all channels removed that come to so many bytes. Sweeps do it.
    pub(crate) fn want_oldest(&mut self, bytes: u64) {
        self.oldest.wanted = bytes;
    }

    /// Bytes of records that are still to be removed.
    pub(crate) fn oldest_wanted(&self) -> u64 {
        self.oldest.wanted
    }

    /// Moves floors over the oldest events, at this pace. Where records are damaged, their index entries stay, below the
    /// floor, until their channel is read anew.
    pub(crate) fn condemn_oldest(&mut self, pace: Pace) -> Result<(), StoreError> {
        if self.oldest.wanted == 0 || self.retention.has_enough() {
            return Ok(());
        }
        let tiers = self.tiers.clone();
        let mut left = pace.entries();
        self.seek_first_value(&mut left)?;
        // What was removed before lies at the table's front until it is compacted.
        let range = (Bound::Excluded(self.oldest.upto.to_key().to_vec()), Bound::Unbounded);
        let mut scan = tiers.scan(Tier::Durable, Table::Log, range, Order::Ascending);
        let mut floors: HashMap<ChannelName, Position> = HashMap::new();
        while self.oldest.wanted > 0 && left > 0 {
            let Some((key, value)) = scan.next().transpose()? else {
                // Nothing is left but what comes later.
                self.oldest.wanted = 0;
                break;
            };
            let Some(position) = position_of_key(&key) else {
                left -= 1;
                continue;
            };
            self.oldest.upto = position;
            let Ok(record) = Record::decode(&value, position) else {
                left -= 1;
                continue;
            };
            match self.standing(&record, position)? {
                Standing::Event => {}
                Standing::Value => {
                    self.oldest.first_value.get_or_insert(position);
                    left -= 1;
                    continue;
                }
                Standing::Removed(id) => {
                    self.retention.doom_removed(id, position, value.len() as u64);
                    left -= 1;
                    continue;
                }
            }
            let (bytes, shared) = (value.len() as u64, record.channels.len() > 1);
            left = left.saturating_sub(record.channels.len());
            let mut is_kept = false;
            for name in record.channels {
                let channel = match self.directory.channel(&name, &self.rules, &tiers) {
                    // Its row is damaged. It has no floor that could be moved, and whoever follows it is told that.
                    Err(error) if error.is_damage() => {
                        tiers.damage.found(Table::Channels, name.as_str().as_bytes(), &error);
                        continue;
                    }
                    channel => channel?,
                };
                is_kept |= position > channel.clean.max(channel.row.floor);
                if position > channel.clean && floors.insert(name, position) != Some(position) {
                    self.retention.doom_oldest(channel, position, (bytes, shared));
                }
            }
            if is_kept {
                self.oldest.wanted = self.oldest.wanted.saturating_sub(bytes);
            }
        }
        for (name, floor) in floors {
            let channel = self.directory.channel(&name, &self.rules, &tiers)?;
            self.retention.condemn_oldest(&name, channel, floor, &tiers)?;
        }
        // Files are dropped at the log's front, as far as nothing in them is kept.
        let upto = self.oldest.first_value.map_or(self.oldest.upto, Position::before);
        self.retention.mark_oldest(upto);
        Ok(())
    }

    /// Looks for the first value on the way anew, as the one that was known may have gone, as far as there is time `left`.
    fn seek_first_value(&mut self, left: &mut usize) -> Result<(), StoreError> {
        let Some(first) = self.oldest.first_value else { return Ok(()) };
        let tiers = self.tiers.clone();
        let upto = self.oldest.upto.to_key().to_vec();
        let range = (Bound::Included(first.to_key().to_vec()), Bound::Included(upto));
        for pair in tiers.scan(Tier::Durable, Table::Log, range, Order::Ascending) {
            let (key, value) = pair?;
            let Some(position) = position_of_key(&key) else { continue };
            // Where this step ends, the next one goes on.
            self.oldest.first_value = Some(position);
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            if let Ok(record) = Record::decode(&value, position)
                && matches!(self.standing(&record, position)?, Standing::Value)
            {
                return Ok(());
            }
        }
        self.oldest.first_value = None;
        Ok(())
    }

    fn standing(&mut self, record: &Record, position: Position) -> Result<Standing, StoreError> {
        let (Some(name), Some(key)) = (record.channels.first(), record.key.as_deref()) else {
            return Ok(Standing::Event);
        };
        let id = match self.directory.channel(name, &self.rules, &self.tiers) {
            Ok(channel) if channel.row.kind == Kind::Keys => channel.row.id,
            Ok(_) => return Ok(Standing::Event),
            // What can't be told stays.
            Err(error) if error.is_damage() => return Ok(Standing::Value),
            Err(error) => return Err(error),
        };
        match keys::is_named(&*self.tiers.durable, id, key, position) {
            Ok(true) => Ok(Standing::Value),
            Ok(false) => Ok(Standing::Removed(id)),
            Err(error) if error.is_damage() => Ok(Standing::Value),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::channel::ChannelName;
    use crate::clock::ManualClock;
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::limits::TRIM_ENTRIES_MIN;
    use crate::position::Position;
    use crate::rule::Rules;
    use crate::space::Space;
    use crate::store::memory::MemoryStore;
    use crate::store::{Batch, Order, Persist, Store, Table, keys_with_prefix};
    use crate::writer::{Group, Writer, WriterParts};

    fn open(store: &Arc<MemoryStore>) -> Writer {
        let store: Arc<dyn Store> = store.clone();
        Writer::open(WriterParts {
            space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
            store,
            rules: Arc::new(Rules::default()),
            clock: Arc::new(ManualClock::at(1_000_000)),
            random: Box::new(|| 7),
            window_bytes: 0,
            channels_max: 3,
            cursor_age_max: crate::limits::CURSOR_AGE_MAX,
        })
        .unwrap()
    }

    fn name(channel: usize) -> ChannelName {
        ChannelName::new(&format!("c{channel}")).unwrap()
    }

    /// Positions and bytes of all records.
    fn records(store: &MemoryStore) -> Vec<(Position, u64)> {
        let pairs = store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending).map(Result::unwrap);
        pairs.map(|(key, value)| (Position::from_key(key.as_ref().try_into().unwrap()), value.len() as u64)).collect()
    }

    fn publish(writer: &mut Writer, channel: usize) {
        let draft = Draft::new(vec![name(channel)], Event::text("x"), Publisher::Anyone).unwrap();
        assert!(writer.append(vec![Group { drafts: vec![draft], atomic: false }])[0][0].is_ok());
    }

    #[test]
    fn publishing_alone_removes_more_than_it_appends_and_never_much_at_once() {
        let store = Arc::new(MemoryStore::default());
        let mut writer = open(&store);
        (0..1_000).for_each(|at| publish(&mut writer, at % 5));
        writer.want_oldest(u64::MAX);
        let mut kept = records(&store).len();
        for _ in 0..50 {
            publish(&mut writer, 0);
            let now = records(&store).len();
            assert!(now + TRIM_ENTRIES_MIN > kept && now <= kept + 1, "from {kept} to {now}");
            kept = now;
        }
        assert!(kept <= 50, "what was there before is gone, {kept} are left");
    }

    fn put(writer: &mut Writer, key: &str, value: Option<&str>) -> Position {
        let event = match value {
            Some(value) => Event::text(value.to_owned()).keyed(key),
            None => Event::deletion(key),
        };
        let draft = Draft::new(vec![ChannelName::new("state").unwrap()], event, Publisher::Hub).unwrap();
        let outcome = writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
        outcome[0][0].clone().unwrap().position.unwrap()
    }

    /// A value was removed, and the mark that said so is lost.
    fn bring_back(store: &MemoryStore, position: Position, removal: impl FnOnce()) {
        let record = store.get(Table::Log, &position.to_key()).unwrap().unwrap();
        removal();
        assert_eq!(store.get(Table::Log, &position.to_key()).unwrap(), None);
        let mut batch = Batch::default();
        batch.put(Table::Log, position.to_key().to_vec(), record);
        store.commit(batch, Persist::Now).unwrap();
    }

    /// The bodies that a reader of the log itself gets.
    fn bodies(writer: &Writer) -> Vec<String> {
        let run = writer.history().scan(Position::ORIGIN, Position::LAST, |_, _| true).unwrap();
        run.entries.iter().map(|entry| String::from_utf8(entry.record.data.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_removed_value_that_is_back_in_the_log_is_given_to_nobody_and_goes_with_the_oldest() {
        for is_deleted in [false, true] {
            let store = Arc::new(MemoryStore::default());
            let mut writer = open(&store);
            let secret = put(&mut writer, "a", Some("SECRET"));
            put(&mut writer, "b", Some("kept"));
            publish(&mut writer, 0);
            bring_back(&store, secret, || {
                put(&mut writer, "a", if is_deleted { None } else { Some("new") });
            });
            let last = if is_deleted { "" } else { "new" };
            assert_eq!(bodies(&writer), ["kept", "x", last]);
            // Values stay, but it is none.
            writer.want_oldest(u64::MAX);
            while writer.sweep() || writer.has_removals() {}
            assert_eq!(store.get(Table::Log, &secret.to_key()).unwrap(), None);
            assert_eq!(bodies(&writer), ["kept", last]);
            assert_eq!(writer.history().row(&ChannelName::new("state").unwrap()).unwrap().row.floor, Position::ORIGIN);
        }
    }

    #[test]
    fn where_the_index_is_all_that_is_left_of_keys_it_says_which_values_are_good() {
        let store = Arc::new(MemoryStore::default());
        let mut writer = open(&store);
        let secret = put(&mut writer, "a", Some("SECRET"));
        bring_back(&store, secret, || {
            put(&mut writer, "a", Some("new"));
        });
        let mut batch = Batch::default();
        for pair in store.scan(Table::Keys, keys_with_prefix(b""), Order::Ascending) {
            batch.remove(Table::Keys, pair.unwrap().0);
        }
        store.commit(batch, Persist::Now).unwrap();
        assert_eq!(bodies(&writer), ["new"]);
    }

    #[test]
    fn files_are_dropped_up_to_the_first_value_that_is_still_there() {
        let store = Arc::new(MemoryStore::default());
        let mut writer = open(&store);
        let clear = |writer: &mut Writer| {
            writer.want_oldest(u64::MAX);
            while writer.sweep() || writer.has_removals() {}
            writer.retention.cleared().unwrap()
        };
        publish(&mut writer, 0);
        let first = put(&mut writer, "a", Some("1"));
        (0..10).for_each(|at| publish(&mut writer, at % 3));
        let second = put(&mut writer, "b", Some("1"));
        (0..10).for_each(|at| publish(&mut writer, at % 3));
        assert_eq!(clear(&mut writer), first.before());
        assert_eq!(clear(&mut writer), first.before(), "it is still there");
        put(&mut writer, "a", Some("2"));
        assert_eq!(clear(&mut writer), second.before());
        let third = put(&mut writer, "b", None);
        assert!((second..third).contains(&clear(&mut writer)));
        assert_eq!(bodies(&writer), ["2", ""], "the last value and the deletion");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_oldest_go_and_no_more_of_them_than_wanted_and_every_channel_tells(
            events in prop::collection::vec((prop::collection::vec(0..5usize, 1..3), 0..300usize), 1..60),
            wanted in prop::collection::vec(1..4_000u64, 1..5),
            reopened in any::<bool>(),
        ) {
            let store = Arc::new(MemoryStore::default());
            let mut writer = open(&store);
            let mut channels_of = std::collections::BTreeMap::new();
            for (channels, bytes) in events {
                let names: Vec<_> = channels.iter().map(|channel| name(*channel)).collect();
                let draft = Draft::new(names.clone(), Event::text("x".repeat(bytes)), Publisher::Anyone).unwrap();
                let outcome = writer.append(vec![Group { drafts: vec![draft], atomic: false }]);
                channels_of.insert(outcome[0][0].clone().unwrap().position.unwrap(), names);
            }
            let mut expected = records(&store);
            for wanted in wanted {
                if reopened {
                    writer = open(&store);
                }
                let mut left = wanted;
                while left > 0 && !expected.is_empty() {
                    left = left.saturating_sub(expected.remove(0).1);
                }
                writer.want_oldest(wanted);
                while writer.sweep() || writer.has_removals() {}
                prop_assert_eq!(&records(&store), &expected);
                let kept = store.scan(Table::ByChannel, keys_with_prefix(b""), Order::Ascending).count();
                let entries: usize = expected.iter().map(|(position, _)| {
                    channels_of[position].iter().collect::<std::collections::BTreeSet<_>>().len()
                }).sum();
                prop_assert_eq!(kept, entries);
            }
            // The floor of each channel is its newest event that is gone.
            let first = expected.first().map_or(Position::LAST, |(position, _)| *position);
            for channel in 0..5 {
                let gone = channels_of.iter().filter(|(at, names)| **at < first && names.contains(&name(channel)));
                let newest = gone.map(|(at, _)| *at).max().unwrap_or_default();
                let floor = writer.history().row(&name(channel)).unwrap().row.floor;
                prop_assert_eq!(floor, newest);
            }
        }
    }
}
