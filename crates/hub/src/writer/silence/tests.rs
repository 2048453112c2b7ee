//! Silence by a writer that is driven step by step, over a store that outlives it.

use std::sync::Arc;
use std::time::Duration;

use crate::channel::ChannelName;
use crate::clock::{Clock, ManualClock};
use crate::draft::{Draft, Publisher};
use crate::event::Event;
use crate::limits::CURSOR_AGE_MAX;
use crate::log::append_error::AppendError;
use crate::log::channel_row::{ChannelRow, EndReason};
use crate::pattern::Pattern;
use crate::retention::due::Due;
use crate::rule::{Durability, Rule, Rules};
use crate::space::Space;
use crate::store::faulty::{Fate, Fault, FaultyStore};
use crate::store::tier::Tier;
use crate::store::{Order, Store, Table, keys_with_prefix};
use crate::writer::{Group, Placed, Writer, WriterParts};

const SILENCE_MAX: Duration = Duration::from_mins(1);

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

/// A writer and what it is opened with again.
struct Hub {
    store: Arc<FaultyStore>,
    clock: Arc<ManualClock>,
    writer: Writer,
}

fn open(store: &Arc<FaultyStore>, clock: &Arc<ManualClock>) -> Writer {
    let silent = |pattern| Rule { silence_max: Some(SILENCE_MAX), ..Rule::new(Pattern::new(pattern).unwrap()) };
    let store: Arc<dyn Store> = store.clone();
    Writer::open(WriterParts {
        space: Arc::new(Space::open(store.clone(), None, None).unwrap()),
        store,
        rules: Arc::new(Rules::new(vec![silent("t*").durability(Durability::Transient), silent("a*"), silent("@*")])),
        clock: clock.clone(),
        random: Box::new(|| 7),
        window_bytes: 0,
        channels_max: 4,
        cursor_age_max: CURSOR_AGE_MAX,
    })
    .unwrap()
}

impl Hub {
    fn new() -> Self {
        let (store, clock) = (Arc::new(FaultyStore::default()), Arc::new(ManualClock::at(1_700_000_000_000)));
        let writer = open(&store, &clock);
        Self { store, clock, writer }
    }

    /// The hub crashes, is down for so long, and comes back.
    fn restart_after(&mut self, down: Duration) {
        self.store.restart(true);
        self.clock.advance(down);
        self.writer = open(&self.store, &self.clock);
        self.sweep();
    }

    fn append(&mut self, draft: Draft) -> Result<Placed, AppendError> {
        self.writer.append(vec![Group { drafts: vec![draft], atomic: false }]).remove(0).remove(0)
    }

    fn publish(&mut self, channel: &str) -> Result<Placed, AppendError> {
        self.append(Draft::new(vec![name(channel)], Event::text("x"), Publisher::Hub).unwrap())
    }

    fn end(&mut self, channel: &str) -> Result<Placed, AppendError> {
        self.append(Draft::ending(&name(channel), EndReason::Done, None, Publisher::Anyone).unwrap())
    }

    fn reopen(&mut self, channel: &str) -> Result<Placed, AppendError> {
        self.append(Draft::reopening(&name(channel), Publisher::Anyone).unwrap())
    }

    fn sweep(&mut self) {
        while self.writer.sweep() {}
    }

    /// Time goes on, second by second, with a sweep in each.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.sweep();
        }
    }

    /// Has the writer know nothing of a channel but what its store does.
    fn evict(&mut self) {
        for _ in 0..2 {
            for other in ["other 1", "other 2", "other 3"] {
                self.publish(other).unwrap();
            }
        }
    }

    fn reason(&self, channel: &str) -> Option<EndReason> {
        let row = ChannelRow::read(&*self.store, &name(channel)).unwrap();
        row.and_then(|row| row.end).map(|(_, reason)| reason)
    }

    /// When somebody is to look at a channel.
    fn due(&self) -> Vec<u64> {
        let scan = self.store.scan(Table::Due, keys_with_prefix(b""), Order::Ascending);
        let due = scan.filter_map(|pair| Due::decode(&pair.unwrap().0));
        due.filter_map(|(at_ms, due)| matches!(due, Due::Silence(_)).then_some(at_ms)).collect()
    }
}

#[test]
fn a_reopened_channel_of_which_nothing_more_is_heard_ends_again() {
    let mut hub = Hub::new();
    hub.publish("a").unwrap();
    hub.wait(61);
    assert_eq!(hub.reason("a"), Some(EndReason::Aborted));
    hub.reopen("a").unwrap();
    hub.wait(58);
    assert_eq!(hub.reason("a"), None);
    hub.wait(3);
    assert_eq!(hub.reason("a"), Some(EndReason::Aborted));
}

