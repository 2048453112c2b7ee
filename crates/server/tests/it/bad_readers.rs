//! Readers that take next to nothing, or nothing at all, and crowds that speak slowly on purpose, against the real binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Address, Hub, folder};

/// Longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// By when a reader must have been ended whose time is 3 s, on a machine that has other things to do.
const LATEST: Duration = Duration::from_secs(10);

/// What the hub says it has ended for such a reason.
fn closed(hub: &Hub, reason: &str) -> u64 {
    hub.get("/stats").json()["streams_closed"][reason].as_u64().unwrap_or_else(|| panic!("{reason} is counted"))
}

/// A hub with a channel that holds more than both sides' kernels hold for a connection.
fn start(data: &Path, settings: &[&str]) -> Hub {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let hub = Hub::start_with(data, &["--listen", "127.0.0.1:0"].into_iter().chain(settings).collect::<Vec<_>>());
    for _ in 0..16 {
        hub.publish("a", &"x".repeat(1 << 20));
    }
    hub
}

/// Opens a stream of all that the channel has.
fn open(hub: &Hub) -> TcpStream {
    let mut socket = TcpStream::connect(hub.addr()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET /events?channel=a&since=start HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    socket
}

#[test]
fn a_reader_at_a_kilobyte_a_second_is_ended_as_slow() {
    let folder = folder();
    let hub = start(folder.path(), &["streams.slow_max=3s"]);
    let began = Instant::now();
    let mut socket = open(&hub);
    let mut bytes = [0; 512];
    while closed(&hub, "slow") == 0 {
        assert!(began.elapsed() < LATEST, "it goes on");
        socket.read_exact(&mut bytes).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("ended after {:?}", began.elapsed());
    assert_eq!((closed(&hub, "stalled"), closed(&hub, "left")), (0, 0));
}

#[test]
fn a_reader_that_takes_nothing_is_ended_as_stalled() {
    let folder = folder();
    let hub = start(folder.path(), &["streams.stall_max=3s"]);
    let began = Instant::now();
    let _socket = open(&hub);
    while closed(&hub, "stalled") == 0 {
        assert!(began.elapsed() < LATEST, "it goes on");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("ended after {:?}", began.elapsed());
    assert_eq!((closed(&hub, "slow"), closed(&hub, "left")), (0, 0));
}

/// Three crowds of slow clients at a time: heads, bodies and reading, all a few bytes at a time.
#[test]
fn crowds_that_speak_and_read_slowly_on_purpose_hold_nobody_up() {
    const SECONDS: &str = "10";
    if Command::new("slowhttptest").arg("-h").output().is_err() {
        println!("skipped: slowhttptest (a Debian package) is not installed");
        return;
    }
    let folder = folder();
    let hub = Hub::start(folder.path());
    for _ in 0..64 {
        hub.publish("a", &"x".repeat(64 << 10));
    }
    let url = format!("http://127.0.0.1:{}", hub.addr().port());
    let crowd = |mode: &[&str], path: &str| {
        let url = format!("{url}{path}");
        let usual = ["-c", "300", "-r", "150", "-l", SECONDS, "-p", "5", "-v", "0", "-u", &url];
        let mut command = Command::new("slowhttptest");
        Crowd(command.args(mode).args(usual).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut crowds = [
        crowd(&["-H", "-i", "2"], "/events?channel=a"),
        crowd(&["-B", "-i", "2", "-s", "8192"], "/channels/a"),
        crowd(&["-X", "-n", "1", "-w", "256", "-y", "512", "-z", "32", "-k", "1"], "/events?channel=a&since=start"),
    ];
    let mut listener = hub.listen("channel=b");
    let (mut probes, mut slowest) = (0, Duration::ZERO);
    while crowds.iter_mut().any(|crowd| crowd.0.try_wait().unwrap().is_none()) {
        let began = Instant::now();
        let id = hub.publish("b", "probe");
        assert_eq!(listener.next().id, id);
        slowest = slowest.max(began.elapsed());
        probes += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let connections = hub.get("/stats").json()["connections"].clone();
    println!("{probes} probes answered, the slowest in {slowest:?}; {connections}");
    assert!(connections["accepted"].as_u64().unwrap() >= 600, "the crowds came: {connections}");
}

/// A crowd that is gone when the test is.
struct Crowd(Child);

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
