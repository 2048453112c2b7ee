//! Values of keys after tables were mended, on a store in memory that says what was lost of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::restore;
use crate::channel::ChannelName;
use crate::clock::ManualClock;
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::keys::{HasKeys, Held, KeyRow, OF_NONE};
use crate::log::record::Record;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::rule::{Rule, Rules, WhenFull};
use crate::space::Space;
use crate::store::memory::MemoryStore;
use crate::store::tier::Tiers;
use crate::store::{Batch, KeyRange, LostRows, Order, Persist, Scan, Store, StoreError, Table, keys_with_prefix};
use crate::writer::{Group, Writer, WriterParts};

/// A store that says what mending took of it, and takes so many commits.
struct Mended {
    disk: MemoryStore,
    lost: Mutex<Vec<LostRows>>,
    commits: AtomicU64,
    commits_max: AtomicU64,
}

impl Mended {
    fn new() -> Arc<Self> {
        let (lost, commits, commits_max) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Arc::new(Self { disk: MemoryStore::default(), lost, commits, commits_max })
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    fn lose(&self, tables: &[Table]) {
        let all = |table: &Table| LostRows { table: *table, after: None, before: None };
        *self.lost.lock().unwrap() = tables.iter().map(all).collect();
    }

    fn rows(&self, table: Table) -> BTreeMap<Bytes, Bytes> {
        self.disk.scan(table, keys_with_prefix(b""), Order::Ascending).map(Result::unwrap).collect()
    }

    fn put_all(&self, table: Table, rows: &BTreeMap<Bytes, Bytes>) {
        let mut batch = Batch::default();
        for (key, value) in rows {
            batch.put(table, key.clone(), value.clone());
        }
        self.disk.commit(batch, Persist::Now).unwrap();
    }

    fn clear(&self, table: Table) {
        let mut batch = Batch::default();
        self.rows(table).into_keys().for_each(|key| batch.remove(table, key));
        self.disk.commit(batch, Persist::Now).unwrap();
    }

    /// The bodies that are in the log.
    fn bodies(&self) -> BTreeSet<String> {
        let body = |(key, value): (Bytes, Bytes)| {
            let position = Position::from_key(key.as_ref().try_into().unwrap());
            String::from_utf8(Record::decode(&value, position).unwrap().data.to_vec()).unwrap()
        };
        self.rows(Table::Log).into_iter().map(body).collect()
    }

    /// The bodies that the table `keys` names.
    fn named(&self) -> BTreeSet<String> {
        let rows = self.rows(Table::Keys).into_iter().filter(|(key, _)| key.len() > 8);
        rows.map(|(_, row)| {
            let position = KeyRow::decode(&row).unwrap().position;
            let record = self.disk.get(Table::Log, &position.to_key()).unwrap().unwrap();
            String::from_utf8(Record::decode(&record, position).unwrap().data.to_vec()).unwrap()
        })
        .collect()
    }
}

impl Store for Mended {
    fn commit(&self, batch: Batch, persist: Persist) -> Result<(), StoreError> {
        if self.commits.fetch_add(1, Ordering::SeqCst) >= self.commits_max.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("the machine fails".into()));
        }
        self.disk.commit(batch, persist)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.disk.get(table, key)
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        self.disk.scan(table, range, order)
    }

    fn lost_rows(&self) -> Vec<LostRows> {
        self.lost.lock().unwrap().clone()
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.lost.lock().unwrap().clear();
        Ok(())
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn open(store: &Arc<Mended>, clock: &Arc<ManualClock>) -> Writer {
    let store: Arc<dyn Store> = store.clone();
    let inbox = Rule::new(Pattern::new("inbox").unwrap()).keys(2, WhenFull::DropOldest);
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: Arc::new(Rules::new(vec![inbox])),
        clock: clock.clone(),
        random: Box::new(|| 7),
        window_bytes: 0,
        channels_max: 3,
        cursor_age_max: Duration::from_secs(100),
    })
    .unwrap()
}

fn put(writer: &mut Writer, channel: &str, event: Event) {
    let draft = Draft::new(vec![ChannelName::new(channel).unwrap()], event, Publisher::Hub).unwrap();
    assert!(writer.append(vec![Group { drafts: vec![draft], atomic: false }])[0][0].is_ok());
}

fn value(key: &str, data: &str) -> Event {
    Event::text(data.to_owned()).keyed(key)
}

fn sweep(writer: &mut Writer) {
    while writer.sweep() || writer.has_removals() {}
}