#[test]
fn a_producer_has_its_time_from_the_start_of_the_hub_on_however_long_it_was_down() {
    let mut hub = Hub::new();
    hub.publish("a").unwrap();
    hub.restart_after(Duration::from_hours(1));
    hub.wait(58);
    assert_eq!(hub.reason("a"), None);
    hub.publish("a").unwrap();
    hub.wait(58);
    assert_eq!(hub.reason("a"), None);
    hub.wait(3);
    assert_eq!(hub.reason("a"), Some(EndReason::Aborted));
}

#[test]
fn a_clock_that_is_set_ahead_ends_nothing_known_or_forgotten() {
    for is_evicted in [false, true] {
        let mut hub = Hub::new();
        hub.publish("a").unwrap();
        hub.wait(10);
        if is_evicted {
            hub.evict();
        }
        hub.clock.set_unix_ms(hub.clock.unix_ms() + 3_600_000);
        hub.wait(40);
        assert_eq!(hub.reason("a"), None, "evicted: {is_evicted}");
        hub.wait(22);
        assert_eq!(hub.reason("a"), Some(EndReason::Aborted), "evicted: {is_evicted}");
    }
}

#[test]
fn a_fence_counts_though_the_channel_has_an_older_event_and_left_memory() {
    let mut hub = Hub::new();
    hub.publish("a").unwrap();
    hub.wait(40);
    hub.append(Draft::fence(name("a"), Publisher::Anyone).unwrap()).unwrap();
    hub.evict();
    hub.wait(58);
    assert_eq!(hub.reason("a"), None);
    hub.wait(3);
    assert_eq!(hub.reason("a"), Some(EndReason::Aborted));
}

#[test]
fn neither_the_hubs_own_channels_nor_transient_ones_end_by_silence() {
    let mut hub = Hub::new();
    hub.publish("@everyone").unwrap();
    hub.publish("t").unwrap();
    hub.append(Draft::fence(name("t"), Publisher::Anyone).unwrap()).unwrap();
    hub.wait(130);
    assert_eq!(hub.reason("@everyone"), None);
    assert!(hub.writer.history().row(&name("t")).unwrap().row.end.is_none());
    assert!(hub.publish("@everyone").is_ok() && hub.publish("t").is_ok());
}

#[test]
fn a_channel_is_looked_at_once_however_often_the_hub_restarts_and_forgets_it() {
    let mut hub = Hub::new();
    for _ in 0..8 {
        hub.publish("a").unwrap();
        hub.restart_after(Duration::from_secs(1));
        hub.publish("a").unwrap();
        hub.evict();
        hub.clock.advance(Duration::from_secs(1));
    }
    // Each of the leftovers comes up.
    for _ in 0..7 {
        hub.wait(10);
        hub.publish("a").unwrap();
    }
    assert_eq!(hub.due().len(), 1, "{:?}", hub.due());
    hub.wait(62);
    assert_eq!((hub.reason("a"), hub.due().len()), (Some(EndReason::Aborted), 0));
}

#[test]
fn an_end_whose_commit_failed_has_come_to_be_or_has_not_and_is_watched_as_it_is() {
    for (fate, is_there) in [(Fate::Kept, true), (Fate::Dropped, false), (Fate::DroppedWithUnsynced, false)] {
        for ends in [true, false] {
            let mut hub = Hub::new();
            hub.publish("a").unwrap();
            if !ends {
                hub.end("a").unwrap();
            }
            hub.store.fail(Fault { fate, failed_reopenings: 0, closed_meanwhile: false });
            let outcome = if ends { hub.end("a") } else { hub.reopen("a") };
            assert_eq!(outcome, Err(AppendError::OutcomeUnknown), "{fate:?}");
            assert_eq!(hub.publish("a"), Err(AppendError::Reopening), "{fate:?}");
            let found = hub.writer.reopen().unwrap();
            assert_eq!(found, usize::from(is_there), "{fate:?}");
            // The row and the writer's memory of it say what the log does.
            let is_ended = ends == is_there;
            assert_eq!(hub.reason("a").is_some(), is_ended, "{fate:?}, ends: {ends}");
            let log = hub.store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending).count();
            assert_eq!(log, 1 + usize::from(!ends) + found, "{fate:?}");
            let published = hub.publish("a");
            assert_eq!(published == Err(AppendError::Ended), is_ended, "{fate:?}, ends: {ends}: {published:?}");
            let again = if ends { hub.end("a") } else { hub.reopen("a") }.unwrap();
            assert_eq!(again.duplicate, is_there, "{fate:?}, ends: {ends}");
            if !ends {
                hub.wait(61);
                assert_eq!(hub.reason("a"), Some(EndReason::Aborted), "{fate:?}");
            }
            assert_eq!(
                hub.writer.tiers.store(Tier::Memory).scan(Table::Log, keys_with_prefix(b""), Order::Ascending).count(),
                0
            );
        }
    }
}
