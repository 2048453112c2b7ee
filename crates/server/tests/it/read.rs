//! Reading without a stream: channel state, history, names, health, stats.

use fanfare_hub::{HistoryLimits, HubConfig};

use crate::harness::{Address, Hub, Served, folder, rule, rules};

fn data(page: &serde_json::Value) -> Vec<String> {
    page["events"].as_array().unwrap().iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn history_reads_both_ways_from_everywhere_and_in_pages() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let ids: Vec<String> = (0..10).map(|n| hub.publish("a", &n.to_string())).collect();
    let get = |query: &str| hub.get(&format!("/channels/a/history?{query}")).json();
    assert_eq!(data(&get("since=last:3")), ["7", "8", "9"]);
    assert_eq!(data(&get("since=last:3&order=desc")), ["9", "8", "7"]);
    assert_eq!(data(&get(&format!("since={}", ids[6]))), ["7", "8", "9"]);
    assert_eq!(data(&get("since=5m")).len(), 10);
    assert_eq!(data(&hub.get("/history?channel=a&since=start&limit=2").json()), ["0", "1"]);
    let (mut since, mut all) = ("start".to_owned(), Vec::new());
    loop {
        let page = get(&format!("since={since}&limit=3"));
        all.extend(data(&page));
        match page["next"].as_str() {
            Some(next) => since = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(all.len(), 10, "pages join without hole or double: {all:?}");
    let (mut before, mut all) = (String::new(), Vec::new());
    loop {
        let page = get(&format!("order=desc&limit=4{before}"));
        all.extend(data(&page));
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(all, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
}

#[test]
fn history_tells_what_it_can_not_tell() {
    let folder = folder();
    let history = HistoryLimits { count_max: 2, ..HistoryLimits::default() };
    let served = Served::start(folder.path(), rules(vec![rule("short").history(history)]));
    let ids: Vec<String> = (0..5).map(|n| served.publish("short", &n.to_string())).collect();
    served.publish("x", "x");
    served.publish("x", "x");
    let page = served.get(&format!("/channels/short/history?since={}", ids[0])).json();
    assert_eq!((data(&page), page["gap"].as_str()), (vec!["3".into(), "4".into()], Some(ids[2].as_str())));
    assert!(served.get("/channels/short/history?since=start").json()["gap"].is_null());
    let answer = served.get("/channels/short/history?since=000009-00000000-0000000001");
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn a_channel_tells_its_state_and_the_hub_its_channels() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let _listener = hub.listen("channel=chat:1");
    let id = hub.publish("chat:1", "x");
    hub.publish("chat:2", "x");
    hub.publish("other", "x");
    let info = hub.get("/channels/chat:1").json();
    assert_eq!((&info["head"], &info["events"], &info["streams"]), (&id.into(), &1.into(), &1.into()), "{info}");
    assert_eq!(info["rule"]["durability"], "durable");
    assert_eq!(hub.get("/channels?prefix=chat:").json()["channels"], serde_json::json!(["chat:1", "chat:2"]));
    assert_eq!(hub.get("/channels?prefix=chat:&after=chat:1").json()["channels"], serde_json::json!(["chat:2"]));
    let empty = hub.get("/channels/nobody").json();
    assert_eq!((&empty["events"], &empty["head"]), (&0.into(), &serde_json::Value::Null));
}

#[test]
fn the_hub_tells_its_health_and_its_figures() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    assert_eq!(hub.get("/health/live").status, 200);
    assert_eq!(hub.get("/health/ready").status, 200);
    hub.publish("a", "x");
    let _listener = hub.listen("channel=a");
    let stats = hub.get("/stats").json();
    assert!(stats["published"]["durable"].as_u64().unwrap() >= 1, "{stats}");
    assert_eq!(stats["streams"], 1);
}

#[test]
fn a_fresh_hub_publishes_this_machines_figures() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let metrics = hub.listen("channel=@system/metrics&since=5m").named("metrics").json();
    assert!(metrics["cpu"]["usage"].is_number() && metrics["cpu"]["cores"].as_array().is_some_and(|c| !c.is_empty()));
    assert!(metrics["memory"]["total"].as_u64().unwrap() > metrics["memory"]["used"].as_u64().unwrap());
    for field in ["load", "network", "disk", "uptime", "timestamp"] {
        assert!(!metrics[field].is_null(), "{field} is missing: {metrics}");
    }
}

#[test]
fn the_first_page_is_there_with_all_that_it_needs() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let page = hub.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for asset in page.text().split('"').filter(|text| text.starts_with("/assets/")) {
        assert_eq!(hub.get(asset).status, 200, "{asset}");
    }
    let etag = page.header("etag").unwrap().to_owned();
    assert_eq!(hub.request("GET", "/", &[("If-None-Match", &etag)], b"").status, 304);
    let served = Served::start(crate::harness::folder().path(), HubConfig::default());
    assert_eq!(served.get("/").status, 404, "an embedded hub leaves the root to its host");
}
