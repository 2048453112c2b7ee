//! `kill -9` at random moments: what was acknowledged is there, once, in order, and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Address, Hub, folder};
use crate::http::Connection;
use crate::publishers::{Publishers, Values};

/// What one publisher sent, and what was acknowledged.
#[derive(Default)]
struct Book {
    /// Every value ever sent, by publisher, in order.
    sent: HashMap<u64, Vec<u64>>,
    /// Value → id.
    acknowledged: HashMap<u64, String>,
}

#[test]
fn every_acknowledged_event_survives_kill_9_once_and_in_order() {
    let rounds = if std::env::var_os("FANFARE_LONG").is_some() { 300 } else { 30 };
    let seed = std::env::var("FANFARE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("repeat this run with FANFARE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = folder();
    let book = Arc::new(Mutex::new(Book::default()));
    let next_value = Arc::new(AtomicU64::new(0));
    let mut since = "start".to_owned();
    let mut found: Vec<(String, u64, u64)> = Vec::new();
    for _ in 0..rounds {
        let mut hub = Hub::start(folder.path());
        read_on(&hub, &mut since, &mut found);
        let publishers = Publishers::start(&hub, &next_value, {
            let book = book.clone();
            move |publisher, connection, values| publish(publisher, connection, values, &book)
        });
        std::thread::sleep(Duration::from_millis(rng.random_range(5..250)));
        hub.kill9();
        publishers.stop();
    }
    let hub = Hub::start(folder.path());
    read_on(&hub, &mut since, &mut found);
    check(&book.lock().unwrap(), &found);
}

/// Publishes until the hub is gone.
fn publish(publisher: u64, mut hub: Connection, values: Values, book: &Mutex<Book>) {
    for value in values {
        book.lock().unwrap().sent.entry(publisher).or_default().push(value);
        let body = format!("{publisher} {value}");
        let Ok(answer) = hub.request("POST", "/channels/crash", &[], body.as_bytes()) else { return };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        book.lock().unwrap().acknowledged.insert(value, id);
    }
}

/// Reads what was added to the channel's history.
fn read_on(hub: &Hub, since: &mut String, found: &mut Vec<(String, u64, u64)>) {
    let mut connection = hub.connect();
    loop {
        let path = format!("/channels/crash/history?since={since}&limit=1000");
        let page = connection.request("GET", &path, &[], b"").unwrap().json();
        assert!(page["gap"].is_null(), "{page}");
        for event in page["events"].as_array().unwrap() {
            let mut words = event["data"].as_str().unwrap().split(' ').map(|word| word.parse::<u64>().unwrap());
            let id = event["id"].as_str().unwrap().to_owned();
            since.clone_from(&id);
            found.push((id, words.next().unwrap(), words.next().unwrap()));
        }
        if page["next"].is_null() {
            return;
        }
    }
}

fn check(book: &Book, found: &[(String, u64, u64)]) {
    assert!(book.acknowledged.len() > 100, "only {} events were acknowledged", book.acknowledged.len());
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "ids go up, and none is given twice");
    let by_value: HashMap<u64, &str> = found.iter().map(|(id, _, value)| (*value, id.as_str())).collect();
    assert_eq!(by_value.len(), found.len(), "an event is there twice");
    for (value, id) in &book.acknowledged {
        assert_eq!(by_value.get(value), Some(&id.as_str()), "an acknowledged event is missing or has another id");
    }
    for (publisher, sent) in &book.sent {
        let kept: Vec<u64> = found.iter().filter(|(_, p, _)| p == publisher).map(|(_, _, value)| *value).collect();
        assert!(kept.is_sorted(), "the events of a publisher are out of order");
        let sent: HashSet<u64> = sent.iter().copied().collect();
        assert!(kept.iter().all(|value| sent.contains(value)), "an event is there that was never sent");
    }
}
