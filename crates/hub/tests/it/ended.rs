//! Channels that end: what is remembered of it, for how long, and through what.

use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::limits::CURSOR_AGE_MAX;
use fanfare_hub::store::fjall::FjallStore;
use fanfare_hub::{
    AppendError, Archive, ChannelName, Draft, Durability, EndReason, Event, HistoryLimits, Hub, HubConfig, Import,
    ManualClock, Pattern, PublishError, Publisher, Rule,
};

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn is_ended(error: &PublishError) -> bool {
    matches!(error, PublishError::Append(AppendError::Ended))
}

/// Where a channel ended and why.
fn end_of(hub: &Hub, channel: &str) -> Option<(String, EndReason)> {
    hub.channel(&name(channel)).unwrap().ended.map(|end| (end.id, end.reason))
}

#[tokio::test]
async fn an_end_and_a_fence_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    hub.publish("a", "x").await.unwrap();
    assert_eq!(hub.producer(name("a")).await.unwrap().fence, 1);
    let ending = || Draft::ending(&name("a"), EndReason::Failed, None, Publisher::Anyone).unwrap();
    let end = hub.publish_draft(ending().fenced(1)).await.unwrap();
    hub.close().await;

    let hub = Hub::open(folder.path()).unwrap();
    assert_eq!(end_of(&hub, "a"), Some((end.id.clone().unwrap(), EndReason::Failed)));
    let again = hub.publish_draft(ending().fenced(1)).await.unwrap();
    assert_eq!((&again.id, again.duplicate), (&end.id, true));
    let late = Draft::new(vec![name("a")], Event::text("y"), Publisher::Anyone).unwrap();
    assert!(is_ended(&hub.publish_draft(late.clone().fenced(1)).await.unwrap_err()));
    assert_eq!(hub.producer(name("a")).await.unwrap().fence, 2, "one more than before");
    hub.publish_draft(Draft::reopening(&name("a"), Publisher::Anyone).unwrap().fenced(2)).await.unwrap();
    assert_eq!(end_of(&hub, "a"), None);
    assert!(matches!(hub.publish_draft(late.clone().fenced(1)).await, Err(PublishError::Append(AppendError::Fenced))));
    hub.publish_draft(late.fenced(2)).await.unwrap();
    hub.close().await;
}

#[tokio::test]
async fn a_channel_stays_ended_when_its_end_is_trimmed_and_is_new_when_no_id_can_be_so_old() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let history = HistoryLimits { age_max: Duration::from_mins(1), ..HistoryLimits::default() };
    let rules = vec![Rule::new(Pattern::new("*").unwrap()).history(history)];
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let store = Arc::new(FjallStore::open(folder.path()).unwrap());
        Hub::with_store(store, HubConfig { rules: rules.clone(), clock: clock.clone(), ..HubConfig::default() })
            .unwrap()
    };
    let hub = open();
    hub.publish("a", "x").await.unwrap();
    let end = hub.end("a", EndReason::Done).await.unwrap().id.unwrap();
    clock.advance(Duration::from_mins(2));
    until(&hub, |hub| hub.channel(&name("a")).unwrap().events == 0).await;
    assert_eq!(end_of(&hub, "a"), Some((end.clone(), EndReason::Done)));
    hub.close().await;
    let hub = open();
    assert_eq!(end_of(&hub, "a"), Some((end, EndReason::Done)), "though nothing is left of its events");
    assert!(is_ended(&hub.publish("a", "y").await.unwrap_err()));

    // Marks of time are needed in between to know what is old.
    for _ in 0..12 {
        clock.advance(CURSOR_AGE_MAX / 8);
        hub.publish("other", "x").await.unwrap();
        let seen = hub.stats().removed;
        until(&hub, |hub| hub.stats().removed > seen || hub.channel(&name("other")).unwrap().events <= 1).await;
    }
    until(&hub, |hub| end_of(hub, "a").is_none()).await;
    hub.publish("a", "new").await.unwrap();
    hub.close().await;
}

