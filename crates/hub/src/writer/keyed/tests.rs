//! Values of keys in a writer alone: what stays in the log, what is refused, what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::archive::Archive;
use crate::channel::ChannelName;
use crate::clock::ManualClock;
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::history::Source;
use crate::keys::Held;
use crate::log::record::Record;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::rule::{Durability, HistoryLimits, Rule, Rules, WhenFull};
use crate::space::Space;
use crate::store::faulty::{Fate, Fault, FaultyStore};
use crate::store::{Order, Store, Table, keys_with_prefix};
use crate::writer::{AppendError, Group, Placed, Writer, WriterParts};

mod due;

fn name(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

fn rules() -> Arc<Rules> {
    let rule = |pattern| Rule::new(Pattern::new(pattern).unwrap());
    Arc::new(Rules::new(vec![
        rule("small").keys(3, WhenFull::Refuse),
        rule("inbox").keys(3, WhenFull::DropOldest),
        rule("bytes").history(HistoryLimits { bytes_max: 1_000, ..HistoryLimits::default() }),
        rule("m*").durability(Durability::Memory),
        rule("t*").durability(Durability::Transient),
    ]))
}

struct Rig {
    store: Arc<FaultyStore>,
    clock: Arc<ManualClock>,
    writer: Writer,
}

impl Rig {
    fn new() -> Self {
        let (store, clock) = (Arc::new(FaultyStore::default()), Arc::new(ManualClock::at(1_000_000)));
        Self { writer: open(&store, &clock), store, clock }
    }

    fn restart(&mut self) {
        self.writer.close().unwrap();
        self.store.restart(false);
        self.writer = open(&self.store, &self.clock);
    }

    fn append(&mut self, atomic: bool, events: Vec<(&str, Event)>) -> Vec<Result<Placed, AppendError>> {
        let draft = |(channel, event)| Draft::new(vec![name(channel)], event, Publisher::Hub).unwrap();
        let drafts = events.into_iter().map(draft).collect();
        self.writer.append(vec![Group { drafts, atomic }]).remove(0)
    }

    fn put(&mut self, channel: &str, event: Event) -> Result<Position, AppendError> {
        self.append(false, vec![(channel, event)]).remove(0).map(|placed| placed.position.unwrap_or_default())
    }

    /// What history gives of a channel: keys with their values, or with nothing where they were deleted.
    fn values(&self, channel: &str) -> Vec<(String, String)> {
        let history = self.writer.history();
        let known = history.row(&name(channel)).unwrap();
        let (mut all, mut at) = (Vec::new(), Position::ORIGIN);
        while at < Position::LAST {
            let run = history.merge(&[Source { ids: known.ids, above: at }], Position::LAST).unwrap();
            all.extend(run.entries.iter().map(|entry| {
                let data = String::from_utf8(entry.record.data.to_vec()).unwrap();
                (entry.record.key.clone().unwrap(), if entry.record.is_deleted { "-".to_owned() } else { data })
            }));
            at = run.covered;
        }
        all
    }

    /// What the writer says that a channel holds, checked against what is there.
    fn held(&mut self, channel: &str) -> Held {
        let Writer { directory, rules, tiers, .. } = &mut self.writer;
        let channel = directory.channel(&name(channel), rules, tiers).unwrap();
        let mut counted = Held::default();
        for store in [&*tiers.durable, &*tiers.memory as &dyn Store] {
            let keys = keys_with_prefix(&channel.row.id.to_be_bytes());
            for pair in store.scan(Table::Keys, keys, Order::Ascending).map(Result::unwrap) {
                if pair.0.len() > 8 {
                    counted.add(crate::keys::KeyRow::decode(&pair.1).unwrap());
                }
            }
        }
        assert_eq!(channel.held(), counted);
        counted
    }

    /// The bodies that are in the stores.
    fn bodies(&self) -> BTreeMap<Position, String> {
        let scan = self.store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending).map(Result::unwrap);
        let body = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            let position = Position::from_key(key.as_ref().try_into().unwrap());
            (position, String::from_utf8(Record::decode(&value, position).unwrap().data.to_vec()).unwrap())
        };
        scan.map(body).collect()
    }

    /// A check of the folder finds nothing wrong.
    fn check(&mut self) {
        self.writer.commit(crate::writer::Commit::default()).unwrap();
        let store: Arc<dyn Store> = self.store.clone();
        let report = Archive::on(&store, false).unwrap().check().unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
}

fn open(store: &Arc<FaultyStore>, clock: &Arc<ManualClock>) -> Writer {
    let store: Arc<dyn Store> = store.clone();
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: rules(),
        clock: clock.clone(),
        random: Box::new(|| 7),
        window_bytes: 1 << 20,
        channels_max: 2,
        cursor_age_max: Duration::from_hours(1),
    })
    .unwrap()
}

