//! What leaves a channel of keys because its time has come, because rules became stricter, or not at all since something is
//! damaged or failed; and groups that are taken as a whole.

use std::time::Duration;

use super::{Rig, name, pairs, value};
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::keys::Held;
use crate::limits::DISK_RESERVE_BYTES;
use crate::log::channel_row::EndReason;
use crate::pattern::Pattern;
use crate::position::Position;
use crate::rule::{Durability, HistoryLimits, Rule, WhenFull};
use crate::store::faulty::{Fate, Fault};
use crate::store::{Batch, Order, Persist, Store, Table, keys_with_prefix};
use crate::writer::{AppendError, Group};

/// Everything that is due is done.
fn sweep(rig: &mut Rig) {
    while rig.writer.sweep() || rig.writer.has_removals() {}
}

/// Inboxes keep messages for so long.
fn with_age(rig: &mut Rig, age: Duration) {
    let limits = HistoryLimits { age_max: age, ..HistoryLimits::default() };
    let rule = Rule::new(Pattern::new("inbox").unwrap()).history(limits).keys(100, WhenFull::DropOldest);
    rig.writer.rules.replace(vec![rule]);
    rig.writer.sweep();
}

#[test]
fn a_message_that_is_too_old_and_out_of_time_at_once_is_counted_out_once() {
    let mut rig = Rig::new();
    with_age(&mut rig, Duration::from_mins(1));
    rig.put("inbox", value("a", "1").ttl(Duration::from_mins(1))).unwrap();
    rig.clock.advance(Duration::from_secs(30));
    rig.put("inbox", value("b", "1")).unwrap();
    assert_eq!(rig.held("inbox").values, 2);
    rig.clock.advance(Duration::from_secs(31));
    sweep(&mut rig);
    assert_eq!(rig.values("inbox"), pairs(&[("b", "1")]));
    assert_eq!(rig.held("inbox").values, 1);
}

#[test]
fn messages_whose_time_ran_out_while_the_hub_was_away_leave_no_gap() {
    let mut rig = Rig::new();
    with_age(&mut rig, Duration::from_mins(1));
    rig.put("inbox", value("a", "1").ttl(Duration::from_secs(10))).unwrap();
    rig.put("inbox", value("a2", "1").ttl(Duration::from_secs(20))).unwrap();
    rig.clock.advance(Duration::from_secs(30));
    rig.put("inbox", value("b", "1")).unwrap();
    rig.clock.advance(Duration::from_secs(31));
    sweep(&mut rig);
    let floor = rig.writer.history().row(&name("inbox")).unwrap().row.floor;
    assert_eq!(floor, Position::ORIGIN, "a message with a ttl goes without a gap");
    assert_eq!(rig.held("inbox").values, 1);
}

#[test]
fn an_age_limit_holds_after_an_inbox_was_empty() {
    let mut rig = Rig::new();
    with_age(&mut rig, Duration::from_mins(1));
    rig.put("inbox", value("a", "1")).unwrap();
    for _ in 0..10 {
        rig.clock.advance(Duration::from_secs(30));
        sweep(&mut rig);
    }
    assert_eq!(rig.values("inbox"), pairs(&[]));
    rig.put("inbox", value("b", "1")).unwrap();
    for _ in 0..4 {
        rig.clock.advance(Duration::from_secs(30));
        sweep(&mut rig);
    }
    assert_eq!(rig.values("inbox"), pairs(&[]), "two minutes old, and the rule says one");
}

#[test]
fn an_atomic_group_is_whole_also_where_an_empty_channel_has_a_row() {
    let mut rig = Rig::new();
    let fence = Draft::fence(name("c"), Publisher::Hub).unwrap();
    rig.writer.append(vec![Group { drafts: vec![fence], atomic: false }]);
    let outcome = rig.append(true, vec![("c", "plain".into()), ("c", value("a", "1"))]);
    assert!(outcome[0].is_err(), "{outcome:?}");
}