#[tokio::test]
async fn ends_of_channels_that_are_not_on_disk_hold_as_long_as_the_hub_runs() {
    let rule = |pattern, durability| Rule::new(Pattern::new(pattern).unwrap()).durability(durability);
    let rules = vec![rule("m", Durability::Memory), rule("t", Durability::Transient)];
    let folder = tempfile::tempdir().unwrap();
    let config = HubConfig { rules, ..HubConfig::default() };
    let hub = Hub::open_with(folder.path(), config.clone()).unwrap();
    for channel in ["m", "t"] {
        hub.publish(channel, "x").await.unwrap();
        let end = hub.end(channel, EndReason::Aborted).await.unwrap();
        assert_eq!(end.durability, "memory");
        assert!(is_ended(&hub.publish(channel, "y").await.unwrap_err()));
        assert_eq!(end_of(&hub, channel), Some((end.id.unwrap(), EndReason::Aborted)));
        assert_eq!(hub.producer(name(channel)).await.unwrap().fence, 1);
    }
    hub.close().await;
    let hub = Hub::open_with(folder.path(), config).unwrap();
    assert!(end_of(&hub, "m").is_some(), "a stop in order keeps what it knows of channels");
    hub.close().await;
}

#[tokio::test]
async fn an_import_ends_what_had_ended() {
    let (from, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = Hub::open(from.path()).unwrap();
    for channel in ["ended", "reopened"] {
        hub.publish(channel, "x").await.unwrap();
        hub.end(channel, EndReason::Failed).await.unwrap();
    }
    hub.reopen("reopened").await.unwrap();
    hub.close().await;
    let mut import = Import::open(into.path()).unwrap();
    let mut archive = Archive::open(from.path()).unwrap();
    archive.events::<Box<dyn std::error::Error>>(0, |event| Ok(import.add(event.record)?)).unwrap();
    import.finish().unwrap();
    let hub = Hub::open(into.path()).unwrap();
    assert_eq!(end_of(&hub, "ended").map(|(_, reason)| reason), Some(EndReason::Failed));
    assert_eq!(end_of(&hub, "reopened"), None);
    assert!(is_ended(&hub.publish("ended", "y").await.unwrap_err()));
    hub.close().await;
}

/// Waits until something is so, which the hub's own threads see to.
async fn until(hub: &Hub, is_so: impl Fn(&Hub) -> bool) {
    for _ in 0..1_500 {
        if is_so(hub) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to be");
}

#[tokio::test]
async fn a_channel_whose_producer_fell_silent_is_ended_also_after_a_restart() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let silent =
        |pattern| Rule { silence_max: Some(Duration::from_mins(1)), ..Rule::new(Pattern::new(pattern).unwrap()) };
    let rules = vec![silent("job*"), silent("m*").durability(Durability::Memory)];
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let config = HubConfig { rules: rules.clone(), clock: clock.clone(), ..HubConfig::default() };
        Hub::open_with(folder.path(), config).unwrap()
    };
    let hub = open();
    for channel in ["job:1", "m", "news"] {
        hub.publish(channel, "begun").await.unwrap();
    }
    assert_eq!(hub.producer(name("job:2")).await.unwrap().fence, 1);
    clock.advance(Duration::from_secs(40));
    hub.publish("job:1", "goes on").await.unwrap();
    clock.advance(Duration::from_secs(40));
    until(&hub, |hub| end_of(hub, "job:2").is_some() && end_of(hub, "m").is_some()).await;
    assert_eq!(end_of(&hub, "job:2").unwrap().1, EndReason::Aborted);
    assert_eq!(end_of(&hub, "job:1"), None, "it was heard since");
    hub.close().await;

    clock.advance(Duration::from_mins(5));
    let hub = open();
    clock.advance(Duration::from_secs(61));
    until(&hub, |hub| end_of(hub, "job:1").is_some()).await;
    assert!(is_ended(&hub.publish("job:1", "too late").await.unwrap_err()));
    assert_eq!(end_of(&hub, "news"), None, "its rule allows any silence");
    // Who comes back can go on.
    hub.reopen("job:1").await.unwrap();
    hub.publish("job:1", "again").await.unwrap();
    clock.advance(Duration::from_mins(2));
    until(&hub, |hub| end_of(hub, "job:1").is_some()).await;
    assert_eq!(hub.stats().ends["aborted"], 2);
    hub.close().await;
}
