//! State channels over the real server: whoever joins, whenever and however slowly it reads, ends with the last values;
//! and who reads slowly is spared those that have later ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::harness::{Address, Hub, Listener, folder};
use crate::http::Connection;

type Values = BTreeMap<String, u64>;

const KEYS: u64 = 1_000;

/// How often a slow client pauses, each time after so many events, and for how many changes. 2,000 come in a second.
const PAUSES: usize = 3;
const EVENTS_BETWEEN: usize = 100;
const CHANGES_MISSED: u64 = 2_000;

/// Longest that it pauses: less than the hub waits for readers that take nothing.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What clients and the publisher know of each other.
#[derive(Default)]
struct Progress {
    /// Changes that were published.
    changes: AtomicU64,
    /// Clients that have joined and won't pause again.
    ready: AtomicUsize,
    /// Whether there were changes enough.
    is_over: AtomicBool,
}

/// What one of many clients does.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// When it joins.
    delay: Duration,
    /// Whether it reads the values first and follows from there, or is sent them.
    has_snapshot: bool,
    /// Whether its system takes next to nothing for it, and it pauses again and again.
    is_slow: bool,
}

impl Client {
    /// They come in pairs of the same kind that join together. Of every fifth pair the first is slow.
    fn new(number: u64) -> Self {
        let pair = number / 2;
        let span_ms = if pair.is_multiple_of(5) { 300 } else { 2_000 };
        Self {
            delay: Duration::from_millis(pair * 7_919 % span_ms),
            has_snapshot: pair.is_multiple_of(2),
            is_slow: number.is_multiple_of(10),
        }
    }

    /// Joins, and listens until the last value of all. Gives the values and how many events came.
    fn listen(self, hub: &Hub, progress: &Progress) -> (Values, usize) {
        std::thread::sleep(self.delay);
        let (mut values, query) = if self.has_snapshot {
            let (values, cursor) = snapshot(hub);
            (values, format!("channel=prices&as=json&since={cursor}"))
        } else {
            (Values::new(), "channel=prices&as=json".to_owned())
        };
        let connection =
            if self.is_slow { Connection::narrow(hub.addr(), 4 << 10) } else { Connection::open(hub.addr()) };
        let mut listener = Listener::on(connection.unwrap(), &query, None).unwrap();
        let (mut events, last_pause) = (0, if self.is_slow { PAUSES * EVENTS_BETWEEN } else { 0 });
        loop {
            if events <= last_pause && events % EVENTS_BETWEEN == 0 {
                if events > 0 {
                    progress.pause();
                }
                if events == last_pause {
                    progress.ready.fetch_add(1, Ordering::AcqRel);
                }
            }
            let (key, number) = next_value(&mut listener);
            if key == "end" {
                return (values, events);
            }
            events += 1;
            let before = values.insert(key.clone(), number);
            assert!(before.is_none_or(|before| before <= number), "{key}: {number} came after {before:?}");
        }
    }
}

impl Progress {
    /// Takes nothing while many values change.
    fn pause(&self) {
        let (begun, changes) = (Instant::now(), self.changes.load(Ordering::Acquire) + CHANGES_MISSED);
        while self.changes.load(Ordering::Acquire) < changes && begun.elapsed() < PAUSE_MAX {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn next_value(listener: &mut Listener) -> (String, u64) {
    loop {
        let event = listener.any().expect("the stream goes on");
        match event.event.as_str() {
            "fanfare.hello" => {}
            "message" => {
                let value = event.json();
                return (value["key"].as_str().unwrap().to_owned(), value["data"].as_u64().unwrap());
            }
            other => panic!("{other}: {}", event.data),
        }
    }
}

/// What the channel lists, and where to follow from.
fn snapshot(hub: &Hub) -> (Values, String) {
    let cursor = hub.get("/channels/prices").json()["cursor"].as_str().unwrap().to_owned();
    let (mut values, mut after) = (Values::new(), String::new());
    loop {
        let page = hub.get(&format!("/channels/prices/keys?limit=1000&after={after}")).json();
        for value in page["values"].as_array().unwrap() {
            values.insert(value["key"].as_str().unwrap().to_owned(), value["data"].as_u64().unwrap());
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return (values, cursor),
        }
    }
}

/// Changes values, about 2,000 a second, until it is over. Gives the last ones.
fn publish(hub: &Hub, progress: &Progress) -> Values {
    let mut last = Values::new();
    let (begun, mut rounds, mut number) = (Instant::now(), 0, 0);
    while !progress.is_over.load(Ordering::Acquire) {
        let mut lines = String::new();
        for _ in 0..100 {
            number += 1;
            let key = format!("k{}", number * 7_919 % KEYS);
            writeln!(lines, "{{\"channel\":\"prices\",\"key\":\"{key}\",\"data\":{number}}}").unwrap();
            last.insert(key, number);
        }
        let sent = hub.request("POST", "/publish", &[("content-type", "application/x-ndjson")], lines.as_bytes());
        assert_eq!(sent.status, 200);
        progress.changes.store(number, Ordering::Release);
        rounds += 1;
        std::thread::sleep((begun + Duration::from_millis(50) * rounds).saturating_duration_since(Instant::now()));
    }
    assert_eq!(hub.post("/publish", r#"{"channel":"prices","key":"end","data":0}"#).status, 200);
    last
}

#[test]
fn everyone_who_joins_while_values_change_ends_with_the_last_of_them_and_the_slow_are_spared_others() {
    let clients: u64 = if std::env::var_os("FANFARE_LONG").is_some() { 500 } else { 60 };
    let folder = folder();
    let file = folder.path().join("hub.toml");
    // On a machine that is late with everything slow clients pause for long.
    let streams = "[streams]\nslow_max = \"10m\"\n";
    std::fs::write(&file, format!("{streams}[[rule]]\npattern = \"prices\"\noverflow = \"conflate\"\n")).unwrap();
    let data = folder.path().join("data");
    let hub = Hub::start_with(&data, &["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&hub, &progress));
        let (hub, progress) = (&hub, &progress);
        let listen = |number| scope.spawn(move || Client::new(number).listen(hub, progress));
        let clients: Vec<_> = (0..clients).map(listen).collect();
        // One that has finished has failed.
        while progress.ready.load(Ordering::Acquire) < clients.len()
            && !clients.iter().any(ScopedJoinHandle::is_finished)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        progress.is_over.store(true, Ordering::Release);
        let last = publisher.join().unwrap();
        let events: Vec<usize> = clients
            .into_iter()
            .map(|client| {
                let (values, events) = client.join().unwrap();
                assert_eq!(values.len(), last.len());
                assert!(values == last, "not the last values");
                events
            })
            .collect();
        for pair in events.chunks(10) {
            let (slow, fast) = (pair[0], pair[1]);
            eprintln!("{slow} events for a slow client, {fast} for the one that joined with it");
            assert!(slow * 10 < fast * 6, "a slow client got {slow} events, another {fast}");
        }
    });
}