#[test]
fn a_value_in_memory_that_takes_one_from_disk_comes_to_be_whole_or_not_at_all() {
    for fate in [Fate::Kept, Fate::Dropped] {
        let mut rig = Rig::new();
        rig.put("c", value("a", "disk")).unwrap();
        rig.writer.rules.replace(vec![Rule::new(Pattern::new("c").unwrap()).durability(Durability::Memory)]);
        rig.writer.sweep();
        rig.store.fail(Fault { fate, failed_reopenings: 0, closed_meanwhile: false });
        assert_eq!(rig.put("c", value("a", "memory")), Err(AppendError::OutcomeUnknown));
        rig.writer.reopen().unwrap();
        assert_eq!(rig.values("c").len(), 1, "{fate:?} {:?}", rig.values("c"));
    }
}

#[test]
fn what_is_refused_for_a_deletion_that_never_came_to_be_may_be_repeated() {
    let mut rig = Rig::new();
    rig.put("c", value("a", "1")).unwrap();
    rig.store.fail(Fault { fate: Fate::Dropped, failed_reopenings: 0, closed_meanwhile: false });
    let one = || Group {
        drafts: vec![Draft::new(vec![name("c")], Event::deletion("a"), Publisher::Hub).unwrap()],
        atomic: false,
    };
    let outcomes = rig.writer.append(vec![one(), one()]);
    rig.writer.reopen().unwrap();
    assert_eq!(rig.values("c"), pairs(&[("a", "1")]), "it is there");
    assert_ne!(outcomes[1], [Err(AppendError::UnknownKey)], "and it was said that it is not");
}

/// The row of a channel is damaged.
fn spoil(rig: &mut Rig, channel: &str) {
    let mut batch = Batch::default();
    batch.put(Table::Channels, channel.as_bytes().to_vec(), b"garbage".to_vec());
    rig.store.commit(batch, Persist::Now).unwrap();
    let store = rig.store.clone();
    rig.writer.directory.forget_all(&*store).unwrap();
}

#[test]
fn an_event_whose_time_runs_out_in_a_damaged_channel_fails_no_sweep() {
    let mut rig = Rig::new();
    rig.put("d", Event::text("x").ttl(Duration::from_secs(1))).unwrap();
    spoil(&mut rig, "d");
    rig.clock.advance(Duration::from_secs(2));
    rig.writer.sweep();
    assert!(!rig.writer.is_failed());
    assert_eq!(rig.put("d", "y".into()), Err(AppendError::Damaged));
    rig.put("e", "y".into()).unwrap();
}

#[test]
fn an_event_that_a_damaged_channel_shares_fails_no_commit() {
    let mut rig = Rig::new();
    let limits = HistoryLimits { count_max: 1, ..HistoryLimits::default() };
    rig.writer.rules.replace(vec![Rule::new(Pattern::new("e").unwrap()).history(limits)]);
    rig.writer.sweep();
    let both = Draft::new(vec![name("e"), name("d")], "both".into(), Publisher::Hub).unwrap();
    rig.writer.append(vec![Group { drafts: vec![both], atomic: false }]);
    spoil(&mut rig, "d");
    for n in 0..20 {
        assert!(rig.put("e", n.to_string().as_str().into()).is_ok(), "{n}");
    }
    sweep(&mut rig);
    assert!(!rig.writer.is_failed());
}

#[test]
fn stricter_limits_hold_for_inboxes_that_nobody_publishes_to() {
    let mut rig = Rig::new();
    with_age(&mut rig, Duration::from_mins(100));
    for key in ["a", "b", "c", "d", "e"] {
        rig.put("inbox", value(key, "1")).unwrap();
    }
    let rule = Rule::new(Pattern::new("inbox").unwrap()).keys(2, WhenFull::DropOldest);
    rig.writer.rules.replace(vec![rule]);
    for _ in 0..5 {
        rig.clock.advance(Duration::from_secs(5));
        sweep(&mut rig);
    }
    assert_eq!(rig.held("inbox").values, 2);
}

