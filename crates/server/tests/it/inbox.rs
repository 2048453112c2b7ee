//! Inboxes over HTTP: restarts change nothing, what is beyond their limits goes and is told.

use std::time::Duration;

use fanfare_hub::HistoryLimits;
use serde_json::{Value, json};

use crate::harness::{Address, Heard, Hub, Listener, Served, folder, manual_clock, rule, rules};

/// Publishes to a user, and gives the message's id.
fn send(hub: &impl Address, data: &str) -> String {
    hub.post("/inbox/ada", data).json()["id"].as_str().unwrap().to_owned()
}

fn waiting(hub: &impl Address) -> Vec<String> {
    let page = hub.get("/inbox/ada?limit=1000").json();
    let events = page["events"].as_array().unwrap();
    assert_eq!(page["unread"], events.len());
    events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect()
}

/// What a listener hears until this data, but for what says nothing.
fn until(listener: &mut Listener, data: &str) -> Vec<Heard> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last: &Heard| last.data != data) {
        heard.push(listener.next());
    }
    heard
}

fn data(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|heard| heard.data.as_str()).collect()
}

#[test]
fn a_crash_changes_nothing_of_what_waits_and_of_what_a_device_had() {
    let folder = folder();
    let mut hub = Hub::start(folder.path());
    let ids: Vec<String> = ["1", "2", "3", "4", "5"].map(|data| send(&hub, data)).into();
    let auto = "user=ada&inbox=1&device=phone&ack=auto";
    let mut phone = hub.listen(auto);
    let mut desk = hub.listen("user=ada&inbox=1&as=json");
    let had = until(&mut phone, "2");
    until_json(&mut desk, "5");
    let done = hub.post("/inbox/ada/ack", json!({"ids": [ids[3]]}).to_string()).json();
    assert_eq!(done, json!({"user": "ada", "acknowledged": 1, "unread": 4}));
    let of_desk = desk.named("fanfare.delete");
    assert_eq!(of_desk.json()["id"], ids[3]);
    hub.kill9();
    let mut hub = Hub::start(folder.path());
    assert_eq!(waiting(&hub), ["1", "2", "3", "5"]);
    // The phone had two; the rest comes, and what it had is done with.
    let mut phone = hub.resume(auto, &had.last().unwrap().id);
    assert_eq!(data(&until(&mut phone, "5")), ["3", "5"]);
    assert_eq!(waiting(&hub), ["3", "5"]);
    let mut desk = hub.resume("user=ada&inbox=1&as=json", &of_desk.id);
    let deleted: Vec<Value> = (0..2).map(|_| desk.named("fanfare.delete").json()["id"].clone()).collect();
    assert_eq!(deleted, [json!(ids[0]), json!(ids[1])], "the desk hears what the phone had");
    hub.terminate();
    assert!(hub.wait().success());
    let hub = Hub::start(folder.path());
    assert_eq!(hub.request("DELETE", "/inbox/ada", &[], b"").json()["acknowledged"], 2);
    assert_eq!(waiting(&hub), Vec::<String>::new());
}

fn until_json(listener: &mut Listener, data: &str) {
    while listener.next().json()["data"] != data {}
}

#[test]
fn the_oldest_of_a_full_inbox_go_and_who_has_not_had_them_is_told() {
    let folder = folder();
    let limits = HistoryLimits { count_max: 3, ..HistoryLimits::default() };
    // What is still in memory would come all the same.
    let config = fanfare_hub::HubConfig { window_bytes: 0, ..rules(vec![rule("@inbox/*").history(limits)]) };
    let hub = Served::start(folder.path(), config);
    let first = send(&hub, "1");
    let ids: Vec<String> = ["2", "3", "4", "5"].map(|data| send(&hub, data)).into();
    assert_eq!(waiting(&hub), ["3", "4", "5"]);
    let mut behind = hub.resume("user=ada&inbox=1", &first);
    let gap = behind.named("fanfare.gap").json();
    assert_eq!(
        (&gap["channel"], &gap["reason"], &gap["to"]),
        (&"@inbox/ada".into(), &"trimmed".into(), &ids[0].as_str().into())
    );
    assert_eq!(data(&until(&mut behind, "5")), ["3", "4", "5"], "what is left comes all the same");
    let mut level = hub.resume("user=ada&inbox=1", &ids[0]);
    assert_eq!(data(&until(&mut level, "5")), ["3", "4", "5"], "who had them all hears of no gap");
    let mut anew = hub.listen("user=ada&inbox=1");
    assert_eq!(data(&until(&mut anew, "5")), ["3", "4", "5"]);
    hub.stop();
}

#[test]
fn old_messages_go_and_who_has_not_had_them_is_told() {
    let folder = folder();
    let clock = manual_clock();
    let limits = HistoryLimits { age_max: Duration::from_secs(100), ..HistoryLimits::default() };
    let config = fanfare_hub::HubConfig {
        clock: clock.clone(),
        window_bytes: 0,
        ..rules(vec![rule("@inbox/*").history(limits)])
    };
    let hub = Served::start(folder.path(), config);
    hub.publish("a", "before");
    let before = hub.publish("a", "before");
    let old = [send(&hub, "1"), send(&hub, "2")];
    clock.advance(Duration::from_mins(1));
    send(&hub, "3");
    clock.advance(Duration::from_secs(50));
    let left = || hub.get("/inbox/ada").json()["unread"].as_u64().unwrap();
    while left() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(waiting(&hub), ["3"]);
    let mut behind = hub.resume("user=ada&inbox=1", &before);
    assert_eq!(behind.named("fanfare.gap").json()["to"], old[1].as_str());
    assert_eq!(behind.next().data, "3");
    clock.advance(Duration::from_mins(1));
    while left() > 0 {
        std::thread::yield_now();
    }
    while hub.get("/stats").json()["removed_by_reason"]["history"] != 3 {
        std::thread::yield_now();
    }
    hub.stop();
}
