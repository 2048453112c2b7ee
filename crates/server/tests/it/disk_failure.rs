//! A disk that refuses writes and takes them again: publishers go on by themselves, streams stay open, nothing is lost.
//! The real binary on the real store; `prlimit` takes its right to write files away and gives it back.

#![cfg(target_os = "linux")]

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Address, Hub, Listener, binary, folder};
use crate::http::Connection;
use crate::publishers::{Publishers, Values};

const ROUNDS: u64 = 4;

/// What became of what was published.
#[derive(Default)]
struct Book {
    /// Value → id.
    acknowledged: HashMap<u64, String>,
    /// Values that were refused before anything was written.
    refused: HashSet<u64>,
    /// Values of which nobody knows.
    unknown: HashSet<u64>,
}

/// How long the longest file may be that the hub writes.
fn limit_files(hub: &Hub, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args(["--pid", &hub.pid().to_string(), &limit]).status().unwrap();
    assert!(status.success(), "prlimit fails");
}

/// Whether there is `prlimit`, and whether this hub may be limited by it.
fn can_limit(hub: &Hub) -> bool {
    let args = ["--pid", &hub.pid().to_string(), "--fsize=unlimited:unlimited"];
    Command::new("prlimit").args(args).status().is_ok_and(|status| status.success())
}

#[test]
fn a_disk_that_refuses_writes_for_a_while_costs_nothing_that_was_acknowledged_and_no_stream() {
    let folder = folder();
    // Without a signal, so that a write over the limit is an error like any other.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(binary());
    let mut hub = Hub::start_by(command, folder.path());
    if !can_limit(&hub) {
        eprintln!("skipped: the limit of file sizes can't be changed here");
        return;
    }
    let live = hub.live("channel=disk&heartbeat=comment");
    let read_on = |mut listener: Listener| std::thread::spawn(move || read_to_end(&mut listener));
    let live = read_on(live);
    let book = Arc::new(Mutex::new(Book::default()));
    let publishers = Publishers::start(&hub, &Arc::default(), {
        let book = book.clone();
        move |publisher, connection, values| publish(publisher, connection, values, &book)
    });
    let mut late = Vec::new();
    for round in 0..ROUNDS {
        until(|| book.lock().unwrap().acknowledged.len() as u64 > 40 * (round + 1));
        let before = hub.get("/stats").json()["store_reopenings"].as_u64().unwrap();
        limit_files(&hub, "1");
        until(|| hub.get("/health/ready").status == 503);
        let why = hub.get("/health/ready").text().to_owned();
        assert!(why.contains("being reopened"), "{why}");
        // What is kept can be read all the while, and a stream can begin.
        assert_eq!(hub.get("/channels/disk/history?limit=5").status, 200);
        late.push(read_on(hub.listen("channel=disk&since=start")));
        limit_files(&hub, "unlimited");
        until(|| hub.get("/stats").json()["store_reopenings"].as_u64().unwrap() > before);
        until(|| hub.get("/health/ready").status == 200);
    }
    let count = book.lock().unwrap().acknowledged.len();
    until(|| book.lock().unwrap().acknowledged.len() > count + 40);
    publishers.stop();
    hub.publish("disk", "end");
    let book = book.lock().unwrap();
    assert!(!book.refused.is_empty() && !book.unknown.is_empty(), "the disk refused nothing");
    let heard = live.join().unwrap();
    check(&book, &heard);
    // Ids of a backfill are its own.
    let same = |other: Vec<(String, String)>| other.iter().map(|(_, text)| text).eq(heard.iter().map(|(_, text)| text));
    for late in late {
        assert!(same(late.join().unwrap()), "a stream that began meanwhile got something else");
    }
    hub.kill9();
    let hub = Hub::start(folder.path());
    let again = read_to_end(&mut hub.listen("channel=disk&since=start"));
    assert!(same(again), "after a restart it is something else");
}

/// Publishes until it is told to stop. Those with even numbers repeat what they don't know of, with its key. One has events
/// so large that a failed write of them leaves a part behind; small ones the storage engine writes when it is dropped.
fn publish(publisher: u64, mut hub: Connection, values: Values, book: &Mutex<Book>) {
    for value in values {
        let padding = if publisher == 3 { noise(value, 20_000) } else { String::new() };
        let (body, key) = (format!("{publisher} {value} {padding}"), value.to_string());
        loop {
            let headers: &[(&str, &str)] = if publisher.is_multiple_of(2) { &[("Idempotency-Key", &key)] } else { &[] };
            let answer = hub.request("POST", "/channels/disk", headers, body.as_bytes()).unwrap();
            if answer.status == 200 {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                book.lock().unwrap().acknowledged.insert(value, id);
                break;
            }
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")), "{}", answer.text());
            let mut book = book.lock().unwrap();
            let problem = answer.json();
            let new = match problem["code"].as_str().unwrap() {
                "outcome_unknown" => book.unknown.insert(value),
                "store_reopening" => book.refused.insert(value),
                code => panic!("{code}"),
            };
            drop(book);
            if headers.is_empty() {
                assert!(new);
                break;
            }
            // As soon as it may work again, rather than after two seconds.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Letters that can't be compressed.
fn noise(seed: u64, length: usize) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..length).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
}

/// Ids and values of all events up to the last one.
fn read_to_end(listener: &mut Listener) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    loop {
        let event = listener.any().expect("the stream is open");
        assert!(event.event != "fanfare.gap" && event.event != "fanfare.bye", "{event:?}");
        match event.data.as_str() {
            "end" => return heard,
            _ if event.event.starts_with("fanfare.") => {}
            _ => heard.push((event.id, event.data)),
        }
    }
}

fn check(book: &Book, heard: &[(String, String)]) {
    assert!(heard.windows(2).all(|pair| pair[0].0 < pair[1].0), "ids go up, and none is given twice");
    let mut by_value = HashMap::new();
    let mut last = HashMap::new();
    for (id, text) in heard {
        let mut words = text.split(' ');
        let (publisher, value) = (words.next().unwrap(), words.next().unwrap().parse::<u64>().unwrap());
        assert!(by_value.insert(value, id).is_none(), "{value} came twice");
        assert!(last.insert(publisher, value) < Some(value), "the events of a publisher are out of order");
        let is_known = book.acknowledged.contains_key(&value) || book.unknown.contains(&value);
        assert!(is_known, "{value} came though it was refused");
    }
    let found = book.unknown.iter().filter(|value| by_value.contains_key(value)).count();
    let (acknowledged, unknown, refused) = (book.acknowledged.len(), book.unknown.len(), book.refused.len());
    eprintln!("{acknowledged} acknowledged, {unknown} unknown, of which {found} are kept, {refused} refused");
    for (value, id) in &book.acknowledged {
        assert_eq!(by_value.get(value), Some(&id), "{value} was acknowledged and is lost or elsewhere");
    }
}

/// Waits for something that must come to be.
fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came to be");
}
