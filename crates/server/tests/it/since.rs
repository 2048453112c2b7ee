//! An id that a stream showed while something was filled in, given to anything but `Last-Event-ID`: it stands for the event
//! that had it, and nothing after that is missed.

use std::net::SocketAddr;

use fanfare_hub::HistoryLimits;
use serde_json::{Value, json};

use crate::harness::{Address, Heard, Hub, Listener, Served, folder, rule, rules};
use crate::http::Connection;

const ID: &str = "5f1d9a526f0b4f7e9c390d7c1d5a2b11";

/// Publishes numbered events in one request.
fn publish(hub: &impl Address, channel: &str, numbers: std::ops::RangeInclusive<usize>) {
    let items: Vec<Value> = numbers.map(|n| json!({"channel": channel, "data": format!("{channel}{n}")})).collect();
    let headers = [("Content-Type", "application/json")];
    let answer = hub.request("POST", "/publish", &headers, Value::from(items).to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn subscribe(addr: SocketAddr, body: &Value) -> Listener {
    let headers = [("Content-Type", "application/json")];
    let stream = Connection::open(addr).unwrap().stream("POST", "/subscribe", &headers, body.to_string().as_bytes());
    let (head, chunks) = stream.unwrap();
    Listener::of(head, chunks)
}

/// The data of what comes up to an event, and that there is no gap.
fn upto(listener: &mut Listener, last: &str) -> Vec<String> {
    let mut data = Vec::new();
    loop {
        let heard = listener.any().unwrap();
        assert_ne!(heard.event, "fanfare.gap", "{}", heard.data);
        if heard.event == "message" {
            data.push(heard.data);
            if data.last().is_some_and(|data| data == last) {
                return data;
            }
        }
    }
}

fn texts(channel: &str, numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|n| format!("{channel}{n}")).collect()
}

#[test]
fn an_id_of_a_backfill_means_the_event_that_had_it() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    publish(&hub, "b", 1..=10);
    publish(&hub, "c", 1..=3);
    let mut listener = hub.listen("channel=b&since=start");
    let Heard { id, data, .. } = (0..3).map(|_| listener.next()).last().unwrap();
    assert_eq!((data.as_str(), id.split('.').count()), ("b3", 2), "{id}");
    drop(listener);
    hub.publish("c", "c4");

    let page = |query: &str| -> Vec<String> {
        let page = hub.get(&format!("/history?channel=b&{query}")).json();
        let events = page["events"].as_array().unwrap();
        events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(page(&format!("since={id}")), texts("b", 4..=10));
    assert_eq!(page(&format!("before={id}")), texts("b", 1..=2));
    assert_eq!(page(&format!("order=desc&before={id}")), ["b2", "b1"]);

    // All from one id, and one channel from it and one from elsewhere.
    let mut all = hub.listen(&format!("channel=b&channel=c&since={id}"));
    assert_eq!(all.named("fanfare.hello").json()["resumed"], true);
    assert_eq!(upto(&mut all, "c4"), [texts("b", 4..=10), texts("c", 1..=4)].concat());
    let channels = json!([{"channel": "b", "since": id}, {"channel": "c", "since": "last:1"}]);
    let mut each = subscribe(hub.addr(), &json!({"channels": channels}));
    assert_eq!(upto(&mut each, "c4"), [texts("b", 4..=10), texts("c", 4..=4)].concat());

    // Who comes back goes on with the rest of the backfill instead: that it was of `b` alone, the request says.
    let mut back = hub.resume("channel=b&since=start", &id);
    assert_eq!(upto(&mut back, "b10"), texts("b", 4..=10));
    let foreign = hub.get("/history?channel=b&before=000001-00000000-0000000009.0000010000000001").json();
    assert_eq!(foreign["code"], "unknown_id", "its first part must be of this log");
}

#[test]
fn a_page_that_keeps_the_id_by_itself_misses_nothing_wherever_it_was_cut() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    for cut in 0..=6 {
        let channel = format!("page{cut}-");
        publish(&hub, &channel, 1..=4);
        let mut listener = hub.listen(&format!("channel={channel}&since=last:4"));
        listener.named("fanfare.hello");
        publish(&hub, &channel, 5..=6);
        let mut seen: Vec<String> = (0..cut).map(|_| listener.next().data).collect();
        let id = listener.last_event_id().to_owned();
        drop(listener);
        let mut again = hub.listen(&format!("channel={channel}&since={id}"));
        hub.publish(&channel, &format!("{channel}7"));
        seen.extend(upto(&mut again, &format!("{channel}7")));
        assert_eq!(seen, texts(&channel, 1..=7), "cut after {cut} events, at {id}");
    }
}

