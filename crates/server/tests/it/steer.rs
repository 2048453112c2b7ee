//! Streams whose listeners change what they follow while they are open: at the frame that tells it, exactly, under load
//! too; and what is remembered of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Address, Hub, Listener, folder};

const ID: &str = "5f1d9a526f0b4f7e9c390d7c1d5a2b11";

fn patch(hub: &impl Address, id: &str, body: &Value) -> (u16, Value) {
    let headers = [("Content-Type", "application/json")];
    let answer = hub.request("PATCH", &format!("/streams/{id}"), &headers, body.to_string().as_bytes());
    (answer.status, answer.json())
}

fn names(answer: &Value, key: &str) -> Vec<String> {
    answer[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Publishes numbered events to each of the channels in turn, as fast as it can, until told to stop. Gives how many each
/// has.
fn publish(hub: std::net::SocketAddr, channels: usize, stop: &AtomicBool) -> usize {
    let mut connection = crate::http::Connection::open(hub).unwrap();
    let headers = [("Content-Type", "application/x-ndjson")];
    let mut round = 0;
    while !stop.load(Ordering::Acquire) {
        let lines: String = (0..channels)
            .map(|n| json!({"channel": format!("c{n}"), "data": format!("c{n} {round}")}).to_string() + "\n")
            .collect();
        let answer = connection.request("POST", "/publish", &headers, lines.as_bytes()).unwrap();
        assert_eq!(answer.status, 200);
        round += 1;
    }
    round
}

/// What a page may take for granted of each channel: while it is followed, one number after the other; nothing else.
#[derive(Default)]
struct Page {
    followed: HashSet<String>,
    /// The last number of each channel, since it was added.
    last: HashMap<String, usize>,
    /// Channels that may have been removed and added again by changes that were told together.
    unsure: HashSet<String>,
    revision: u64,
    events: usize,
}

impl Page {
    fn hear(&mut self, heard: &crate::harness::Heard, from_start: &HashSet<String>) {
        match heard.event.as_str() {
            "fanfare.subscription" => {
                let data = heard.json();
                let before = std::mem::replace(&mut self.revision, data["revision"].as_u64().unwrap());
                let now: HashSet<String> = names(&data, "channels").into_iter().collect();
                self.last.retain(|name, _| now.contains(name));
                if self.revision > before + 1 {
                    self.unsure.extend(now.iter().filter(|name| *name != "always").cloned());
                }
                self.followed = now;
            }
            "fanfare.gap" => panic!("a gap: {}", heard.data),
            "message" => {
                let (name, number) = heard.data.split_once(' ').unwrap();
                let number: usize = number.parse().unwrap();
                assert!(self.followed.contains(name), "{name} came after revision {}", self.revision);
                let before = self.last.insert(name.to_owned(), number);
                let is_unsure = self.unsure.remove(name);
                let is_from_start = before.is_none() && from_start.contains(name) && !is_unsure;
                let is_next = is_unsure || before.is_none_or(|before| number == before + 1);
                assert!(is_next, "{name} {number} after {before:?}");
                assert!(!is_from_start || number == 0, "{name} was asked for from its start: {number}");
                self.events += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn a_hundred_changes_a_second_under_load_are_exact() {
    const CHANNELS: usize = 20;
    let folder = folder();
    let hub = Hub::start(folder.path());
    let addr = hub.addr();
    let mut listener = hub.listen(&format!("channel=always&stream={ID}"));
    listener.named("fanfare.hello");
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = std::thread::spawn({
        let stop = stop.clone();
        move || publish(addr, CHANNELS, &stop)
    });
    // Every third channel is always added from its start, the others from now on.
    let is_from_start = |n: usize| n.is_multiple_of(3);
    let steering = std::thread::spawn(move || {
        let headers = [("Content-Type", "application/json")];
        let mut connection = crate::http::Connection::open(addr).unwrap();
        let begun = Instant::now();
        let mut changes = 0u32;
        let mut revision = 0;
        while changes < 300 {
            let (add, remove) = (changes as usize % CHANNELS, (changes as usize + 7) % CHANNELS);
            let since = if is_from_start(add) {
                json!({"channel": format!("c{add}"), "since": "start"})
            } else {
                json!(format!("c{add}"))
            };
            let body = json!({"add": [since], "remove": [format!("c{remove}")]}).to_string();
            let answer = connection.request("PATCH", &format!("/streams/{ID}"), &headers, body.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer = answer.json();
            assert!(names(&answer, "channels").contains(&format!("c{add}")));
            assert!(!names(&answer, "channels").contains(&format!("c{remove}")));
            revision = answer["revision"].as_u64().unwrap();
            changes += 1;
            std::thread::sleep((begun + Duration::from_millis(10) * changes).saturating_duration_since(Instant::now()));
        }
        (changes, revision)
    });
    let from_start = (0..CHANNELS).filter(|n| is_from_start(*n)).map(|n| format!("c{n}")).collect();
    let mut page = Page::default();
    while !steering.is_finished() {
        let heard = listener.any().expect("the stream is open");
        page.hear(&heard, &from_start);
    }
    stop.store(true, Ordering::Release);
    let (changes, revision) = steering.join().unwrap();
    let rounds = publisher.join().unwrap();
    hub.publish("always", "always 0");
    page.followed.insert("always".into());
    loop {
        let heard = listener.any().expect("the stream is open");
        page.hear(&heard, &from_start);
        if heard.data.starts_with("always") {
            break;
        }
    }
    assert_eq!(page.revision, revision, "the last change was told");
    assert!(page.events > 100, "{changes} changes, {} events", page.events);
    for name in page.followed.iter().filter(|name| name.starts_with('c')) {
        assert_eq!(page.last.get(name), Some(&(rounds - 1)), "{name} has all up to the end");
    }
}

#[test]
fn one_stream_follows_a_thousand_channels_and_no_more() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.listen(&format!("channel=c0&stream={ID}"));
    listener.named("fanfare.hello");
    for begin in (1..1_000).step_by(111) {
        let add: Vec<String> = (begin..begin + 111).map(|n| format!("c{n}")).collect();
        assert_eq!(patch(&hub, ID, &json!({"add": add})).0, 200);
    }
    let answer = hub.get(&format!("/streams/{ID}")).json();
    assert_eq!((names(&answer, "channels").len(), &answer["revision"]), (1_000, &9.into()));
    let (status, problem) = patch(&hub, ID, &json!({"add": ["one-more"]}));
    assert_eq!((status, &problem["code"]), (400, &"malformed".into()), "{problem}");
    let patterns: Vec<Value> = (0..51).map(|n| json!({"pattern": format!("p{n}:*")})).collect();
    let remove: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let (status, problem) = patch(&hub, ID, &json!({"add": patterns, "remove": remove}));
    assert_eq!(status, 400, "{problem}");
    let begun = Instant::now();
    for n in 0..100 {
        let (status, answer) = patch(&hub, ID, &json!({"remove": [format!("c{n}")], "add": [format!("d{n}")]}));
        assert_eq!((status, names(&answer, "channels").len()), (200, 1_000));
    }
    eprintln!("a change of a stream with 1,000 channels took {:?}", begun.elapsed() / 100);
    hub.publish("c50", "gone");
    hub.publish("d50", "there");
    assert_eq!(listener.next().data, "there");
}

#[test]
fn whoever_comes_back_by_name_has_what_it_followed_last_and_a_fill_goes_on() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let query = format!("channel=a&stream={ID}");
    let mut listener = hub.listen(&query);
    listener.named("fanfare.hello");
    for n in 0..2_000 {
        hub.publish("b", &format!("b {n}"));
    }
    let (_, answer) = patch(&hub, ID, &json!({"add": [{"channel": "b", "since": "start"}], "remove": ["a"]}));
    assert_eq!(answer["revision"], 1);
    assert_eq!(listener.named("fanfare.subscription").json()["channels"], json!(["b"]));
    let mut numbers: Vec<String> = (0..700).map(|_| listener.next().data).collect();
    let id = listener.last_event_id().to_owned();
    assert_eq!(id.split('.').count(), 3, "{id}");
    drop(listener);
    let mut back = hub.resume(&query, &id);
    let hello = back.named("fanfare.hello").json();
    assert_eq!((&hello["revision"], &hello["resumed"]), (&1.into(), &true.into()));
    numbers.extend((700..2_000).map(|_| back.next().data));
    assert_eq!(numbers, (0..2_000).map(|n| format!("b {n}")).collect::<Vec<_>>());
    hub.publish("a", "not any more");
    hub.publish("b", "live");
    assert_eq!(back.next().data, "live");
}

#[test]
fn the_older_of_two_streams_with_one_id_is_told_that_it_was_replaced() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let query = format!("channel=a&stream={ID}");
    let mut older = hub.listen(&query);
    older.named("fanfare.hello");
    patch(&hub, ID, &json!({"add": ["b"]}));
    let mut newer = hub.listen(&query);
    assert_eq!(newer.named("fanfare.hello").json()["revision"], 1);
    let bye = older.named("fanfare.bye").json();
    assert_eq!((&bye["reason"], &bye["reconnect"]), (&"replaced".into(), &false.into()));
    assert!(older.any().is_none(), "and that is its end");
    hub.publish("b", "to the newer");
    assert_eq!(newer.next().data, "to the newer");
    assert_eq!(hub.get("/stats").json()["streams_replaced"], 1);
}

#[test]
fn a_state_channel_that_is_added_begins_with_all_its_values_unless_a_since_says_otherwise() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    for (key, data) in [("x", "old"), ("y", "1"), ("x", "2")] {
        assert_eq!(hub.post(&format!("/channels/s?key={key}"), data).status, 200);
        assert_eq!(hub.post(&format!("/channels/t?key={key}"), data).status, 200);
    }
    hub.publish("events", "before");
    let mut listener = hub.live(&format!("channel=a&stream={ID}"));
    let now = json!({"channel": "t", "since": "last:0"});
    assert_eq!(patch(&hub, ID, &json!({"add": ["s", "events", now]})).0, 200);
    listener.named("fanfare.subscription");
    for expected in ["1", "2"] {
        assert_eq!(listener.next().data, expected);
    }
    for (channel, data) in [("s", "3"), ("t", "4")] {
        assert_eq!(hub.post(&format!("/channels/{channel}?key=x"), data).status, 200);
        assert_eq!(listener.next().data, data, "then what changes, and of {channel} only that");
    }
    // A pattern, even one that matches nothing else, begins now.
    patch(&hub, ID, &json!({"remove": ["s"], "add": [{"pattern": "s*"}]}));
    assert_eq!(hub.post("/channels/s?key=y", "5").status, 200);
    assert_eq!(listener.next().data, "5");
}

#[test]
fn a_stream_that_the_hub_named_can_be_changed_and_ended_too() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.listen("channel=a");
    let id = listener.named("fanfare.hello").json()["stream"].as_str().unwrap().to_owned();
    hub.publish("b", "before");
    let (_, answer) = patch(&hub, &id, &json!({"add": [{"channel": "b", "since": "last:1"}]}));
    assert_eq!(names(&answer, "channels"), ["a", "b"]);
    assert_eq!(listener.next().data, "before");
    drop(listener);
    let mut back = Listener::open(hub.addr(), &format!("channel=a&stream={id}"), None);
    assert_eq!(back.named("fanfare.hello").json()["revision"], 1);
    assert_eq!(hub.request("DELETE", &format!("/streams/{id}"), &[], b"").status, 204);
    assert_eq!(back.named("fanfare.bye").json()["reason"], "deleted");
    assert_eq!(hub.get(&format!("/events?channel=a&stream={id}")).status, 204);
    assert_eq!(patch(&hub, &id, &json!({"add": ["c"]})).0, 404);
    assert_eq!(patch(&hub, ID, &json!({"add": ["c"]})).0, 404);
}

#[test]
fn whoever_asks_for_something_else_with_a_known_id_gets_what_it_asks_for() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let revision = |listener: &mut Listener| listener.named("fanfare.hello").json()["revision"].clone();
    let mut first = hub.listen(&format!("channel=page-a&stream={ID}"));
    first.named("fanfare.hello");
    assert_eq!(patch(&hub, ID, &json!({"add": ["room"]})).0, 200);
    first.named("fanfare.subscription");
    let id = first.last_event_id().to_owned();
    drop(first);
    hub.publish("room", "while nobody listens");

    let mut other = hub.resume(&format!("channel=page-b&stream={ID}"), &id);
    assert_eq!(revision(&mut other), 0);
    assert_eq!(names(&hub.get(&format!("/streams/{ID}")).json(), "channels"), ["page-b"]);
    hub.publish("page-a", "gone");
    hub.publish("room", "gone, too");
    hub.publish("page-b", "there");
    assert_eq!(other.next().data, "there");

    // One that is open is replaced all the same.
    let mut again = hub.listen(&format!("channel=page-a&stream={ID}"));
    assert_eq!(revision(&mut again), 0, "what was remembered of its request is forgotten");
    assert_eq!(other.named("fanfare.bye").json()["reason"], "replaced");

    // Nobody gets another one's inbox.
    let inbox = |user: &str| format!("user={user}&inbox=1&channel=page-a&stream={ID}");
    for user in ["ada", "bob"] {
        assert_eq!(hub.post(&format!("/inbox/{user}"), format!("for {user}")).status, 200);
    }
    assert_eq!(hub.listen(&inbox("ada")).next().data, "for ada");
    let mut bob = hub.listen(&inbox("bob"));
    assert_eq!(bob.next().data, "for bob");
    assert_eq!(names(&hub.get(&format!("/streams/{ID}")).json(), "channels"), ["@inbox/bob", "page-a"]);

    assert_eq!(hub.request("DELETE", &format!("/streams/{ID}"), &[], b"").status, 204);
    for query in [inbox("bob"), inbox("ada"), format!("channel=page-b&stream={ID}")] {
        assert_eq!(hub.get(&format!("/events?{query}")).status, 204, "it has ended for good: {query}");
    }
}

#[test]
fn whoever_removes_what_is_for_everyone_gets_no_more_of_it_also_when_coming_back() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let everyone = |text: &str| -> u64 {
        let headers = [("Content-Type", "application/json")];
        let body = json!({"to": "everyone", "data": text}).to_string();
        hub.request("POST", "/publish", &headers, body.as_bytes()).json()["streams"].as_u64().unwrap()
    };
    let query = format!("channel=a&stream={ID}");
    let mut listener = hub.listen(&query);
    listener.named("fanfare.hello");
    assert_eq!(everyone("heard"), 1);
    assert_eq!(listener.next().data, "heard");
    // It never named it.
    let (status, answer) = patch(&hub, ID, &json!({"remove": ["@everyone"]}));
    assert_eq!((status, &answer["revision"]), (200, &1.into()));
    assert_eq!(everyone("declined"), 0);
    // By name it is followed like any other channel.
    assert_eq!(patch(&hub, ID, &json!({"add": [{"channel": "@everyone", "since": "last:1"}]})).1["revision"], 2);
    assert_eq!(listener.next().data, "declined");
    assert_eq!(everyone("by name"), 1);
    assert_eq!(listener.next().data, "by name");
    let (_, answer) = patch(&hub, ID, &json!({"remove": [{"channel": "@everyone"}]}));
    assert_eq!((&answer["revision"], names(&answer, "channels")), (&3.into(), vec!["a".to_owned()]));
    assert_eq!(patch(&hub, ID, &json!({"remove": ["@everyone"]})).1["revision"], 3, "it is passed over");
    assert_eq!(everyone("removed"), 0);
    let id = listener.named("fanfare.subscription").id;
    drop(listener);
    let mut back = hub.resume(&query, &id);
    assert_eq!(back.named("fanfare.hello").json()["revision"], 3);
    assert_eq!(everyone("still removed"), 0);
    hub.publish("a", "of its own");
    assert_eq!(back.next().data, "of its own");
}

