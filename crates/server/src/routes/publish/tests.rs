//! That events, batches and their items become what they are to, and are refused and counted by name.

use fanfare_hub::{Durability, HubConfig, Pattern, Rule};

use super::*;
use crate::testing::TestDoor;

#[tokio::test]
async fn one_event_gets_one_receipt() {
    let door = TestDoor::open();
    let body = r#"{"channels": ["a", "b"], "event": "created", "data": {"n": 1.10}, "ttl": "5m", "retry": 1000}"#;
    assert_eq!(door.post("/publish", body).await.json().await["channel"], "a");
    let page = door.get("/channels/b/history").await.text().await;
    assert!(page.contains(r#""event":"created","data":{"n": 1.10}"#), "{page}");
}

#[tokio::test]
async fn a_string_is_text_and_null_is_json() {
    let door = TestDoor::open();
    for data in ["\"line\\nline\"", "null", "7", "[1, 2]"] {
        let body = format!(r#"{{"channel": "a", "data": {data}}}"#);
        assert_eq!(door.post("/publish", &body).await.status.as_u16(), 200, "{data}");
    }
    let page = door.get("/channels/a/history").await.text().await;
    for data in [r#""data":"line\nline""#, r#""data":null"#, r#""data":7"#, r#""data":[1, 2]"#] {
        assert!(page.contains(data), "{data}: {page}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_one_event_is_named() {
    let door = TestDoor::open();
    for (body, code, named) in [
        ("", "bad_json", "the body is empty"),
        ("{", "bad_json", "in the middle of an object"),
        ("7", "malformed", "an object with `channel`"),
        (r#"{"channel": "a", "data": 1, "event": 7}"#, "malformed", "`event`"),
        (r#"{"channel": "a"}"#, "malformed", "`data` is missing"),
        (r#"{"data": 1}"#, "malformed", "`channel`, `channels`, `to` or `user`"),
        (r#"{"channels": ["a", ""], "data": 1}"#, "bad_channel", "`channels[1]` is empty"),
        (r#"{"channel": "a", "channels": ["b"], "data": 1}"#, "malformed", "both"),
        (r#"{"channels": [], "data": 1}"#, "malformed", "`channels` is empty"),
        (r#"{"channel": "a", "data": 1, "chanel": 1}"#, "malformed", "`chanel`"),
        (r#"{"channel": "a\n", "data": 1}"#, "bad_channel", "`channel` has a control"),
        (r#"{"channel": "@a", "data": 1}"#, "reserved_channel", "@a"),
        (r#"{"channel": "a", "data": "\ud800"}"#, "bad_json", "`data`"),
        (r#"{"channel": "a", "data": 1, "event": 7}"#, "malformed", "`event` is the number 7; it takes a string"),
        (r#"{"channel": "a", "data": 1} x"#, "bad_json", "something follows it"),
        (
            "{\"channel\": \"a\", \"data\": 1}\n\n{\"channel\": \"a\"",
            "bad_json",
            "`Content-Type: application/x-ndjson`",
        ),
        (r#"{"channel": "a", "data": 1, "ttl": -1}"#, "malformed", "`ttl`"),
        (r#"{"channel": "a", "data": 1, "ttl": []}"#, "malformed", "`ttl`"),
    ] {
        let answer = door.post("/publish", body).await;
        assert!(answer.status.is_client_error(), "{body}");
        let problem = answer.problem().await;
        assert_eq!(problem["code"], code, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item() {
    let door = TestDoor::open();
    let array = r#"[{"channel": "a", "data": 1}, {"channel": "", "data": 2}, {"channel": "a", "data": 3}]"#;
    let lines = "{\"channel\": \"a\", \"data\": 1}\n\n{\"channel\": \"\"}\r\n{\"channel\": \"a\", \"data\": 3}";
    for (content_type, body) in [("application/json", array), ("application/x-ndjson", lines)] {
        let answer = door.request("POST", "/publish", &[("content-type", content_type)], body).await;
        let results = answer.json().await["results"].clone();
        assert_eq!(results[0]["channel"], "a");
        assert_eq!((&results[1]["status"], &results[1]["item"]), (&400.into(), &1.into()));
        assert!(results[2]["id"].as_str() > results[0]["id"].as_str());
    }
    assert_eq!(door.get("/channels/a").await.json().await["events"], 4);
    assert_eq!(door.post("/publish", "[]").await.json().await["results"], serde_json::json!([]));
}

#[tokio::test]
async fn every_item_that_is_refused_is_counted_by_its_code() {
    let door = TestDoor::open();
    door.post("/channels/ended/end", "").await.json().await;
    door.post("/channels/s?key=a", "x").await.json().await;
    let items = [
        (r#"{"channel": "a"}"#, "malformed"),
        (r#"{"channel": "@a", "data": 1}"#, "reserved_channel"),
        (r#"{"channel": "", "data": 1}"#, "bad_channel"),
        (r#"{"channel": "a", "data": 1, "event": "open"}"#, "bad_event_name"),
        (r#"{"channel": "ended", "data": 1}"#, "ended"),
        (r#"{"channel": "s", "data": 1}"#, "channel_kind"),
        (r#"{"channel": "s", "key": "b", "delete": true}"#, "unknown_key"),
        (r#"{"channel": "a", "data": 1, "fence": 1}"#, "malformed"),
    ];
    let batch = format!("[{}]", items.map(|(item, _)| item).join(","));
    let results = door.post("/publish", &batch).await.json().await["results"].clone();
    let codes: Vec<_> = results.as_array().unwrap().iter().map(|result| result["code"].clone()).collect();
    assert_eq!(codes, items.map(|(_, code)| code));
    let stats = door.get("/stats").await.json().await;
    let refused = serde_json::json!({"malformed": 2, "reserved_channel": 1, "bad_channel": 1, "bad_event_name": 1,
        "ended": 1, "channel_kind": 1, "unknown_key": 1});
    assert_eq!(stats["items_refused"], refused);
    assert_eq!(stats["requests_refused"], serde_json::json!({}), "the request was answered");
    for (reason, count) in [("ended", 1), ("channel_kind", 1), ("unknown_key", 1), ("malformed", 1), ("fenced", 0)] {
        assert_eq!(stats["refused"][reason], count, "{reason}: {stats}");
    }
    let metrics = door.get("/metrics").await.text().await;
    assert!(metrics.contains("fanfare_items_refused_total{code=\"bad_channel\"} 1\n"), "{metrics}");
    assert!(metrics.contains("fanfare_events_not_published_total{reason=\"unknown_key\"} 1\n"), "{metrics}");
}

#[test]
fn what_the_log_counts_is_called_as_clients_are_told() {
    use AppendError as E;
    let all = [
        E::Conflict,
        E::Ended,
        E::Fenced,
        E::NoFence,
        E::UnknownFence,
        E::DiskFull,
        E::Damaged,
        E::OutcomeUnknown,
        E::Reopening,
        E::NoKey,
        E::NoState,
        E::TransientState,
        E::TooManyKeys,
        E::UnknownKey,
        E::Closed,
    ];
    for error in all {
        assert_eq!(error.reason(), refused_append(error).code().as_str(), "{error}");
    }
    let mut told: Vec<&str> = all.into_iter().chain([E::Batch(0)]).map(E::reason).collect();
    told.sort_unstable();
    told.dedup();
    let mut reasons = E::REASONS;
    reasons.sort_unstable();
    assert_eq!(told, reasons);
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_nothing() {
    let door = TestDoor::open();
    let problem = async |body| door.post("/publish?atomic=1", body).await.problem().await;
    let bad = problem(r#"[{"channel": "a", "data": 1}, {"channel": "a"}]"#).await;
    assert_eq!((&bad["code"], &bad["item"]), (&"malformed".into(), &1.into()));
    let item = |data| format!(r#"{{"channel": "a", "data": {data}, "idempotency_key": "k"}}"#);
    let conflict = problem(&format!("[{}, {}]", item(1), item(2))).await;
    assert_eq!((&conflict["code"], &conflict["item"]), (&"conflict".into(), &1.into()));
    assert_eq!(door.get("/channels/a").await.json().await["events"], 0);
    let good = door.post("/publish?atomic=1", r#"[{"channel": "a", "data": 1}]"#).await;
    assert_eq!(good.json().await["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_disk_refuses_durable_events_alone_and_atomic_batches_whole() {
    let memory = Rule::new(Pattern::new("m*").unwrap()).durability(Durability::Memory);
    let rules = vec![memory];
    let door = TestDoor::with(HubConfig { rules, disk_reserve_bytes: Some(u64::MAX / 2), ..HubConfig::default() });
    let one = door.post("/publish", r#"{"channel": "a", "data": 1}"#).await;
    assert_eq!((one.status.as_u16(), &one.headers["retry-after"]), (507, &"5".parse().unwrap()));
    assert_eq!(one.problem().await["code"], "disk_full");
    let batch = r#"[{"channel": "m", "data": 1}, {"channel": "a", "data": 2}, {"channel": "m", "data": 3}]"#;
    let results = door.post("/publish", batch).await.json().await["results"].clone();
    assert_eq!((&results[0]["durability"], &results[2]["durability"]), (&"memory".into(), &"memory".into()));
    assert_eq!((&results[1]["status"], &results[1]["item"]), (&507.into(), &1.into()));
    let whole = door.post("/publish?atomic=1", batch).await.problem().await;
    assert_eq!((&whole["code"], &whole["item"]), (&"disk_full".into(), &serde_json::Value::Null));
    assert_eq!(door.get("/channels/m").await.json().await["events"], 2);
    assert_eq!(door.get("/channels/a").await.json().await["events"], 0);
    let stats = door.get("/stats").await.json().await;
    assert_eq!((&stats["refused"]["disk_full"], &stats["disk_full"]), (&5.into(), &true.into()));
    assert!(stats["disk_free_bytes"].as_u64() < stats["disk_reserve_bytes"].as_u64());
    let ready = door.get("/health/ready").await;
    assert_eq!(ready.status.as_u16(), 200);
    let disk = &ready.json().await["checks"]["disk"];
    assert_eq!(disk, "the disk is full; durable events are refused");
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let door = TestDoor::open();
    let body = format!("[{}]", vec![r#"{"channel":"a","data":1}"#; BATCH_EVENTS_MAX + 1].join(","));
    assert_eq!(door.post("/publish", &body).await.status.as_u16(), 413);
}

#[tokio::test]
async fn the_header_gives_one_event_its_key() {
    let door = TestDoor::open();
    let post = async |body| door.request("POST", "/publish", &[("idempotency-key", "k")], body).await;
    let one = r#"{"channel": "a", "data": 1}"#;
    assert_eq!(post(one).await.json().await["duplicate"], false);
    assert_eq!(post(one).await.json().await["duplicate"], true);
    assert_eq!(post(r#"{"channel": "a", "data": 1, "idempotency_key": "l"}"#).await.status.as_u16(), 400);
    assert_eq!(post("[]").await.status.as_u16(), 400);
}
