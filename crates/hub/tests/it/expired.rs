//! Events whose time to live has run out: nobody gets them any more, wherever they still are.

use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::store::memory::MemoryStore;
use fanfare_hub::{
    ChannelName, Draft, Event, Follows, HistoryQuery, Hub, HubConfig, ManualClock, Order, Publisher, Since, Subscribe,
};

use crate::reading::{kept, read_until};

#[tokio::test]
async fn who_comes_back_gets_from_the_window_what_history_would_give() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let config = HubConfig { clock: clock.clone(), shards: 1, ..HubConfig::default() };
    let hub = Hub::with_store(Arc::new(MemoryStore::default()), config).unwrap();
    let name = ChannelName::new("c").unwrap();
    let seen = hub.publish("c", "first").await.unwrap().id.unwrap();
    let short = Event::text("out of time").ttl(Duration::from_secs(1));
    hub.publish_draft(Draft::new(vec![name.clone()], short, Publisher::Anyone).unwrap()).await.unwrap();
    clock.advance(Duration::from_secs(20));

    let follows = Follows::new(vec![(name, Since::Now)], vec![]);
    let last_event_id = Some(seen);
    let mut stream = hub.subscribe(Subscribe { follows, last_event_id, ..Subscribe::default() }).unwrap();
    let mut text = read_until(&mut stream, "fanfare.hello").await;
    hub.publish("c", "last").await.unwrap();
    text += &read_until(&mut stream, "data: last\n").await;
    assert!(!text.contains("out of time"), "{text}");
    assert_eq!(kept(&hub, "c"), ["first", "last"]);
    hub.close().await;
}

#[tokio::test]
async fn who_was_away_is_told_that_a_value_is_gone_which_replaced_theirs() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let config = HubConfig { clock: clock.clone(), shards: 1, window_bytes: 0, ..HubConfig::default() };
    let hub = Hub::with_store(Arc::new(MemoryStore::default()), config).unwrap();
    let name = ChannelName::new("prices").unwrap();
    let seen = hub.publish("prices", Event::text("old").keyed("k")).await.unwrap().id.unwrap();
    hub.publish("prices", Event::text("short").keyed("k").ttl(Duration::from_secs(1))).await.unwrap();
    clock.advance(Duration::from_secs(2));
    let mut waited = 0;
    while hub.history_of(&name, history_query()).unwrap().entries.iter().all(|entry| !entry.record.is_deleted) {
        waited += 1;
        assert!(waited < 500, "the hub sweeps");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let follows = Follows::new(vec![(name, Since::Unsaid)], vec![]);
    let last_event_id = Some(seen);
    let mut stream = hub.subscribe(Subscribe { follows, last_event_id, ..Subscribe::default() }).unwrap();
    let text = read_until(&mut stream, "fanfare.delete").await;
    assert!(!text.contains("short"), "{text}");
    hub.close().await;
}

fn history_query() -> HistoryQuery {
    HistoryQuery { since: Since::Start, before: None, order: Order::Ascending, limit: 10 }
}
