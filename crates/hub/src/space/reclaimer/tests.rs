//! The disk under much more than it may keep: real hubs on real folders, with a clock that the test moves, and with files
//! that are small in tests, so that a few MB meet what takes GBs outside.

use std::sync::Arc;
use std::time::Duration;

use super::{Reclaimer, below_first_kept};
use crate::position::Position;
use crate::store::faulty::FaultyStore;
use crate::store::fjall::FjallStore;
use crate::store::{Store, Table, keys_with_prefix};
use crate::{
    ChannelName, Draft, Event, GapReason, HistoryLimits, HistoryQuery, Hub, HubConfig, ManualClock, Order, Pattern,
    Publisher, Rule, Since, Stats,
};

const MIB: u64 = 1024 * 1024;

/// What can't be compressed, or a disk would hardly fill: cut from a long text, so that tests don't spend their time here.
struct Noise {
    state: u64,
    text: String,
}

impl Noise {
    fn new(seed: u64) -> Self {
        let mut noise = Self { state: seed, text: String::new() };
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        noise.text = (0..MIB).map(|_| char::from(letters[noise.below(64) as usize])).collect();
        noise
    }

    fn text(&mut self, bytes: usize) -> String {
        let from = self.below(MIB - bytes as u64) as usize;
        self.text[from..from + bytes].to_owned()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) % bound
    }
}

async fn publish(hub: &Hub, noise: &mut Noise, channels: u64, count: usize, bytes: usize) {
    let draft = |_| {
        let name = ChannelName::new(&format!("c:{}", noise.below(channels))).unwrap();
        Draft::new(vec![name], Event::text(noise.text(bytes)), Publisher::Anyone).unwrap()
    };
    let drafts = (0..count).map(draft).collect();
    assert!(hub.publish_all(drafts, false).await.unwrap().iter().all(Result::is_ok));
}

async fn until(hub: &Hub, what: &str, mut done: impl FnMut(&Stats) -> bool) {
    for _ in 0..600 {
        if done(&hub.stats()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} never came to be: {:?}", hub.stats());
}

fn is_long() -> bool {
    std::env::var_os("FANFARE_LONG").is_some()
}

#[tokio::test]
async fn two_hours_of_ten_times_the_history_limits_stay_bounded_and_leave_an_idle_disk_nearly_empty() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_000_000));
    // Twelve minutes are kept; two hours are ten times that.
    let history = HistoryLimits { age_max: Duration::from_mins(12), count_max: 1_000, ..HistoryLimits::default() };
    let rules = vec![Rule::new(Pattern::new("c:*").unwrap()).history(history)];
    let hub = Hub::open_with(folder.path(), HubConfig { clock: clock.clone(), rules, ..HubConfig::default() }).unwrap();
    let mut noise = Noise::new(7);
    let per_minute = if is_long() { 5_000 } else { 100 };
    let (bytes, mut live_max, mut most) = (1_000, 0, 0);
    for _minute in 0..120 {
        for _ in 0..2 {
            publish(&hub, &mut noise, 40, per_minute / 2, bytes).await;
            clock.advance(Duration::from_secs(30));
            most = most.max(hub.stats().disk_table_bytes);
        }
        live_max = live_max.max(kept_bytes(&hub));
    }
    let written = 120 * (per_minute * bytes) as u64;
    // Twice what is kept, and what waits to be flushed, removed and written anew.
    assert!(most <= 2 * live_max + live_max / 2 + 12 * MIB, "{most} bytes at most, of {written}, {live_max} kept");
    clock.advance(Duration::from_mins(13));
    until(&hub, "an empty disk", |stats| stats.disk_table_bytes < MIB).await;
    assert!(hub.stats().removed_by_reason["history"] as usize == 120 * per_minute);
    eprintln!("{} MiB written, {} MiB kept, {} MiB on disk at most", written / MIB, live_max / MIB, most / MIB);
    hub.close().await;
}