#[test]
fn what_was_added_is_added_again_from_the_last_id_after_the_hub_was_killed_in_a_fill() {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    publish(&hub, "room", 1..=1_000);
    let query = format!("channel=lobby&stream={ID}");
    let patch = |hub: &Hub, since: &str| {
        let body = json!({"add": [{"channel": "room", "since": since}]}).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = hub.request("PATCH", &format!("/streams/{ID}"), &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let mut listener = hub.listen(&query);
    listener.named("fanfare.hello");
    patch(&hub, "start");
    let mut seen: Vec<String> = (0..250).map(|_| listener.next().data).collect();
    let id = listener.last_event_id().to_owned();
    assert_eq!(id.split('.').count(), 3, "{id}");
    hub.kill9();
    let hub = Hub::start(folder.path());
    let mut back = hub.resume(&query, &id);
    assert_eq!(back.named("fanfare.hello").json()["revision"], 0);
    patch(&hub, &id);
    hub.publish("room", "room1001");
    seen.extend(upto(&mut back, "room1001"));
    assert_eq!(seen, texts("room", 1..=1_001));
}

#[test]
fn what_is_gone_of_a_channel_since_the_id_that_it_is_asked_from_is_told() {
    let folder = folder();
    let few = HistoryLimits { count_max: 16, ..HistoryLimits::default() };
    let hub = Served::start(folder.path(), rules(vec![rule("short").history(few)]));
    let id = hub.publish("short", "had");
    publish(&hub, "short", 1..=100);
    // Retention moves floors with a later commit.
    hub.publish("elsewhere", "x");
    hub.publish("elsewhere", "x");
    let told = |listener: &mut Listener, before: &str| {
        let gap = listener.named("fanfare.gap").json();
        assert_eq!(
            (&gap["channel"], &gap["reason"], &gap["from"]),
            (&"short".into(), &"trimmed".into(), &id.as_str().into())
        );
        let mut rest = Vec::new();
        while rest.last().is_none_or(|last| last != before) {
            let heard = listener.any().unwrap();
            assert_ne!(heard.event, "fanfare.gap", "once: {}", heard.data);
            rest.push(heard.data);
        }
        assert!(rest.iter().any(|data| data == "short99"), "and then what is left: {rest:?}");
    };
    let channels = json!([{"channel": "short", "since": id}, {"channel": "elsewhere", "since": "last:1"}]);
    told(&mut subscribe(hub.addr(), &json!({"channels": channels})), "short100");
    let mut listener = hub.listen(&format!("channel=lobby&stream={ID}"));
    listener.named("fanfare.hello");
    let add = |since: &str| {
        let body = json!({"remove": ["short"], "add": [{"channel": "short", "since": since}]}).to_string();
        let headers = [("Content-Type", "application/json")];
        assert_eq!(hub.request("PATCH", &format!("/streams/{ID}"), &headers, body.as_bytes()).status, 200);
    };
    add(&id);
    told(&mut listener, "short100");
    add("start");
    assert_eq!(
        upto(&mut listener, "short100").last().unwrap(),
        "short100",
        "whoever asks for what there is lacks nothing"
    );
}