fn value(key: &str, data: &str) -> Event {
    Event::text(data.to_owned()).keyed(key)
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, data)| ((*key).to_owned(), (*data).to_owned())).collect()
}

#[test]
fn the_last_value_of_each_key_stays_within_one_commit_and_across() {
    for atomic in [false, true] {
        let mut rig = Rig::new();
        let batch =
            vec![("c", value("a", "1")), ("c", value("b", "1")), ("c", value("a", "2")), ("c", value("a", "3"))];
        assert!(rig.append(atomic, batch).iter().all(Result::is_ok));
        assert_eq!(rig.values("c"), pairs(&[("b", "1"), ("a", "3")]));
        assert_eq!(rig.bodies().len(), 2, "nothing else is in the log");
        rig.put("c", value("b", "2")).unwrap();
        assert_eq!(rig.values("c"), pairs(&[("a", "3"), ("b", "2")]));
        assert_eq!((rig.held("c").values, rig.bodies().len()), (2, 2));
        rig.check();
        rig.restart();
        assert_eq!(rig.held("c").values, 2);
        rig.put("c", value("a", "4")).unwrap();
        assert_eq!(rig.values("c"), pairs(&[("b", "2"), ("a", "4")]));
        let floor = rig.writer.history().row(&name("c")).unwrap().row.floor;
        assert_eq!(floor, Position::ORIGIN, "no gap is due for what was superseded");
        rig.check();
    }
}

#[test]
fn a_deleted_value_leaves_a_mark_that_a_new_value_or_time_takes_away() {
    let mut rig = Rig::new();
    let batch = vec![("c", value("a", "SECRET")), ("c", value("b", "1")), ("c", Event::deletion("a"))];
    assert!(rig.append(true, batch).iter().all(Result::is_ok));
    assert_eq!(rig.values("c"), pairs(&[("b", "1"), ("a", "-")]));
    assert!(!rig.bodies().values().any(|body| body == "SECRET"));
    assert_eq!(rig.held("c"), Held { values: 1, deletions: 1, ..rig.held("c") });
    assert_eq!(rig.put("c", Event::deletion("a")), Err(AppendError::UnknownKey));
    assert_eq!(rig.put("c", Event::deletion("never")), Err(AppendError::UnknownKey));
    rig.put("c", value("a", "2")).unwrap();
    assert_eq!((rig.held("c").values, rig.held("c").deletions), (2, 0));
    rig.put("c", Event::deletion("b")).unwrap();
    rig.clock.advance(Duration::from_hours(2));
    while rig.writer.sweep() || rig.writer.has_removals() {}
    assert_eq!(rig.values("c"), pairs(&[("a", "2")]), "nobody comes back from before the deletion any more");
    assert_eq!((rig.held("c").values, rig.held("c").deletions), (1, 0));
    rig.check();
}

#[test]
fn a_channel_holds_values_or_events_and_its_first_event_decides() {
    let mut rig = Rig::new();
    let outcome = rig.append(false, vec![("c", value("a", "1")), ("c", "plain".into()), ("e", "plain".into())]);
    assert_eq!((outcome[1].clone(), outcome[2].is_ok()), (Err(AppendError::NoKey), true));
    assert_eq!(rig.put("e", value("a", "1")), Err(AppendError::NoState));
    assert_eq!(rig.put("t", value("a", "1")), Err(AppendError::TransientState));
    rig.restart();
    assert_eq!(rig.put("c", "plain".into()), Err(AppendError::NoKey));
    assert_eq!(rig.put("e", value("a", "1")), Err(AppendError::NoState));
    for events in
        [vec![("n", value("a", "1")), ("n", "plain".into())], vec![("n", "plain".into()), ("n", value("a", ""))]]
    {
        let outcome = rig.append(true, events);
        assert!(matches!(outcome[1], Err(AppendError::NoKey | AppendError::NoState)) && outcome[0].is_err());
    }
    rig.put("n", value("a", "1")).unwrap();
}

#[test]
fn what_came_first_decides_also_within_one_commit() {
    let mut rig = Rig::new();
    for (channel, atomic) in [("n", false), ("o", true), ("m", false)] {
        let group = |event, atomic| {
            let draft = Draft::new(vec![name(channel)], event, Publisher::Hub).unwrap();
            Group { drafts: vec![draft], atomic }
        };
        let outcomes = rig.writer.append(vec![group("plain".into(), false), group(value("a", "1"), atomic)]);
        assert!(outcomes[0][0].is_ok());
        assert_eq!(outcomes[1], [Err(AppendError::NoState)], "{channel}");
        rig.put(channel, "plain, too".into()).unwrap();
        let run = rig.append(false, vec![(channel, "plain".into()), (channel, value("b", "1"))]);
        assert_eq!(run[1], Err(AppendError::NoState));
    }
    rig.check();
}