/// Bytes of all events that are kept.
fn kept_bytes(hub: &Hub) -> u64 {
    let names = hub.0.history.names("", "", 1_000).unwrap();
    names.iter().map(|name| hub.channel(name).unwrap().bytes).sum()
}

#[tokio::test]
async fn the_disk_limit_holds_under_ten_times_as_much_and_whoever_needed_what_is_gone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let max = if is_long() { 64 * MIB } else { 3 * MIB };
    let config = HubConfig { disk_bytes_max: Some(max), ..HubConfig::default() };
    let hub = Hub::open_with(folder.path(), config.clone()).unwrap();
    let mut noise = Noise::new(3);
    let first = hub.publish("c:0", "first").await.unwrap().id.unwrap();
    let mut most = 0;
    for _ in 0..10 * max / MIB {
        publish(&hub, &mut noise, 200, 1_000, 1_000).await;
        most = most.max(hub.stats().disk_table_bytes);
        // What is written in the moments that a step takes comes on top; here a writer that is fast is made to wait.
        until(&hub, "the limit under load", |stats| stats.disk_table_bytes <= 2 * max).await;
    }
    until(&hub, "the limit", |stats| stats.disk_table_bytes <= max).await;
    let stats = hub.stats();
    let left = kept_bytes(&hub);
    eprintln!("{} MiB at most, {} MiB at rest, {} MiB kept", most / MIB, stats.disk_table_bytes / MIB, left / MIB);
    assert!(left > max / 2, "much more was removed than had to be: {left} bytes are left");
    assert!(stats.removed_by_reason["disk"] > 0 && stats.removed_by_reason["history"] == 0, "{stats:?}");
    // It stays so.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(kept_bytes(&hub), left, "nothing more goes once the limit is reached");
    // What is kept is the newest, in every channel; what is gone is a gap.
    let all = HistoryQuery { since: Since::Start, before: None, order: Order::Ascending, limit: 1_000 };
    let oldest = |hub: &Hub, n| {
        let page = hub.history_of(&ChannelName::new(&format!("c:{n}")).unwrap(), all).unwrap();
        page.entries.first().map(|entry| entry.position)
    };
    let floors = (0..200).map(|n| hub.0.history.row(&ChannelName::new(&format!("c:{n}")).unwrap()).unwrap().row.floor);
    let highest = floors.max().unwrap();
    for n in 0..200 {
        assert!(
            oldest(&hub, n).is_none_or(|position| position > highest),
            "an older event was kept than one that went"
        );
    }
    let mut stream = hub
        .subscribe(crate::Subscribe {
            follows: crate::Follows::new(vec![(ChannelName::new("c:0").unwrap(), Since::Now)], vec![]),
            last_event_id: Some(first),
            ..crate::Subscribe::default()
        })
        .unwrap();
    let mut text = String::new();
    let gap = format!("\"reason\":\"{}\"", GapReason::Trimmed.as_str());
    while !text.contains(&gap) {
        let next = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        let bytes = next.unwrap_or_else(|_| panic!("no gap was told: {text}")).expect("the stream is open");
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    drop(stream);
    hub.close().await;
    let hub = Hub::open_with(folder.path(), config).unwrap();
    assert_eq!(kept_bytes(&hub), left, "also after a restart");
    hub.close().await;
}

#[tokio::test]
async fn a_limit_that_is_set_while_the_hub_is_idle_is_reached_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    let mut noise = Noise::new(5);
    for _ in 0..12 {
        publish(&hub, &mut noise, 50, 1_000, 1_000).await;
    }
    until(&hub, "a flush", |stats| stats.disk_table_bytes > 8 * MIB).await;
    hub.reload(&HubConfig { disk_bytes_max: Some(4 * MIB), ..HubConfig::default() });
    until(&hub, "the limit", |stats| stats.disk_table_bytes <= 4 * MIB).await;
    assert!(kept_bytes(&hub) > 2 * MIB);
    hub.close().await;
}

