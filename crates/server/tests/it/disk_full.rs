//! A disk that runs full under the real binary: publishing is refused before anything breaks, all else goes on, and what
//! was acknowledged is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Address, Hub, folder};

const MIB: usize = 1024 * 1024;

/// Size of the whole disk. The default reserve is 64 MiB of it.
const DISK_MIB: usize = 192;

/// Size of an event's data.
const EVENT_BYTES: usize = 32 * 1024;

const PUBLISHERS: usize = 4;

/// A small disk of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Mounts it; `None` where that isn't allowed.
    fn mount() -> Option<Self> {
        let folder = folder();
        let size = format!("size={DISK_MIB}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        mount.is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still hold a file open.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// What became of each event, by its number.
#[derive(Default)]
struct Book {
    acknowledged: BTreeMap<u64, String>,
    refused: BTreeSet<u64>,
}

/// Data that starts with a number and can't be compressed.
fn data(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = format!("{number} ");
    while data.len() < EVENT_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.push(char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(state >> 58) as usize],
        ));
    }
    data
}

/// Whose event that is.
fn publisher_of(number: u64) -> usize {
    number as usize % PUBLISHERS
}

/// Publishes from all sides until `enough`, which is asked after each answer.
fn publish_until(hub: &Hub, next: &[AtomicU64], book: &Mutex<Book>, enough: impl Fn(&Book) -> bool + Sync) {
    std::thread::scope(|scope| {
        for (publisher, next) in next.iter().enumerate() {
            let enough = &enough;
            scope.spawn(move || {
                let mut connection = hub.connect();
                let path = format!("/channels/full:{publisher}");
                loop {
                    let number = next.fetch_add(PUBLISHERS as u64, Ordering::Relaxed);
                    let answer = connection.request("POST", &path, &[], data(number).as_bytes()).unwrap();
                    let mut book = book.lock().unwrap();
                    match answer.status {
                        200 => {
                            let id = answer.json()["id"].as_str().unwrap().to_owned();
                            book.acknowledged.insert(number, id);
                        }
                        507 => {
                            assert_eq!(answer.json()["code"], "disk_full");
                            assert!(answer.header("retry-after").is_some());
                            book.refused.insert(number);
                        }
                        other => panic!("{other}: {}", answer.text()),
                    }
                    if enough(&book) {
                        return;
                    }
                }
            });
        }
    });
}

/// All that the hub has: id by number.
fn read_all(hub: &Hub) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for publisher in 0..PUBLISHERS {
        let mut connection = hub.connect();
        let mut since = "start".to_owned();
        loop {
            let path = format!("/channels/full:{publisher}/history?since={since}&limit=1000");
            let page = connection.request("GET", &path, &[], b"").unwrap().json();
            assert!(page["gap"].is_null());
            for event in page["events"].as_array().unwrap() {
                let text = event["data"].as_str().unwrap();
                let number: u64 = text.split(' ').next().unwrap().parse().unwrap();
                assert_eq!(text, data(number), "the data is whole");
                assert!(found.insert(number, event["id"].as_str().unwrap().to_owned()).is_none(), "it is there twice");
            }
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut since),
                None => break,
            }
        }
    }
    found
}

#[test]
fn a_full_disk_refuses_events_before_it_hurts_and_takes_them_again_when_there_is_room() {
    let Some(disk) = Disk::mount() else {
        eprintln!("SKIPPED: a small disk can't be mounted here; it takes root and `mount -t tmpfs`");
        return;
    };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 96 * MIB]).unwrap();
    let hub = Hub::start(&disk.path().join("data"));
    let next: [AtomicU64; PUBLISHERS] = std::array::from_fn(|publisher| AtomicU64::new(publisher as u64));
    let book = Mutex::new(Book::default());
    let mut listener = hub.live("channel=full:0");

    publish_until(&hub, &next, &book, |book| book.refused.len() > 100);
    let first = book.lock().unwrap().acknowledged.len();
    assert!(first * EVENT_BYTES > 10 * MIB, "only {first} events were taken");
    let stats = hub.get("/stats").json();
    assert_eq!(stats["disk_full"], true, "{stats}");
    assert!(stats["refused"]["disk_full"].as_u64() > Some(100) && stats["refused"]["outcome_unknown"] == 0, "{stats}");
    // The store lives off the reserve, and leaves most of it.
    assert!(stats["disk_free_bytes"].as_u64() > stats["disk_reserve_bytes"].as_u64().map(|bytes| bytes / 2), "{stats}");
    assert_eq!(hub.get("/health/ready").json()["checks"]["disk"], "the disk is full; durable events are refused");
    assert_eq!(read_all(&hub), book.lock().unwrap().acknowledged, "reading goes on");
    hub.listen("channel=full:1&since=last:1").next();

    std::fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    let taken = || hub.post("/channels/elsewhere", "again").status == 200;
    while !taken() {
        assert!(freed.elapsed() < Duration::from_secs(5), "publishing does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let enough = first + 200;
    publish_until(&hub, &next, &book, |book| book.acknowledged.len() >= enough);
    let acknowledged = book.into_inner().unwrap().acknowledged;
    // The stream that was open all the time has everything of its channel, in order, and nothing else.
    let mut expected: Vec<(&String, u64)> =
        acknowledged.iter().filter(|(number, _)| publisher_of(**number) == 0).map(|(n, id)| (id, *n)).collect();
    expected.sort();
    for (id, number) in expected {
        let heard = listener.next();
        assert_eq!((&heard.id, heard.data.split(' ').next().unwrap()), (id, number.to_string().as_str()));
    }
    assert_eq!(read_all(&hub), acknowledged);
    drop(hub);
    let hub = Hub::start(&disk.path().join("data"));
    assert_eq!(read_all(&hub), acknowledged, "and after a crash");
}
