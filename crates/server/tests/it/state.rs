//! State channels over the real server: whoever joins, whenever and however slowly it reads, ends with the last values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_hub::Overflow;

use crate::harness::{Address, Served, folder, rule, rules};

type Values = BTreeMap<String, u64>;

const KEYS: u64 = 1_000;

/// Listens until the last value of all; gives the values and how many events came.
fn listen(served: &Served, mut values: Values, query: &str, is_slow: bool) -> (Values, usize) {
    let mut listener = served.listen(query);
    let mut count = 0;
    loop {
        let event = listener.any().expect("the stream goes on");
        match event.event.as_str() {
            "fanfare.hello" => {}
            "message" => {
                let value: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                let (key, number) = (value["key"].as_str().unwrap().to_owned(), value["data"].as_u64().unwrap());
                if key == "end" {
                    return (values, count);
                }
                count += 1;
                let before = values.insert(key.clone(), number);
                assert!(before.is_none_or(|before| before <= number), "{key}: {number} came after {before:?}");
            }
            other => panic!("{other}: {}", event.data),
        }
        if is_slow {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// What the channel lists, and where to follow from.
fn snapshot(served: &Served) -> (Values, String) {
    let cursor = served.get("/channels/prices").json()["cursor"].as_str().unwrap().to_owned();
    let (mut values, mut after) = (Values::new(), String::new());
    loop {
        let page = served.get(&format!("/channels/prices/keys?limit=1000&after={after}")).json();
        for value in page["values"].as_array().unwrap() {
            values.insert(value["key"].as_str().unwrap().to_owned(), value["data"].as_u64().unwrap());
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return (values, cursor),
        }
    }
}

#[test]
fn everyone_who_joins_while_values_change_ends_with_the_last_of_them() {
    let clients: u64 = if std::env::var_os("FANFARE_LONG").is_some() { 500 } else { 60 };
    let folder = folder();
    let served = Arc::new(Served::start(folder.path(), rules(vec![rule("prices").overflow(Overflow::Conflate)])));
    let (opened, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut last = Values::new();
            let mut number = 0;
            // About 2,000 a second, for as long as somebody has yet to join.
            while !over.load(Ordering::Acquire) {
                let mut lines = String::new();
                for _ in 0..100 {
                    number += 1;
                    let key = format!("k{}", number * 7_919 % KEYS);
                    writeln!(lines, "{{\"channel\":\"prices\",\"key\":\"{key}\",\"data\":{number}}}").unwrap();
                    last.insert(key, number);
                }
                let sent =
                    served.request("POST", "/publish", &[("content-type", "application/x-ndjson")], lines.as_bytes());
                assert_eq!(sent.status, 200);
                std::thread::sleep(Duration::from_millis(40));
            }
            assert_eq!(served.post("/publish", r#"{"channel":"prices","key":"end","data":0}"#).status, 200);
            last
        });
        let joined: Vec<_> = (0..clients)
            .map(|client| {
                let (served, opened) = (served.clone(), &opened);
                scope.spawn(move || {
                    // Spread over the time in which values change.
                    std::thread::sleep(Duration::from_millis(client * 7_919 % 2_000));
                    let (values, query) = if client % 2 == 0 {
                        let (values, cursor) = snapshot(&served);
                        (values, format!("channel=prices&as=json&since={cursor}"))
                    } else {
                        (Values::new(), "channel=prices&as=json".to_owned())
                    };
                    opened.fetch_add(1, Ordering::AcqRel);
                    listen(&served, values, &query, client % 10 == 0)
                })
            })
            .collect();
        while opened.load(Ordering::Acquire) < joined.len() {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        over.store(true, Ordering::Release);
        let last = publisher.join().unwrap();
        for joined in joined {
            let (values, _) = joined.join().unwrap();
            assert_eq!(values.len(), last.len());
            assert!(values == last, "not the last values");
        }
    });
}
