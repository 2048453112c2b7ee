//! Channels of many events a second, whose streams gather them.

use std::sync::Arc;
use std::time::Duration;

use fanfare_hub::store::memory::MemoryStore;
use fanfare_hub::{ChannelName, Follows, Hub, HubConfig, Pattern, Rule, Since, Subscribe};

#[tokio::test]
async fn a_thousand_events_leave_in_about_ten_writes_a_second() {
    let flush = Duration::from_millis(100);
    let rule = Rule { flush, ..Rule::new(Pattern::new("ticks").unwrap()) };
    let config = HubConfig { rules: vec![rule], ..HubConfig::default() };
    let hub = Hub::with_store(Arc::new(MemoryStore::default()), config).unwrap();
    let follows = Follows::new(vec![(ChannelName::new("ticks").unwrap(), Since::Now)], vec![]);
    let mut stream = hub.subscribe(Subscribe { follows, ..Subscribe::default() }).unwrap();
    let mut text = String::new();
    while !text.contains("fanfare.hello") {
        text.push_str(std::str::from_utf8(&stream.next().await.unwrap()).unwrap());
    }
    let begun = tokio::time::Instant::now();
    let listener = tokio::spawn(async move {
        while !text.contains("data: 999\n") {
            text.push_str(std::str::from_utf8(&stream.next().await.unwrap()).unwrap());
        }
        (text, stream)
    });
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    for n in 0..1_000 {
        pace.tick().await;
        hub.publish("ticks", n.to_string().as_str()).await.unwrap();
    }
    let (text, stream) = listener.await.unwrap();
    let intervals = begun.elapsed().as_millis().div_ceil(flush.as_millis()) as u64;
    let heard: Vec<usize> =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|data| data.parse().ok()).collect();
    assert_eq!(heard, (0..1_000).collect::<Vec<_>>(), "all of it, in order");
    let flushed = hub.stats().flushed;
    assert!((1..=intervals + 1).contains(&flushed), "{flushed} writes in {intervals} intervals");
    drop(stream);
    hub.close().await;
}
