//! How streams end from the hub's side, by a clock that the test moves: by age, spread over a stop; and that a wall clock
//! that steps ends nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_hub::{ChannelName, Follows, Hub, HubConfig, ManualClock, Since, Stream, Subscribe};

use crate::reading::{read_to_end, read_until};

const START_MS: u64 = 1_700_000_000_000;

fn open(folder: &std::path::Path, config: HubConfig) -> (Hub, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START_MS));
    let hub = Hub::open_with(folder, HubConfig { shards: 1, clock: clock.clone(), ..config }).unwrap();
    (hub, clock)
}

fn opened(hub: &Hub, last_event_id: Option<String>) -> Stream {
    let follows = Follows::new(vec![(ChannelName::new("news").unwrap(), Since::Now)], vec![]);
    hub.subscribe(Subscribe { follows, last_event_id, ..Subscribe::default() }).unwrap()
}

/// A stream that has begun.
async fn subscribe(hub: &Hub) -> Stream {
    let mut stream = opened(hub, None);
    read_until(&mut stream, "fanfare.hello").await;
    stream
}

#[tokio::test]
async fn an_old_stream_is_told_to_come_back_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let hour = Duration::from_hours(1);
    let (hub, clock) = open(folder.path(), HubConfig { age_max: Some(hour), ..HubConfig::default() });
    let mut stream = subscribe(&hub).await;
    clock.advance(hour.mul_f64(0.89));
    hub.publish("news", "still there").await.unwrap();
    read_until(&mut stream, "still there").await;
    clock.advance(hour.mul_f64(0.12));
    let rest = read_to_end(&mut stream).await;
    assert!(rest.contains("event: fanfare.bye") && rest.contains("{\"reason\":\"age\",\"reconnect\":true}"), "{rest}");
    let retry: u64 = rest.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap().parse().unwrap();
    assert!((2_000..4_000).contains(&retry), "as on opening: {retry}");
    // It is counted right after its end.
    while hub.stats().streams_closed["aged"] == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    hub.close().await;
}

#[tokio::test]
async fn a_stop_spreads_the_ends_and_publishers_are_served_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, clock) = open(folder.path(), HubConfig::default());
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(subscribe(&hub).await);
    }
    hub.announce_stop();
    assert!(hub.ready().is_err());
    streams.push(subscribe(&hub).await);
    let window = Duration::from_secs(20);
    hub.drain_over(window);
    let follows = Follows::new(vec![(ChannelName::new("news").unwrap(), Since::Now)], vec![]);
    assert!(hub.subscribe(Subscribe { follows, ..Subscribe::default() }).is_err(), "nobody new");
    // Whoever hears this is in a shard that was told.
    hub.publish("news", "about to stop").await.expect("publishers are served");
    let mut last = streams.pop().unwrap();
    read_until(&mut last, "about to stop").await;
    streams.push(last);
    clock.advance(window / 2);
    while hub.open_streams() > 160 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    hub.publish("news", "on the way out").await.expect("publishers are served");
    assert!(hub.open_streams() > 40, "not all at once");
    clock.advance(window);
    let (mut heard, mut longest) = (0, 0);
    for stream in &mut streams {
        let rest = read_to_end(stream).await;
        assert!(rest.contains("\"shutdown\""), "{rest}");
        let retry: u64 = rest.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap().parse().unwrap();
        assert!((3_000..=26_000).contains(&retry), "beyond the stop: {retry}");
        longest = longest.max(retry);
        heard += usize::from(rest.contains("on the way out"));
    }
    while hub.stats().streams_closed["shutdown"] < 201 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(longest > 10_000, "who left at half time waits for the rest of it, too");
    assert!(heard > 0, "those who were still there heard it");
    hub.close().await;
}

#[tokio::test]
async fn a_wall_clock_that_steps_an_hour_either_way_ends_nothing_and_ids_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = HubConfig { age_max: Some(Duration::from_hours(1)), ..HubConfig::default() };
    let (hub, clock) = open(folder.path(), config);
    let mut stream = subscribe(&hub).await;
    let heard = Arc::new(Mutex::new(String::new()));
    let reading = tokio::spawn({
        let heard = heard.clone();
        async move {
            while let Some(bytes) = stream.next().await {
                heard.lock().unwrap().push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
    });
    let beats = || heard.lock().unwrap().matches(":\n\n").count();
    let mut ids = vec![hub.publish("news", "0").await.unwrap().id.unwrap()];
    let mut seconds = 0;
    for (n, step_ms) in [(1u32, 3_600_000i64), (2, -3_600_000), (3, 7_200_000), (4, 0)] {
        clock.set_unix_ms(START_MS.checked_add_signed(step_ms).unwrap());
        // Time goes on until there is a sign of life.
        let before = beats();
        while beats() == before {
            assert!(!reading.is_finished() && seconds < 3_000, "no sign of life at {seconds} s");
            clock.advance(Duration::from_secs(1));
            seconds += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ids.push(hub.publish("news", n.to_string()).await.unwrap().id.unwrap());
    }
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    while !heard.lock().unwrap().contains("data: 4\n") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(beats() <= seconds / 14 + 1, "{} heartbeats in {seconds} s", beats());
    let text = heard.lock().unwrap().clone();
    assert!(!text.contains("gap") && !text.contains("bye"), "{text}");
    let closed = hub.stats().streams_closed;
    assert_eq!(closed.values().sum::<u64>(), closed["left"], "nothing ended from the hub's side");
    let mut resumed = opened(&hub, Some(ids[1].clone()));
    let text = read_until(&mut resumed, "data: 4\n").await;
    assert!(text.contains("data: 2\n") && !text.contains("data: 1\n") && !text.contains("gap"), "{text}");
    hub.close().await;
}

#[tokio::test]
async fn a_new_age_counts_for_new_streams_and_a_new_retry_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, clock) = open(folder.path(), HubConfig::default());
    let mut old = subscribe(&hub).await;
    let exactly = Duration::from_secs(77);
    let age_max = Some(Duration::from_hours(1));
    hub.reload(&HubConfig {
        age_max,
        retry: (exactly, exactly),
        bye_retry: (exactly, exactly),
        ..HubConfig::default()
    });
    let mut new = opened(&hub, None);
    let beginning = read_until(&mut new, "fanfare.hello").await;
    assert!(beginning.contains("retry: 77000"), "{beginning}");
    clock.advance(Duration::from_mins(61));
    // Something to write, so that the shard looks at the time.
    hub.publish("news", "an hour later").await.unwrap();
    let rest = read_to_end(&mut new).await;
    assert!(rest.contains("\"reason\":\"age\"") && rest.contains("retry: 77000"), "{rest}");
    read_until(&mut old, "an hour later").await;
    hub.drain();
    let rest = read_to_end(&mut old).await;
    assert!(rest.contains("\"reason\":\"shutdown\"") && rest.contains("retry: 77000"), "{rest}");
    hub.close().await;
}