#[test]
fn memory_channels_are_forgotten_after_a_restart_too() {
    let mut rig = Rig::new();
    rig.put("d", "x".into()).unwrap();
    rig.put("m", "x".into()).unwrap();
    sweep(&mut rig);
    rig.restart();
    for _ in 0..3000 {
        rig.clock.advance(Duration::from_mins(10));
        sweep(&mut rig);
    }
    let rows = rig.store.scan(Table::Channels, keys_with_prefix(b""), Order::Ascending).map(Result::unwrap);
    let names: Vec<_> = rows.map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect();
    assert_eq!(names, Vec::<String>::new());
}

#[test]
fn an_atomic_group_of_small_values_that_fit_is_taken() {
    let mut rig = Rig::new();
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let group = |keys: &[String]| keys.iter().map(|key| ("bytes", value(key, "1"))).collect::<Vec<_>>();
    assert!(rig.append(false, group(&keys)).iter().all(Result::is_ok), "one by one");
    let mut rig = Rig::new();
    let outcome = rig.append(true, group(&keys));
    assert!(
        outcome.iter().all(Result::is_ok),
        "together {:?} {:?}",
        outcome.last(),
        outcome.iter().position(|o| *o == Err(AppendError::TooManyKeys))
    );
}

#[test]
fn a_value_whose_time_runs_out_is_deleted_and_the_deletion_forgotten_some_day() {
    for channel in ["c", "memory"] {
        let mut rig = Rig::new();
        rig.put(channel, value("a", "old")).unwrap();
        rig.put(channel, value("a", "short").ttl(Duration::from_secs(1))).unwrap();
        rig.put(channel, value("b", "1")).unwrap();
        rig.clock.advance(Duration::from_secs(2));
        sweep(&mut rig);
        assert_eq!(rig.values(channel), pairs(&[("b", "1"), ("a", "-")]), "{channel}");
        assert_eq!(rig.held(channel).values, 1);
        for _ in 0..40 {
            rig.clock.advance(Duration::from_hours(24));
            sweep(&mut rig);
        }
        assert_eq!(rig.values(channel), pairs(&[("b", "1")]), "{channel}");
    }
}

#[test]
fn a_value_whose_time_runs_out_goes_without_a_word_where_its_channel_has_ended() {
    let mut rig = Rig::new();
    rig.put("c", value("a", "short").ttl(Duration::from_secs(1))).unwrap();
    let end = Draft::ending(&name("c"), EndReason::Done, None, Publisher::Hub).unwrap();
    rig.writer.append(vec![Group { drafts: vec![end], atomic: false }]);
    rig.clock.advance(Duration::from_secs(2));
    sweep(&mut rig);
    assert_eq!(rig.held("c"), Held::default());
    assert!(!rig.writer.is_failed());
}

#[test]
fn a_value_whose_time_runs_out_without_room_for_its_deletion_waits() {
    let mut rig = Rig::new();
    rig.put("c", value("a", "short").ttl(Duration::from_secs(1))).unwrap();
    rig.clock.advance(Duration::from_secs(2));
    let space = rig.writer.space.clone();
    rig.store.limit_room(Some(DISK_RESERVE_BYTES * 3 / 4));
    space.look();
    sweep(&mut rig);
    assert_eq!(rig.held("c").values, 1);
    rig.store.limit_room(None);
    space.look();
    rig.clock.advance(Duration::from_secs(11));
    sweep(&mut rig);
    assert_eq!(rig.values("c"), pairs(&[("a", "-")]));
}

#[test]
fn ends_and_reopenings_of_a_state_channel_leave_the_log_some_day() {
    let mut rig = Rig::new();
    rig.put("small", value("a", "1")).unwrap();
    for _ in 0..50 {
        let end = Draft::ending(&name("small"), EndReason::Done, None, Publisher::Hub).unwrap();
        let open = Draft::reopening(&name("small"), Publisher::Hub).unwrap();
        rig.writer.append(vec![Group { drafts: vec![end, open], atomic: false }]);
    }
    assert_eq!(rig.bodies().len(), 101);
    for _ in 0..40 {
        rig.clock.advance(Duration::from_hours(24));
        sweep(&mut rig);
    }
    assert_eq!(rig.bodies().len(), 1);
}