fn set(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

/// A folder whose log shows all that there ever was, of which only `kept` is there. Returns it with its clock.
fn with_everything_back() -> (Arc<Mended>, Arc<ManualClock>) {
    let (store, clock) = (Mended::new(), Arc::new(ManualClock::at(1_000_000)));
    let mut writer = open(&store, &clock);
    let (mut log, mut index) = (BTreeMap::new(), BTreeMap::new());
    let events = [
        ("state", value("a", "superseded")),
        ("state", value("b", "deleted")),
        ("state", value("c", "expired").ttl(Duration::from_secs(1))),
        ("state", value("k", "kept")),
        ("state", value("a", "last")),
        ("state", Event::deletion("b")),
        ("inbox", value("1", "dropped")),
        ("inbox", value("2", "second")),
        ("inbox", value("3", "third")),
    ];
    for (channel, event) in events {
        put(&mut writer, channel, event);
        log.extend(store.rows(Table::Log));
        index.extend(store.rows(Table::ByChannel));
    }
    // Of the deletion nothing is left.
    for seconds in [2, 400] {
        clock.advance(Duration::from_secs(seconds));
        sweep(&mut writer);
    }
    writer.close().unwrap();
    assert_eq!(store.bodies(), set(&["kept", "last", "second", "third"]));
    store.put_all(Table::Log, &log);
    (store, clock)
}

#[test]
fn after_the_log_was_mended_no_removed_value_is_there_again() {
    let others: [&[Table]; 6] =
        [&[], &[Table::Due], &[Table::Meta], &[Table::ByChannel], &[Table::Channels], &[Table::Keys]];
    for others in others {
        let (store, clock) = with_everything_back();
        for table in others {
            store.clear(*table);
        }
        let tables = [others, &[Table::Log]].concat();
        store.lose(&tables);
        drop(open(&store, &clock));
        let kept = set(&["kept", "last", "second", "third"]);
        assert_eq!((store.bodies(), store.named()), (kept.clone(), kept), "without {tables:?}");
        assert_eq!(store.rows(Table::ByChannel).len(), 4);
    }
}

#[test]
fn where_nothing_tells_removed_values_from_others_floors_and_times_to_live_still_do() {
    let (store, clock) = with_everything_back();
    store.clear(Table::Keys);
    store.clear(Table::ByChannel);
    store.lose(&[Table::Log, Table::Keys, Table::ByChannel]);
    let mut writer = open(&store, &clock);
    sweep(&mut writer);
    // The last of each key, above the floor; what has run out of time is deleted once more.
    let left = set(&["", "kept", "last", "second", "third"]);
    assert_eq!((store.bodies(), store.named()), (left.clone(), left));
}

#[test]
fn a_restoration_that_a_crash_cuts_short_is_done_again() {
    let count = 100;
    let lost = || {
        let (store, clock) = (Mended::new(), Arc::new(ManualClock::at(1_000_000)));
        let mut writer = open(&store, &clock);
        (0..count).for_each(|n| put(&mut writer, "state", value(&format!("k{n}"), &format!("v{n}"))));
        writer.close().unwrap();
        drop(writer);
        store.clear(Table::Keys);
        (store, clock)
    };
    let restored = |store: &Arc<Mended>| {
        let before = store.commits();
        let tiers = Tiers::new(store.clone());
        (restore(&tiers, &mut || 7).is_ok(), store.commits() - before)
    };
    let (whole, _) = lost();
    let (_, commits) = restored(&whole);
    assert!(commits > 3, "or there is nothing to be cut");
    for left in 0..commits {
        let (store, clock) = lost();
        store.commits_max.store(store.commits() + left, Ordering::SeqCst);
        assert!(!restored(&store).0);
        store.commits_max.store(u64::MAX, Ordering::SeqCst);
        drop(open(&store, &clock));
        assert_eq!(store.named().len(), count, "after {left} commits");
        assert_eq!(restored(&store), (true, 0), "it is done now");
    }
}

#[test]
fn a_folder_whose_keys_are_all_gone_is_restored_once() {
    for name in ["state", "@inbox/ada", "@devices/ada"] {
        let (store, mut batch) = (Mended::new(), Batch::default());
        HasKeys::restore([&ChannelName::new(name).unwrap()], &mut batch);
        batch.remove(Table::Keys, Held::key(OF_NONE));
        store.disk.commit(batch, Persist::Now).unwrap();
        for commits in [1, 1] {
            restore(&Tiers::new(store.clone()), &mut || 7).unwrap();
            assert_eq!(store.commits(), commits, "{name}");
        }
        assert_eq!(HasKeys::open(&*store).unwrap().get(), name == "state", "of others streams know by their names");
    }
}