#[test]
fn a_full_channel_refuses_one_key_more_but_takes_what_it_has_anew() {
    let mut rig = Rig::new();
    for key in ["a", "b", "c"] {
        rig.put("small", value(key, "1")).unwrap();
    }
    assert_eq!(rig.put("small", value("d", "1")), Err(AppendError::TooManyKeys));
    rig.put("small", value("a", "2")).unwrap();
    let swap = || vec![("small", Event::deletion("b")), ("small", value("d", "1")), ("small", value("d", "2"))];
    let too_many = rig.append(true, [swap(), vec![("small", value("e", "1"))]].concat());
    assert_eq!(too_many[3], Err(AppendError::TooManyKeys));
    assert_eq!(too_many[0], Err(AppendError::Batch(3)), "nothing of it was published");
    assert!(rig.append(true, swap()).iter().all(Result::is_ok));
    assert_eq!(rig.values("small"), pairs(&[("c", "1"), ("a", "2"), ("b", "-"), ("d", "2")]));
    rig.put("bytes", value("a", &"x".repeat(500))).unwrap();
    assert_eq!(rig.put("bytes", value("b", &"x".repeat(500))), Err(AppendError::TooManyKeys));
    rig.put("bytes", value("a", &"y".repeat(500))).unwrap();
    rig.put("bytes", value("b", &"x".repeat(300))).unwrap();
    assert!(rig.held("bytes").bytes <= 1_000);
    rig.check();
}

#[test]
fn an_inbox_drops_its_oldest_and_its_floor_says_so() {
    let mut rig = Rig::new();
    let at: Vec<_> = ["a", "b", "c"].map(|key| rig.put("inbox", value(key, "1")).unwrap()).into();
    rig.put("inbox", Event::deletion("b")).unwrap();
    rig.put("inbox", value("d", "1")).unwrap();
    assert_eq!(rig.writer.history().row(&name("inbox")).unwrap().row.floor, Position::ORIGIN);
    rig.put("inbox", value("e", "1")).unwrap();
    assert_eq!(rig.values("inbox"), pairs(&[("c", "1"), ("b", "-"), ("d", "1"), ("e", "1")]));
    assert_eq!(rig.writer.history().row(&name("inbox")).unwrap().row.floor, at[0]);
    rig.check();
    rig.restart();
    // More than fit, in one commit.
    let keys = ["f", "g", "h", "i", "j"];
    assert!(rig.append(false, keys.map(|key| ("inbox", value(key, "2"))).into()).iter().all(Result::is_ok));
    assert_eq!(rig.values("inbox"), pairs(&[("b", "-"), ("h", "2"), ("i", "2"), ("j", "2")]));
    assert_eq!(rig.held("inbox").values, 3);
    rig.check();
    // As many deletions are remembered as there may be keys.
    for round in ["h", "i", "j"] {
        rig.put("inbox", Event::deletion(round)).unwrap();
    }
    assert_eq!(rig.values("inbox"), pairs(&[("h", "-"), ("i", "-"), ("j", "-")]));
    rig.check();
}

#[test]
fn a_value_whose_time_runs_out_is_deleted_where_no_later_one_is() {
    let mut rig = Rig::new();
    rig.put("m", value("a", "1").ttl(Duration::from_secs(10))).unwrap();
    rig.put("c", value("a", "1").ttl(Duration::from_secs(10))).unwrap();
    rig.put("c", value("b", "1").ttl(Duration::from_secs(10))).unwrap();
    rig.put("c", value("b", "2")).unwrap();
    rig.clock.advance(Duration::from_secs(11));
    while rig.writer.sweep() || rig.writer.has_removals() {}
    assert_eq!((rig.values("c"), rig.values("m")), (pairs(&[("b", "2"), ("a", "-")]), pairs(&[("a", "-")])));
    assert_eq!((rig.held("c").values, rig.held("m").values), (1, 0));
    assert_eq!(rig.put("c", Event::deletion("a")), Err(AppendError::UnknownKey));
    rig.check();
}

#[test]
fn what_a_failed_commit_did_to_keys_is_forgotten_or_found() {
    for (fate, kept) in [(Fate::Kept, true), (Fate::Dropped, false)] {
        let mut rig = Rig::new();
        rig.put("c", value("a", "1")).unwrap();
        let first = rig.writer.window.entries(0, 1, 99);
        rig.store.fail(Fault { fate, failed_reopenings: 0, closed_meanwhile: false });
        let batch = vec![("c", value("b", "1")), ("c", value("b", "2")), ("c", Event::deletion("a"))];
        assert!(rig.append(false, batch).iter().all(|outcome| *outcome == Err(AppendError::OutcomeUnknown)));
        rig.writer.reopen().unwrap();
        let crate::window::Slots::Entries(first) = first else { panic!("it is there") };
        assert_eq!(first[0].is_withdrawn(), kept);
        assert_eq!(rig.held("c").values, 1);
        let expected = if kept { pairs(&[("b", "2"), ("a", "-")]) } else { pairs(&[("a", "1")]) };
        assert_eq!(rig.values("c"), expected);
        rig.check();
        rig.put("c", value("b", "3")).unwrap();
        assert_eq!(rig.held("c").values, if kept { 1 } else { 2 });
        rig.check();
    }
}

