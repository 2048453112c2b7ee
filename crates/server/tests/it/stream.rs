//! The listening doors: heads, hello, heartbeats, forms, and who is turned away.

use std::time::Duration;

use fanfare_hub::{HubConfig, Rule};

use crate::harness::{Address, Hub, Listener, Served, folder, rule, rules};
use crate::http::Connection;

#[test]
fn a_stream_opens_with_its_headers_a_first_byte_and_a_hello() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.listen("channel=a");
    assert_eq!(listener.head.status, 200);
    assert_eq!(listener.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(listener.head.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(listener.head.header("x-accel-buffering"), Some("no"));
    let hello = listener.any().unwrap();
    assert_eq!(hello.event, "fanfare.hello");
    let data = hello.json();
    assert_eq!((&data["resumed"], &data["heartbeat"]), (&false.into(), &15.0.into()));
    assert_eq!(data["stream"].as_str().map(str::len), Some(32));
    assert!(!hello.id.is_empty(), "the hello carries the cursor");
}

#[test]
fn without_a_channel_it_is_main() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.live("");
    hub.publish("main", "x");
    assert_eq!(listener.next().data, "x");
}

#[test]
fn patterns_and_names_are_never_guessed_apart() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut by_name = hub.live("channel=chat:*");
    let mut by_pattern = hub.live("pattern=chat:*");
    hub.publish("chat:1", "one");
    hub.publish("chat:*", "star");
    assert_eq!(by_name.next().data, "star");
    assert_eq!((by_pattern.next().data, by_pattern.next().data), ("one".into(), "star".into()));
    let mut everything = hub.live("pattern=*");
    std::thread::sleep(Duration::from_millis(2_500));
    hub.publish("x", "end");
    assert_eq!(everything.next().data, "end", "the hub's own channels are not among everything");
}

#[test]
fn a_subscribe_request_takes_a_since_for_each_channel() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    for n in 0..4 {
        hub.publish("a", &format!("a{n}"));
        hub.publish("b", &format!("b{n}"));
        hub.publish("c", &format!("c{n}"));
    }
    let body = br#"{"channels":[{"channel":"a","since":"last:2"},{"channel":"b","since":"start"},"c"],"as":"json"}"#;
    let (head, chunks) =
        hub.connect().stream("POST", "/subscribe", &[("Content-Type", "application/json")], body).unwrap();
    assert_eq!(head.status, 200);
    hub.publish("c", "live");
    let mut listener = Listener::of(head, chunks);
    let all: Vec<String> = (0..7).map(|_| listener.next().json()["data"].as_str().unwrap().to_owned()).collect();
    assert_eq!(all, ["b0", "b1", "a2", "b2", "a3", "b3", "live"], "in the hub's order");
}

#[test]
fn hello_and_heartbeat_come_in_the_form_asked_for() {
    let folder = folder();
    let fast = Rule { heartbeat: Duration::from_millis(600), ..rule("*") };
    let served = Served::start(folder.path(), rules(vec![fast]));
    let mut pinged = served.listen("channel=a&heartbeat=event");
    assert_eq!(pinged.named("fanfare.hello").json()["heartbeat"], 0.6);
    let ping = pinged.named("fanfare.ping");
    assert!(ping.json()["time"].is_u64() && !ping.id.is_empty());
    let message = served.listen("channel=a&hello=message").any().unwrap();
    assert_eq!((message.event.as_str(), message.json()["resumed"].as_bool()), ("message", Some(false)));
    let silent = served.listen("channel=a&hello=none").any().unwrap();
    assert_eq!((silent.event.as_str(), silent.data.as_str()), ("fanfare.hello", ""));
    assert!(!silent.id.is_empty());
    let mut text = String::new();
    let mut quiet = served.connect().stream("GET", "/events?channel=a", &[], b"").unwrap().1;
    while !text.contains("\n:\n") {
        text.push_str(std::str::from_utf8(&quiet.read(usize::MAX).unwrap()).unwrap());
    }
    // Much happens elsewhere: the quiet stream's cursor moves on, silently.
    let lines = "{\"channel\":\"elsewhere\",\"data\":1}\n".repeat(1_000);
    for _ in 0..10 {
        let answer = served.request("POST", "/publish", &[("Content-Type", "application/x-ndjson")], lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let id = served.publish("elsewhere", "x");
    while !text.contains(&format!("id: {id}\nevent: fanfare.cursor\ndata:\n")) {
        text.push_str(std::str::from_utf8(&quiet.read(usize::MAX).unwrap()).unwrap());
    }
}

#[test]
fn a_full_hub_turns_browsers_away_so_that_they_come_back_and_tells_others_the_truth() {
    let folder = folder();
    let served = Served::start(folder.path(), HubConfig { streams_max: 1, ..HubConfig::default() });
    let first = served.listen("channel=a");
    let mut second = served.listen("channel=a");
    assert_eq!(second.head.status, 200);
    let bye = second.any().unwrap();
    assert_eq!((bye.event.as_str(), &bye.json()["reason"]), ("fanfare.bye", &"full".into()));
    assert_eq!(bye.json()["reconnect"], true);
    assert_eq!(second.any(), None);
    let honest = served.get("/events?channel=a&errors=status");
    assert_eq!((honest.status, honest.json()["code"].as_str()), (503, Some("full")));
    assert!(honest.header("retry-after").is_some());
    assert_eq!(served.get("/stats").json()["streams_refused_full"], 2);
    let id = served.publish("a", "x");
    for (came_with, kept) in [(&*id, &*id), ("of another server", "000000-00000000-0000000000")] {
        assert_eq!(served.resume("channel=a", came_with).any().unwrap().id, kept);
    }
    drop(first);
    loop {
        if served.listen("channel=a").any().unwrap().event == "fanfare.hello" {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reader_that_takes_nothing_is_cut_in_time_and_counted() {
    let folder = folder();
    let config = HubConfig {
        stall_max: Duration::from_millis(500),
        rules: vec![Rule { heartbeat: Duration::from_millis(250), ..rule("*") }],
        ..HubConfig::default()
    };
    let served = Served::start(folder.path(), config);
    let _stalled = Connection::open(served.addr()).unwrap().stream("GET", "/events?channel=a", &[], b"").unwrap();
    let mut good = served.live("channel=b");
    let data = "x".repeat(500_000);
    // Until the sockets between are full.
    for _ in 0..60 {
        served.publish("a", &data);
    }
    loop {
        let closed = served.get("/stats").json()["streams_closed"].clone();
        if closed["stalled"] == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    served.publish("b", "still here");
    assert_eq!(good.next().data, "still here");
}
