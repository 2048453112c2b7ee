//! The hub as a program uses it, with its threads, on disk.

use std::time::Duration;

use fanfare_hub::{ChannelName, Follows, Hub, Since, Subscribe};

use crate::reading::{read_to_end, read_until};

fn follow(channel: &str, since: Since) -> Follows {
    Follows::new(vec![(ChannelName::new(channel).unwrap(), since)], vec![])
}

#[tokio::test]
async fn what_is_published_reaches_a_stream_and_a_later_one_resumes_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    let mut live = hub.subscribe(Subscribe { follows: follow("news", Since::Now), ..Subscribe::default() }).unwrap();
    read_until(&mut live, "fanfare.hello").await;
    let mut ids = Vec::new();
    for n in 0..10 {
        let receipt = hub.publish("news", format!("event {n}")).await.unwrap();
        assert_eq!((receipt.streams, receipt.durability, receipt.duplicate), (1, "durable", false));
        ids.push(receipt.id.unwrap());
    }
    assert!(ids.is_sorted());
    let text = read_until(&mut live, "data: event 9\n").await;
    assert!(text.contains(&format!("id: {}\nchannel: news\ndata: event 3\n\n", ids[3])), "{text}");
    drop(live);
    hub.close().await;

    let hub = Hub::open(folder.path()).unwrap();
    let subscribe =
        Subscribe { follows: follow("news", Since::Now), last_event_id: Some(ids[4].clone()), ..Subscribe::default() };
    let mut resumed = hub.subscribe(subscribe).unwrap();
    let text = read_until(&mut resumed, "data: event 9\n").await;
    assert!(text.contains("\"resumed\":true"));
    let got: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: event ")).collect();
    assert_eq!(got, ["5", "6", "7", "8", "9"]);
    assert!(!text.contains("gap"), "{text}");
    let mut last =
        hub.subscribe(Subscribe { follows: follow("news", Since::Last(2)), ..Subscribe::default() }).unwrap();
    let text = read_until(&mut last, "data: event 9\n").await;
    assert!(!text.contains("event 7") && text.contains("event 8"), "{text}");
    hub.publish("news", "after").await.unwrap();
    read_until(&mut last, "data: after\n").await;
    hub.drain();
    let rest = read_to_end(&mut last).await;
    assert!(rest.contains("event: fanfare.bye") && rest.contains("retry: "), "{rest}");
    hub.close().await;
}

#[tokio::test]
async fn a_hub_that_is_dropped_lets_go_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    let id = hub.publish("a", "kept").await.unwrap().id.unwrap();
    drop(hub);
    // Nobody waits for its threads, so it may take a moment.
    let hub = loop {
        match Hub::open(folder.path()) {
            Ok(hub) => break hub,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(hub.channel(&ChannelName::new("a").unwrap()).unwrap().head, Some(id));
    hub.close().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_hub_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path()).unwrap();
    let subscribe = Subscribe { follows: follow("a", Since::Now), ..Subscribe::default() };
    let mut stream = hub.subscribe(subscribe).unwrap();
    read_until(&mut stream, "fanfare.hello").await;
    drop(hub);
    let end = tokio::time::timeout(Duration::from_secs(10), async { while stream.next().await.is_some() {} }).await;
    assert!(end.is_ok(), "the stream never ends");
}
