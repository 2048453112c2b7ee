//! HTTP/2 by prior knowledge, on the port that speaks HTTP/1.1 too.

use crate::harness::{Address, Hub, folder};
use crate::secure::Http2;

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_streams_and_publishes() {
    const STREAMS: usize = 100;
    let folder = folder();
    let hub = Hub::start(folder.path());
    let client = Http2::plain(hub.addr()).await;
    let mut streams = Vec::new();
    for n in 0..STREAMS {
        let mut events = client.listen(&format!("channel=a&channel=own-{n}")).await;
        events.until("fanfare.hello").await;
        streams.push(events);
    }
    let (status, receipt) = client.text("POST", "/channels/a", "for all").await;
    assert_eq!(status, 200);
    assert!(receipt.contains(&format!("\"streams\":{STREAMS}")), "{receipt}");
    // HTTP/1.1 is spoken on the same port.
    hub.publish("own-7", "for one");
    for (n, events) in streams.iter_mut().enumerate() {
        assert_eq!(events.next().await, "for all");
        if n == 7 {
            assert_eq!(events.next().await, "for one");
        }
    }
    drop(streams);
    let gone = (0..2_000).any(|_| hub.get("/stats").json()["streams"] == 0);
    assert!(gone, "streams that were reset are closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_and_a_long_answer_pass_in_small_windows() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let client = Http2::plain(hub.addr()).await;
    let data = "x".repeat(1_000_000);
    let (status, answer) = client.text("POST", "/channels/a", &data).await;
    assert_eq!(status, 200, "{answer}");
    let (status, history) = client.text("GET", "/channels/a/history", "").await;
    assert_eq!(status, 200);
    assert!(history.contains(&data), "{} bytes", history.len());
    let (status, answer) = client.text("POST", "/channels/a", &"x".repeat(1_100_000)).await;
    assert_eq!((status, answer.contains("too_large")), (413, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_streams_with_a_goodbye_and_the_connection_in_order() {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    let client = Http2::plain(hub.addr()).await;
    let mut events = client.listen("channel=a").await;
    events.until("fanfare.hello").await;
    hub.terminate();
    events.until("fanfare.bye").await;
    assert_eq!(events.any().await, None, "the stream ends");
    assert!(client.ended.await.unwrap().is_ok(), "the connection ends without an error");
    assert!(hub.wait().success());
}