#[test]
fn a_pattern_that_is_too_wide_for_its_last_events_is_refused_before_it_ends_the_stream() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let publish = |prefix: &str, count: usize| {
        let lines: String =
            (0..count).map(|n| json!({"channel": format!("{prefix}:{n}"), "data": n}).to_string() + "\n").collect();
        let headers = [("Content-Type", "application/x-ndjson")];
        assert_eq!(hub.request("POST", "/publish", &headers, lines.as_bytes()).status, 200);
    };
    publish("a", 600);
    publish("b", 401);
    let query = format!("channel=lobby&stream={ID}");
    let mut listener = hub.listen(&query);
    listener.named("fanfare.hello");
    let pattern = |pattern: &str| json!({"pattern": pattern, "since": "last:1"});
    let add = |item: &Value, status: u16| {
        let (got, answer) = patch(&hub, ID, &json!({"add": [item]}));
        assert_eq!(got, status, "{item}: {answer}");
        answer
    };
    assert_eq!(add(&pattern("*"), 409)["code"], "too_many_channels");
    assert_eq!(add(&pattern("a:*"), 200)["revision"], 1);
    assert_eq!(add(&pattern("b:*"), 409)["code"], "too_many_channels", "1,001 with those of before");
    assert_eq!(add(&json!({"pattern": "b:*"}), 200)["revision"], 2, "without their last events they are no matter");
    let (status, _) =
        patch(&hub, ID, &json!({"remove": [{"pattern": "a:*"}, {"pattern": "b:*"}], "add": [pattern("b:*")]}));
    assert_eq!(status, 200, "what is removed doesn't count");
    hub.publish("lobby", "still there");
    while listener.next().data != "still there" {}
    assert_eq!(hub.get("/stats").json()["requests_refused"]["too_many_channels"], 2, "{}", hub.get("/stats").text());
    let id = listener.last_event_id().to_owned();
    drop(listener);
    let (status, _) = patch(&hub, ID, &json!({"add": [pattern("a:*")]}));
    assert_eq!(status, 409, "of a stream that isn't open, too");
    assert_eq!(hub.resume(&query, &id).named("fanfare.hello").json()["revision"], 3);
    assert_eq!(patch(&hub, "00000000000000000000000000000001", &json!({"add": [pattern("*")]})).0, 404);
}
