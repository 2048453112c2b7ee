//! Streams with one id that are opened at once, and ended for good meanwhile: one lives, or none, and nobody waits for ever.

use std::collections::HashMap;
use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};

use crate::harness::{Address, Hub, Listener, folder};

/// How a stream went on.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It heard the last event of all.
    Lives,
    /// It was told why it ends, and ended.
    Ended(String),
    /// It was refused: there is no more of it.
    Refused,
}

/// Longest that anything is waited for in a race.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a stream, tells when that has been answered, and says what became of it.
fn fate(hub: std::net::SocketAddr, query: &str, opened: &mpsc::Sender<()>) -> Fate {
    let mut listener = Listener::open(hub, query, None);
    if listener.head.status == 204 {
        opened.send(()).unwrap();
        return Fate::Refused;
    }
    let mut heard = listener.any().expect("something is said first");
    opened.send(()).unwrap();
    let since = Instant::now();
    loop {
        if heard.event == "fanfare.bye" {
            assert!(listener.any().is_none(), "a bye is the end");
            return Fate::Ended(heard.json()["reason"].as_str().unwrap().to_owned());
        }
        if heard.data == "last" {
            return Fate::Lives;
        }
        heard = listener.any().expect("a stream ends with a bye");
        assert!(since.elapsed() < 2 * PATIENCE, "it is not told that it ends");
    }
}

/// Opens streams at once while `meanwhile` is done, and says how it went for each of them once no more than one is left.
fn race(hub: &Hub, query: &str, openings: usize, meanwhile: impl Fn() -> u16) -> (Vec<Fate>, u16) {
    let begin = Barrier::new(openings + 1);
    let (is_open, opened) = mpsc::channel();
    let open = |is_open: mpsc::Sender<()>| {
        begin.wait();
        fate(hub.addr(), &format!("{query}&heartbeat=event"), &is_open)
    };
    let open = &open;
    std::thread::scope(|scope| {
        let fates: Vec<_> = (0..openings)
            .map(|_| {
                let is_open = is_open.clone();
                scope.spawn(move || open(is_open))
            })
            .collect();
        begin.wait();
        let status = meanwhile();
        (0..openings).for_each(|_| opened.recv_timeout(PATIENCE).expect("it is answered"));
        let since = Instant::now();
        while hub.post("/channels/a", "first").json()["streams"].as_u64().unwrap() > u64::from(status != 204) {
            assert!(since.elapsed() < PATIENCE, "too many are left");
        }
        hub.publish("a", "last");
        (fates.into_iter().map(|fate| fate.join().unwrap()).collect(), status)
    })
}

#[test]
fn of_streams_that_are_opened_at_once_with_one_id_one_lives() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    for round in 0..150 {
        let query = format!("channel=a&stream={round:032x}");
        let (fates, _) = race(&hub, &query, 2 + round % 2, || 0);
        let living = fates.iter().filter(|fate| **fate == Fate::Lives).count();
        let replaced = fates.iter().filter(|fate| **fate == Fate::Ended("replaced".into())).count();
        assert_eq!((living, replaced), (1, fates.len() - 1), "round {round}: {fates:?}");
    }
}

#[test]
fn a_stream_that_is_ended_for_good_while_it_is_opened_has_ended() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut seen: HashMap<String, usize> = HashMap::new();
    for round in 0..150 {
        let id = format!("{round:032x}");
        let query = format!("channel=a&stream={id}");
        // One that nobody knows yet, one that is remembered, one that is open.
        let before = (round % 3 > 0).then(|| hub.live(&query)).filter(|_| round % 3 > 1);
        let (fates, status) = race(&hub, &query, 1 + round % 2, || {
            std::thread::sleep(Duration::from_micros((round as u64 * 7_919) % 3_000));
            hub.request("DELETE", &format!("/streams/{id}"), &[], b"").status
        });
        for fate in &fates {
            *seen.entry(format!("{fate:?}")).or_default() += 1;
        }
        let living = fates.iter().filter(|fate| **fate == Fate::Lives).count();
        match status {
            204 => {
                assert_eq!(living, 0, "round {round}: {fates:?}");
                assert_eq!(hub.get(&format!("/events?{query}")).status, 204);
            }
            // It came too early.
            404 => assert!(round % 3 == 0 && living == 1, "round {round}: {fates:?}"),
            other => panic!("{other}"),
        }
        if let Some(mut before) = before {
            let reason = before.named("fanfare.bye").json()["reason"].clone();
            assert!(["replaced", "deleted"].contains(&reason.as_str().unwrap()), "{reason}");
            assert!(before.any().is_none());
        }
    }
    eprintln!("{seen:?}");
    assert!(
        seen.contains_key("Refused") && seen.contains_key("Ended(\"deleted\")"),
        "it was before and after: {seen:?}"
    );
}
