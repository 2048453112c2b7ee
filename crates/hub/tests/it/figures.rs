//! What the hub says of itself while it works: streams that are open, behind and gone, publishes and commits.

use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::store::memory::MemoryStore;
use fanfare_hub::{ChannelName, Follows, Hub, HubConfig, ManualClock, Since, Stats, Subscribe};

fn open() -> (Hub, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(1_767_225_600_000));
    let config = HubConfig { shards: 1, streams_max: 2, clock: clock.clone(), ..HubConfig::default() };
    (Hub::with_store(Arc::new(MemoryStore::default()), config).unwrap(), clock)
}

fn to(channel: &str) -> Subscribe {
    let follows = Follows::new(vec![(ChannelName::new(channel).unwrap(), Since::Now)], Vec::new());
    Subscribe { follows, ..Subscribe::default() }
}

/// Waits until the figures are as they must become.
async fn until(hub: &Hub, are_so: impl Fn(&Stats) -> bool) -> Stats {
    // Far longer than it takes; a test that waits for ever says nothing.
    for _ in 0..5_000 {
        let stats = hub.stats();
        if are_so(&stats) {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the figures don't become as they must: {:#?}", hub.stats());
}

#[tokio::test]
async fn open_streams_have_an_age_a_peak_and_a_limit() {
    let (hub, clock) = open();
    let mut first = hub.subscribe(to("a")).unwrap();
    first.next().await.expect("its shard has it");
    clock.advance(Duration::from_secs(20));
    let second = hub.subscribe(to("a")).unwrap();
    assert!(hub.subscribe(to("a")).is_err(), "the hub is full");
    let stats = until(&hub, |stats| (stats.streams_age - 10.0).abs() < 0.001).await;
    assert_eq!((stats.streams, stats.streams_max, stats.streams_refused_full), (2, 2, 1));
    drop((first, second));
    let stats = until(&hub, |stats| stats.streams == 0).await;
    assert_eq!((stats.streams_peak, stats.streams_closed["left"]), (2, 2));
    assert!(stats.streams_age.abs() < 0.001);
    hub.drain();
    assert!(hub.subscribe(to("a")).is_err());
    assert_eq!(hub.stats().streams_refused_stopping, 1);
    hub.close().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_behind_until_it_is_gone() {
    let (hub, _) = open();
    let stream = hub.subscribe(to("a")).unwrap();
    for _ in 0..8 {
        hub.publish("a", "x".repeat(16 * 1024).as_str()).await.unwrap();
    }
    // The shard itself has passed on everything.
    let stats = until(&hub, |stats| stats.streams_behind == 1 && stats.lag_events == 0).await;
    assert!(stats.lag.abs() < 0.001);
    drop(stream);
    until(&hub, |stats| stats.streams == 0 && stats.streams_behind == 0).await;
    hub.close().await;
}

#[tokio::test]
async fn a_resumed_stream_is_counted_as_one() {
    let (hub, _) = open();
    let id = hub.publish("a", "x").await.unwrap().id;
    let stream = hub.subscribe(Subscribe { last_event_id: id, ..to("a") }).unwrap();
    let stats = until(&hub, |stats| stats.streams_resumed == 1).await;
    assert_eq!(stats.streams_opened, 1);
    drop(stream);
    hub.close().await;
}

#[tokio::test]
async fn publishes_and_commits_are_measured() {
    let (hub, _) = open();
    for text in ["1", "2", "3"] {
        hub.publish("a", text).await.unwrap();
    }
    let stats = hub.stats();
    assert_eq!(stats.publish_latency.count(), 3);
    assert_eq!(stats.commit_duration.count(), stats.commits);
    assert!((stats.commit_events.sum() - 3.0).abs() < 0.001);
    assert!(stats.commit_bytes.sum() > 3.0);
    assert_eq!((stats.queue, stats.queue_bytes), (0, 0));
    hub.close().await;
}
