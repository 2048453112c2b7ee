//! The publishing doors: one event, many channels, batches, idempotency; and what reaches the wire.

use fanfare_hub::{Durability, HubConfig};

use crate::harness::{Address, Hub, Served, folder, rule, rules};

#[test]
fn curl_dash_d_reaches_a_bare_event_source() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.live("channel=news");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = hub.request("POST", "/channels/news", &headers, b"hello");
    assert_eq!(answer.status, 200);
    let receipt = answer.json();
    assert_eq!((&receipt["channel"], &receipt["durability"]), (&"news".into(), &"durable".into()));
    assert_eq!((&receipt["streams"], &receipt["duplicate"]), (&1.into(), &false.into()));
    let heard = listener.next();
    assert_eq!((heard.event.as_str(), heard.data.as_str()), ("message", "hello"));
    assert_eq!(receipt["id"], heard.id);
}

#[test]
fn names_lines_and_json_arrive_as_they_were_sent() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut raw = hub.live("channel=a");
    let mut json = hub.live("channel=a&as=json");
    hub.post("/channels/a?event=told", "one\r\ntwo\rthree\n");
    hub.request(
        "POST",
        "/channels/a",
        &[("Content-Type", "application/json")],
        br#"{"n": 1.10, "big": 12345678901234567890}"#,
    );
    hub.publish("a", "");
    let heard = raw.next();
    assert_eq!((heard.event.as_str(), heard.data.as_str()), ("told", "one\ntwo\nthree\n"));
    assert_eq!(raw.next().data, r#"{"n": 1.10, "big": 12345678901234567890}"#);
    assert_eq!(raw.next().data, "");
    let envelope = json.next();
    assert_eq!(envelope.event, "told");
    let value = envelope.json();
    assert_eq!(value["data"], "one\r\ntwo\rthree\n", "in JSON even line ends survive");
    assert_eq!(
        (&value["channel"], &value["event"], &value["id"]),
        (&"a".into(), &"told".into(), &envelope.id.clone().into())
    );
    assert!(value["time"].is_u64());
    assert!(json.next().data.contains(r#""data":{"n": 1.10, "big": 12345678901234567890}"#), "to the digit");
}

#[test]
fn an_event_of_several_channels_comes_once_and_names_the_channel_that_is_followed() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut both = hub.live("channel=a&channel=b&as=json");
    let mut second = hub.live("channel=b&as=json");
    let receipt = hub.post("/publish", r#"{"channels":["a","b"],"data":"x"}"#).json();
    assert_eq!(receipt["streams"], 2);
    hub.publish("b", "end");
    assert_eq!(both.next().json()["channel"], "a");
    assert_eq!(both.next().json()["data"], "end");
    assert_eq!(second.next().json()["channel"], "b");
}

#[test]
fn channels_that_paths_would_mangle_go_into_the_query() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.live("channel=https%3A%2F%2Fexample.com%2Fbooks%2F1&channel=..&channel=caf%C3%A9");
    for channel in ["https%3A%2F%2Fexample.com%2Fbooks%2F1", "..", "caf%C3%A9"] {
        assert_eq!(hub.post(&format!("/channels?channel={channel}"), channel).status, 200);
        assert_eq!(listener.next().data, channel);
    }
    assert_eq!(hub.post("/channels/caf%C3%A9", "by path").status, 200);
    assert_eq!(listener.next().data, "by path");
}

#[test]
fn a_batch_is_answered_item_by_item() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.live("channel=a");
    let batch = r#"[{"channel":"a","data":1},{"channel":"a","event":"error","data":2},{"channel":"a","data":{"x":3}}]"#;
    let answer = hub.post("/publish", batch);
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].clone();
    assert!(results[0]["id"].is_string() && results[2]["id"].is_string(), "{results}");
    assert_eq!((&results[1]["status"], &results[1]["code"]), (&400.into(), &"bad_event_name".into()));
    assert_eq!((listener.next().data.as_str(), listener.next().data.as_str()), ("1", r#"{"x":3}"#));
}

#[test]
fn an_atomic_batch_is_all_or_nothing() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut listener = hub.live("channel=a");
    let bad = r#"[{"channel":"a","data":1},{"channel":"@a","data":2}]"#;
    let answer = hub.post("/publish?atomic=1", bad);
    assert_eq!((answer.status, answer.json()["item"].as_u64()), (403, Some(1)), "{}", answer.text());
    assert_eq!(hub.post("/publish", r#"{"channel":"a","data":"k","idempotency_key":"k"}"#).status, 200);
    let conflict = r#"[{"channel":"a","data":1},{"channel":"a","data":2,"idempotency_key":"k"}]"#;
    let answer = hub.post("/publish?atomic=1", conflict);
    assert_eq!(answer.status, 409, "{}", answer.text());
    let good = r#"[{"channel":"a","data":"x"},{"channel":"a","data":"y"}]"#;
    assert_eq!(hub.post("/publish?atomic=1", good).json()["results"].as_array().unwrap().len(), 2);
    let heard: Vec<String> = (0..3).map(|_| listener.next().data).collect();
    assert_eq!(heard, ["k", "x", "y"], "nothing of the refused batches");
}

#[test]
fn an_idempotency_key_survives_kill_9() {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    let headers = [("Idempotency-Key", "order-7")];
    let first = hub.request("POST", "/channels/a", &headers, b"x").json();
    assert_eq!(first["duplicate"], false);
    hub.kill9();
    let hub = Hub::start(folder.path());
    let again = hub.request("POST", "/channels/a", &headers, b"x").json();
    assert_eq!((&again["duplicate"], &again["id"]), (&true.into(), &first["id"]));
    let other = hub.request("POST", "/channels/a", &headers, b"y");
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("conflict")));
    assert_eq!(hub.get("/channels/a").json()["events"], 1);
}

#[test]
fn a_transient_event_has_no_id_and_leaves_the_cursor_where_it_is() {
    let folder = folder();
    let served = Served::start(folder.path(), rules(vec![rule("typing").durability(Durability::Transient)]));
    let mut listener = served.listen("channel=typing&channel=a");
    let hello = listener.named("fanfare.hello");
    let receipt = served.post("/channels/typing", "ada").json();
    assert_eq!((&receipt["id"], &receipt["durability"]), (&serde_json::Value::Null, &"transient".into()));
    assert_eq!(listener.next().data, "ada");
    assert_eq!(listener.last_event_id(), hello.id);
    let id = served.publish("a", "x");
    assert_eq!(listener.next().id, id);
    let mut late = served.listen("channel=typing&since=start");
    served.publish("typing", "now");
    assert_eq!(late.next().data, "now", "there is no history of it");
}

#[test]
fn a_publishers_retry_is_clamped() {
    let folder = folder();
    let served = Served::start(folder.path(), HubConfig::default());
    served.post("/channels/a?retry=1", "x");
    let mut stream = served.connect().stream("GET", "/events?channel=a&since=start", &[], b"").unwrap().1;
    let mut text = String::new();
    while !text.contains("data: x") {
        text.push_str(std::str::from_utf8(&stream.read(usize::MAX).unwrap()).unwrap());
    }
    assert!(text.contains("\nretry: 500\n"), "{text}");
    let opening: u64 = text.split("retry: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert!((2_000..=4_000).contains(&opening), "{opening}");
}
