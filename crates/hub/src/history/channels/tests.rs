//! Values that are read while their keys get others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::clock::ManualClock;
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::history::History;
use crate::rule::Rules;
use crate::space::Space;
use crate::store::memory::MemoryStore;
use crate::store::{Batch, DiskRoom, KeyRange, Order, Persist, Scan, Store, StoreError, Table};
use crate::writer::{Group, Writer, WriterParts};

/// A store whose reader is overtaken: something is published each time it looks for a record.
struct Overtaken {
    store: Arc<MemoryStore>,
    writer: Mutex<Writer>,
    /// What is published before a record is read, last first.
    before: Mutex<Vec<Vec<Event>>>,
    /// What is published once it is read, last first.
    behind: Mutex<Vec<Vec<Event>>>,
}

impl Overtaken {
    fn new(first: Vec<Event>) -> Arc<Self> {
        let store = Arc::new(MemoryStore::default());
        let writer = Writer::open(WriterParts {
            space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
            store: store.clone(),
            rules: Arc::new(Rules::new(Vec::new())),
            clock: Arc::new(ManualClock::at(1_000)),
            random: Box::new(|| 7),
            window_bytes: 1 << 20,
            channels_max: 2,
            cursor_age_max: Duration::from_hours(1),
        });
        let (before, behind) = Default::default();
        let this = Arc::new(Self { store, writer: Mutex::new(writer.unwrap()), before, behind });
        this.publish(first);
        this
    }

    fn publish(&self, events: Vec<Event>) {
        let draft = |event| Draft::new(vec![name()], event, Publisher::Hub).unwrap();
        let drafts = events.into_iter().map(draft).collect();
        let outcomes = self.writer.lock().unwrap().append(vec![Group { drafts, atomic: false }]);
        assert!(outcomes[0].iter().all(Result::is_ok));
    }

    /// What reads it.
    fn history(self: &Arc<Self>) -> History {
        let mut history = self.writer.lock().unwrap().history();
        history.tiers.durable = self.clone();
        history
    }
}

impl Store for Overtaken {
    fn commit(&self, _: Batch, _: Persist) -> Result<(), StoreError> {
        panic!("readers write nothing")
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if table != Table::Log {
            return self.store.get(table, key);
        }
        let before = self.before.lock().unwrap().pop();
        if let Some(events) = before {
            self.publish(events);
        }
        let value = self.store.get(table, key);
        let behind = self.behind.lock().unwrap().pop();
        if let Some(events) = behind {
            self.publish(events);
        }
        value
    }

    fn scan(&self, table: Table, range: KeyRange, order: Order) -> Scan<'_> {
        self.store.scan(table, range, order)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        self.store.reclaim()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.store.disk_bytes()
    }

    fn table_bytes(&self, table: Table) -> Option<u64> {
        self.store.table_bytes(table)
    }

    fn disk_room(&self) -> Result<DiskRoom, StoreError> {
        self.store.disk_room()
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.store.reopen()
    }
}

fn name() -> ChannelName {
    ChannelName::new("c").unwrap()
}

fn value(key: &str, data: &str) -> Event {
    Event::text(data.to_owned()).keyed(key)
}

fn one(history: &History, key: &str) -> Option<String> {
    let entry = history.value(history.row(&name()).unwrap(), key).unwrap()?;
    Some(String::from_utf8(entry.record.data.to_vec()).unwrap())
}

/// All values, by pages of at most `limit`.
fn all(history: &History, limit: usize) -> Vec<(String, String)> {
    let (mut all, mut after) = (Vec::new(), Some(String::new()));
    while let Some(key) = after {
        let (entries, next) = history.values(history.row(&name()).unwrap(), &key, limit).unwrap();
        all.extend(
            entries.iter().map(|entry| {
                (entry.record.key.clone().unwrap(), String::from_utf8(entry.record.data.to_vec()).unwrap())
            }),
        );
        after = next;
    }
    all
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, data)| ((*key).to_owned(), (*data).to_owned())).collect()
}

#[test]
fn a_key_that_always_had_a_value_is_never_said_to_have_none() {
    let store = Overtaken::new(vec![value("a", "1"), value("b", "1")]);
    let history = store.history();
    *store.before.lock().unwrap() = vec![vec![value("a", "3")], vec![value("a", "2")]];
    assert_eq!(one(&history, "a").as_deref(), Some("3"), "superseded twice before it was read");
    for limit in [1, 10] {
        *store.before.lock().unwrap() = vec![vec![value("a", "5"), value("b", "5")], vec![value("a", "4")]];
        assert_eq!(all(&history, limit), pairs(&[("a", "5"), ("b", "5")]), "in the order of the keys");
    }
}

#[test]
fn a_key_that_was_superseded_while_another_was_deleted_has_its_last_value() {
    let first = || vec![value("a", "1"), value("b", "1"), value("c", "1")];
    let store = Overtaken::new(first());
    let history = store.history();
    *store.behind.lock().unwrap() = vec![vec![value("a", "2"), Event::deletion("b")]];
    assert_eq!(one(&history, "a").as_deref(), Some("2"));
    store.publish(first());
    *store.behind.lock().unwrap() = vec![vec![value("a", "2"), Event::deletion("b")]];
    assert_eq!(all(&history, 10), pairs(&[("a", "2"), ("c", "1")]));
}

#[test]
fn a_key_that_is_deleted_while_it_is_read_has_no_value() {
    let store = Overtaken::new(vec![value("a", "1")]);
    let history = store.history();
    *store.before.lock().unwrap() = vec![vec![Event::deletion("a")]];
    assert_eq!(one(&history, "a"), None);
    store.publish(vec![value("a", "1")]);
    *store.behind.lock().unwrap() = vec![vec![Event::deletion("a")]];
    assert_eq!(one(&history, "a"), None);
}