#[tokio::test]
async fn what_comes_back_when_the_front_is_dropped_is_removed_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FjallStore::open(folder.path()).unwrap());
    let hub = Hub::with_store(store.clone(), HubConfig::default()).unwrap();
    for n in 0..100 {
        hub.publish("c", format!("{n:0>100}")).await.unwrap();
    }
    stop_reclaimer(&hub).await;
    let count = || store.scan(Table::Log, keys_with_prefix(b""), Order::Ascending).count();
    // All in one file, which stays; what marks the oldest as removed in another one, which goes.
    assert!(store.reclaim_table(Table::Log, &|| true).unwrap());
    hub.0.log.remove_oldest(50 * 100);
    while count() == 100 || hub.0.log.is_removing_oldest() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = count();
    assert!((50..70).contains(&left), "{left}");
    store.wait_for_tables(Table::Log);
    let cleared = hub.0.log.cleared();
    store.drop_below(Table::Log, &cleared.to_key()).unwrap();
    assert_eq!(count(), 100, "they came back, or this test shows nothing");
    assert_eq!(kept(&hub), left, "though nobody reads them");
    assert_eq!(below_first_kept(&hub.0.history.tiers, Position::ORIGIN).unwrap(), cleared);
    let mut reclaimer = Reclaimer::default();
    reclaimer.drop_front(&hub.0, cleared).unwrap();
    assert_eq!(count(), left);
    // What removed them the second time goes with the next drop, while the file with the records still stays.
    store.wait_for_tables(Table::Log);
    hub.0.log.remove_oldest(10 * 100);
    while hub.0.log.is_removing_oldest() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (back, further) = (100 - left, hub.0.log.cleared());
    let left = kept(&hub);
    assert!(further > cleared && left + back < 100);
    store.drop_below(Table::Log, &further.to_key()).unwrap();
    assert_eq!(count(), left + back, "they came back once more, or this test shows nothing");
    reclaimer.drop_front(&hub.0, further).unwrap();
    assert_eq!(count(), left);
    hub.close().await;
}

#[tokio::test]
async fn without_room_for_rewriting_nothing_is_forgotten_and_while_reopening_nothing_is_measured() {
    let store = Arc::new(FaultyStore::default());
    let hub = Hub::with_store(store.clone(), HubConfig::default()).unwrap();
    let mut noise = Noise::new(9);
    for _ in 0..2 {
        publish(&hub, &mut noise, 10, 1_000, 1_000).await;
    }
    // The hub's own one knows of nothing to give back.
    let mut reclaimer = Reclaimer { log: 64 * MIB, ..Reclaimer::default() };
    store.limit_room(Some(hub.0.space.reserve() / 2));
    reclaimer.look(&hub.0).unwrap();
    assert_eq!(reclaimer.log, 64 * MIB);
    let bytes = hub.stats().disk_table_bytes;
    assert!(bytes > MIB);
    store.limit_room(None);
    // A hub that is asked while its store is away.
    store.close(true);
    assert!(matches!(reclaimer.look(&hub.0), Err(crate::store::StoreError::Reopening)));
    assert_eq!((reclaimer.log, hub.stats().disk_table_bytes), (64 * MIB, bytes));
    store.close(false);
    reclaimer.look(&hub.0).unwrap();
    assert_eq!(reclaimer.log, 0);
    hub.close().await;
}

/// Ends the hub's own reclaimer, which would be at it, too.
async fn stop_reclaimer(hub: &Hub) {
    hub.0.keeper.now();
    let is_reclaimer = |thread: &&std::thread::JoinHandle<()>| thread.thread().name() == Some("reclaimer");
    while !hub.0.threads.lock().unwrap().iter().find(is_reclaimer).unwrap().is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many events are read of the one channel.
fn kept(hub: &Hub) -> usize {
    let all = HistoryQuery { since: Since::Start, before: None, order: Order::Ascending, limit: 1_000 };
    hub.history_of(&ChannelName::new("c").unwrap(), all).unwrap().entries.len()
}