#[test]
fn a_restart_takes_values_in_memory_and_what_lay_on_disk_before_does_not_come_back() {
    let mut rig = Rig::new();
    rig.put("c", value("a", "disk")).unwrap();
    let moved = Rule::new(Pattern::new("c").unwrap()).durability(Durability::Memory);
    rig.writer.rules.replace(vec![moved]);
    rig.writer.sweep();
    rig.put("c", value("a", "memory")).unwrap();
    assert_eq!(rig.values("c"), pairs(&[("a", "memory")]));
    assert_eq!(rig.held("c").values, 1);
    rig.store.restart(true);
    rig.writer = open(&rig.store, &rig.clock);
    assert_eq!(rig.values("c"), Vec::new());
    rig.put("m", value("a", "1")).unwrap();
    rig.restart();
    assert_eq!(rig.values("m"), Vec::new());
    assert!(rig.writer.history().row(&name("m")).unwrap().row.floor > Position::ORIGIN, "whoever had it is told");
    assert_eq!(rig.put("m", "plain".into()), Err(AppendError::NoKey), "it is what it was");
}

#[test]
fn the_oldest_that_went_from_disk_for_a_value_in_memory_does_not_come_back() {
    let mut rig = Rig::new();
    let at: Vec<_> = ["a", "b", "c"].map(|key| rig.put("inbox", value(key, "disk")).unwrap()).into();
    let moved = Rule::new(Pattern::new("inbox").unwrap()).durability(Durability::Memory);
    rig.writer.rules.replace(vec![moved.keys(3, WhenFull::DropOldest)]);
    rig.writer.sweep();
    rig.put("inbox", value("d", "memory")).unwrap();
    assert_eq!(rig.values("inbox"), pairs(&[("b", "disk"), ("c", "disk"), ("d", "memory")]));
    rig.store.restart(true);
    rig.writer = open(&rig.store, &rig.clock);
    assert_eq!(rig.values("inbox"), pairs(&[("b", "disk"), ("c", "disk")]));
    assert!(rig.writer.history().row(&name("inbox")).unwrap().row.floor >= at[0], "whoever had it is told");
    assert_eq!(rig.held("inbox").values, 2);
}

#[test]
fn the_same_idempotency_key_is_a_duplicate_also_where_there_is_no_room_any_more() {
    let mut rig = Rig::new();
    let first = rig.put("small", value("a", "1").idempotency_key("k")).unwrap();
    for key in ["b", "c"] {
        rig.put("small", value(key, "1")).unwrap();
    }
    rig.put("small", Event::deletion("a")).unwrap();
    rig.put("small", value("d", "1")).unwrap();
    assert_eq!(rig.put("small", value("a", "1").idempotency_key("k")), Ok(first));
    assert_eq!(rig.put("small", value("b", "1").idempotency_key("k")), Err(AppendError::Conflict));
    assert_eq!(rig.values("small"), pairs(&[("b", "1"), ("c", "1"), ("a", "-"), ("d", "1")]));
}

#[test]
fn a_table_of_keys_that_is_lost_is_written_anew_from_the_log() {
    let mut rig = Rig::new();
    let batch = vec![("c", value("a", "1")), ("c", value("b", "1")), ("d", value("a", "1")), ("e", "plain".into())];
    assert!(rig.append(false, batch).iter().all(Result::is_ok));
    rig.put("c", Event::deletion("a")).unwrap();
    let mut lost = crate::store::Batch::default();
    for pair in rig.store.scan(Table::Keys, keys_with_prefix(b""), Order::Ascending) {
        lost.remove(Table::Keys, pair.unwrap().0);
    }
    assert!(lost.changes.len() > 4);
    rig.store.commit(lost, crate::store::Persist::Now).unwrap();
    rig.restart();
    assert_eq!(rig.held("c"), Held { values: 1, deletions: 1, ..rig.held("c") });
    rig.put("d", value("a", "2")).unwrap();
    rig.put("c", value("a", "2")).unwrap();
    rig.put("c", value("b", "2")).unwrap();
    assert_eq!((rig.values("c"), rig.values("d")), (pairs(&[("a", "2"), ("b", "2")]), pairs(&[("a", "2")])));
    assert_eq!(rig.held("c").values, 2);
    rig.check();
}
