//! Retention with real threads on a real disk: limits by count, age and bytes; space that comes back.

use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::{
    ChannelName, Clock, Draft, Event, HistoryLimits, Hub, HubConfig, ManualClock, Pattern, Publisher, Rule, Since,
};

use crate::reading::kept;

fn rule(pattern: &str, history: HistoryLimits) -> Rule {
    Rule::new(Pattern::new(pattern).unwrap()).history(history)
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..200 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} never came to be");
}

#[tokio::test]
async fn channels_are_kept_to_their_limits_also_when_nobody_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let unlimited = HistoryLimits::default();
    let config = HubConfig {
        clock: clock.clone(),
        rules: vec![
            rule("count", HistoryLimits { count_max: 5, ..unlimited }),
            rule("age", HistoryLimits { age_max: Duration::from_mins(1), ..unlimited }),
            rule("bytes", HistoryLimits { bytes_max: 3_000, ..unlimited }),
        ],
        ..HubConfig::default()
    };
    let hub = Hub::open_with(folder.path(), config.clone()).unwrap();
    for n in 0..50 {
        hub.publish("count", n.to_string()).await.unwrap();
        hub.publish("bytes", format!("{n:0>400}")).await.unwrap();
    }
    hub.publish("age", "old").await.unwrap();
    clock.advance(Duration::from_secs(30));
    hub.publish("age", "young").await.unwrap();
    hub.publish("elsewhere", "kept").await.unwrap();
    until("the count", || kept(&hub, "count") == ["45", "46", "47", "48", "49"]).await;
    until("the bytes", || (5..=7).contains(&kept(&hub, "bytes").len())).await;
    assert_eq!(kept(&hub, "age").len(), 2);
    clock.advance(Duration::from_secs(31));
    until("the age", || kept(&hub, "age") == ["young"]).await;
    let info = hub.channel(&ChannelName::new("age").unwrap()).unwrap();
    assert!(info.floor.is_some() && info.events == 1);
    hub.close().await;
    let hub = Hub::open_with(folder.path(), config).unwrap();
    assert_eq!(kept(&hub, "count").len(), 5, "and it stays so");
    assert_eq!(kept(&hub, "elsewhere"), ["kept"]);
    assert!(clock.unix_ms() > 0);
    hub.close().await;
}

#[tokio::test]
async fn what_retention_removes_is_given_back_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let limits = HistoryLimits { count_max: 100, ..HistoryLimits::default() };
    let config = HubConfig { rules: vec![rule("busy", limits)], ..HubConfig::default() };
    let hub = Hub::open_with(folder.path(), config).unwrap();
    let name = ChannelName::new("busy").unwrap();
    for batch in 0..40u64 {
        let drafts = (0..500u64).map(|n| {
            // Not compressible, or there would be little to give back.
            let word = |i: u64| (batch * 500 + n + i * 100_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let noise: Vec<String> = (1..65).map(|i| format!("{:016x}", word(i))).collect();
            Draft::new(vec![name.clone()], Event::text(noise.concat()), Publisher::Anyone).unwrap()
        });
        hub.publish_all(drafts.collect(), false).await.unwrap();
    }
    until("the limit", || hub.channel(&name).unwrap().events <= 106).await;
    // Removal goes on with each sweep; when it is through, reclaiming leaves next to nothing.
    until("the space", || {
        hub.reclaim().unwrap();
        folder_bytes(folder.path()) < 6_000_000
    })
    .await;
    hub.close().await;
}

/// Bytes in the tables of a data folder; the journal is reused, not given back.
fn folder_bytes(folder: &std::path::Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let is_journal = entry.path().extension().is_some_and(|extension| extension == "jnl");
            match entry.metadata().unwrap() {
                meta if meta.is_dir() => folders.push(entry.path()),
                meta if !is_journal => bytes += meta.len(),
                _ => {}
            }
        }
    }
    bytes
}

#[tokio::test]
async fn a_key_that_is_used_again_after_its_window_is_remembered_anew() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let config = HubConfig { clock: clock.clone(), ..HubConfig::default() };
    let hub = Hub::open_with(folder.path(), config).unwrap();
    let publish = async || hub.publish("a", Event::text("x").idempotency_key("k")).await.unwrap().duplicate;
    assert!(!publish().await);
    assert!(publish().await);
    clock.advance(Duration::from_mins(10) + Duration::from_millis(1));
    assert!(!publish().await, "the window is over");
    // The sweep finds the first use's row; it must leave the second's alone.
    let swept = hub.stats().commits;
    hub.publish("b", "x").await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(hub.stats().commits > swept);
    assert!(publish().await, "and a new one has begun");
    hub.close().await;
}

#[tokio::test]
async fn a_burst_of_short_lived_events_is_swept_at_once_and_not_a_few_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let config = HubConfig { clock: clock.clone(), ..HubConfig::default() };
    let hub = Hub::open_with(folder.path(), config).unwrap();
    let name = ChannelName::new("short").unwrap();
    for _ in 0..10 {
        let event = || Event::text("x").ttl(Duration::from_secs(5));
        let drafts = (0..1_000).map(|_| Draft::new(vec![name.clone()], event(), Publisher::Anyone).unwrap());
        hub.publish_all(drafts.collect(), false).await.unwrap();
    }
    assert_eq!(hub.channel(&name).unwrap().events, 10_000);
    clock.advance(Duration::from_secs(6));
    until("the sweep", || hub.channel(&name).unwrap().events == 0).await;
    hub.close().await;
}

#[tokio::test]
async fn other_rules_hold_for_channels_that_nobody_publishes_to_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let limited = |count_max| HubConfig {
        rules: vec![rule("quiet*", HistoryLimits { count_max, ..HistoryLimits::default() })],
        ..HubConfig::default()
    };
    let hub = Hub::open_with(folder.path(), limited(100)).unwrap();
    for n in 0..20 {
        hub.publish("quiet", n.to_string()).await.unwrap();
    }
    hub.close().await;

    let hub = Hub::open_with(folder.path(), limited(10)).unwrap();
    until("the rule of this run", || kept(&hub, "quiet").len() == 10).await;
    hub.reload(&limited(5));
    until("the rule of this moment", || kept(&hub, "quiet").len() == 5).await;
    assert_eq!(hub.rules().of(&ChannelName::new("quiet").unwrap()).history.count_max, 5);
    // In use by now: what is published next obeys, too.
    hub.reload(&limited(3));
    hub.publish("quiet", "20").await.unwrap();
    until("the rule of a channel in use", || kept(&hub, "quiet") == ["18", "19", "20"]).await;
    hub.close().await;
}

#[tokio::test]
async fn how_many_streams_there_may_be_can_change() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open_with(folder.path(), HubConfig { streams_max: 0, ..HubConfig::default() }).unwrap();
    let subscribe = || fanfare_hub::Subscribe {
        follows: fanfare_hub::Follows::new(vec![(ChannelName::new("a").unwrap(), Since::Now)], Vec::new()),
        ..fanfare_hub::Subscribe::default()
    };
    assert!(hub.subscribe(subscribe()).is_err());
    hub.reload(&HubConfig { streams_max: 1, ..HubConfig::default() });
    let stream = hub.subscribe(subscribe()).unwrap();
    hub.reload(&HubConfig { streams_max: 0, ..HubConfig::default() });
    assert!(hub.subscribe(subscribe()).is_err());
    assert_eq!(hub.open_streams(), 1, "who is there stays");
    drop(stream);
    hub.close().await;
}
