//! The real binary under a clock that jumps by an hour, ahead and back, as a machine's does that finds its time server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{Address, Hub, binary, folder};

/// What steps the clock (Debian's package `faketime`), where it is installed.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// A stream's bytes as they come.
struct Raw {
    socket: TcpStream,
    read: String,
}

impl Raw {
    /// Reads until `text` has come, and then on for so long.
    fn read_until(&mut self, text: &str, and_on: Duration) {
        let mut until = None;
        let mut bytes = [0; 4096];
        while until.is_none_or(|until| Instant::now() < until) {
            match self.socket.read(&mut bytes) {
                Ok(0) => panic!("the stream ended: {}", self.read),
                Ok(count) => self.read.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
                // Nothing for a moment.
                Err(_) => {}
            }
            if until.is_none() && self.read.contains(text) {
                until = Some(Instant::now() + and_on);
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_by_an_hour_ends_no_stream_hurries_no_heartbeat_and_turns_no_id_back() {
    let Some(library) = library() else {
        println!("skipped: libfaketime (Debian's package faketime) is not installed");
        return;
    };
    let folder = folder();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let mut command = Command::new("env");
    // The steady clock stays as it is, as the kernel's does.
    command.args(["FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_NO_CACHE=1"]);
    command.arg(format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()));
    command.arg(format!("LD_PRELOAD={}", library.display())).arg(binary());
    let hub = Hub::start_by(command, &folder.path().join("data"));
    let socket = TcpStream::connect(hub.addr()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut stream = Raw { socket, read: String::new() };
    let request = "GET /events?channel=a&heartbeat=event HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.socket.write_all(request.as_bytes()).unwrap();
    stream.read_until("fanfare.hello", Duration::ZERO);
    let (began, mut last) = (Instant::now(), String::new());
    for (number, hours) in [0, 1, 0, -1, 1].into_iter().enumerate() {
        // Replaced as a whole, so that nobody reads half of it.
        let next = folder.path().join("next");
        std::fs::write(&next, format!("{:+}\n", hours * 3_600)).unwrap();
        std::fs::rename(&next, &clock).unwrap();
        let answer = hub.post("/channels/a", format!("event {number}"));
        // Once is enough to know that the step is real: hyper doesn't turn its date back.
        if number == 1 {
            let says = httpdate::parse_http_date(answer.header("date").unwrap()).unwrap();
            assert!(says > SystemTime::now() + Duration::from_mins(59), "the clock was stepped: {says:?}");
        }
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert!(id > last, "{id} comes after {last}");
        last = id;
        stream.read_until(&format!("data: event {number}"), Duration::from_secs(1));
    }
    let pings = stream.read.matches("fanfare.ping").count() as u64;
    assert!(pings <= 1 + began.elapsed().as_secs() / 14, "{pings} heartbeats in {:?}", began.elapsed());
    assert!(!stream.read.contains("fanfare.bye") && !stream.read.contains("fanfare.gap"), "{}", stream.read);
}
