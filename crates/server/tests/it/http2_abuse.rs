//! What a client can do with bare HTTP/2 frames that no browser sends. After each attack, and while it lasts, the server
//! answers others, and it holds no more memory than a bound.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Address, Hub, folder};

/// What a flood may make the server take at any moment: less than what is sent, and far less than what its parts would cost
/// if each were kept.
const FLOOD_BYTES_MAX: u64 = 16 << 20;

/// Streams that are open at a time on one connection.
const STREAMS_MAX: u64 = 128;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A request's headers, each as a literal that is not indexed (RFC 7541, section 6.2.2).
fn headers(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")] {
        for text in [name, value] {
            if text == name {
                block.push(0);
            }
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A client without manners. It reads nothing unless it says so.
struct Attacker(TcpStream);

impl Attacker {
    /// Connects, and says how large its windows are.
    fn connect(hub: &Hub, window: u32) -> Self {
        let mut socket = TcpStream::connect(hub.addr()).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        socket.write_all(&frame(SETTINGS, 0, 0, &settings)).unwrap();
        Self(socket)
    }

    /// Sends the same bytes so many times, unless the server closes the connection or takes no more of it.
    fn flood(&mut self, times: usize, bytes: impl Fn(usize) -> Vec<u8>) -> usize {
        let mut batch = Vec::new();
        for n in 0..times {
            batch.extend(bytes(n));
            if batch.len() > 1 << 16 || n + 1 == times {
                if self.0.write_all(&batch).is_err() {
                    return n;
                }
                batch.clear();
            }
        }
        times
    }

    /// Whether the server has ended the connection, whatever it said before.
    fn is_cut(&mut self) -> bool {
        let mut chunk = [0; 1 << 14];
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// A hub under attack, with a listener that must not notice.
fn attacked(bytes_max: u64, attack: impl FnOnce(&Hub)) -> serde_json::Value {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut innocent = hub.live("channel=innocent");
    hub.publish("innocent", "before");
    assert_eq!(innocent.next().data, "before");
    let before = hub.memory_bytes("VmRSS");
    attack(&hub);
    let taken = hub.memory_bytes("VmHWM").saturating_sub(before);
    assert!(taken < bytes_max, "it took {} MiB more than before", taken >> 20);
    hub.publish("innocent", "after");
    while innocent.next().data != "after" {}
    hub.get("/stats").json()
}

#[test]
fn streams_that_are_opened_and_reset_at_once_cost_no_more_than_their_bytes() {
    attacked(FLOOD_BYTES_MAX, |hub| {
        let mut attacker = Attacker::connect(hub, 65_535);
        let block = headers("GET", "/events?channel=a");
        attacker.flood(50_000, |n| {
            let stream = 2 * n as u32 + 1;
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            bytes
        });
        hub.publish("innocent", "meanwhile");
    });
}

#[test]
fn headers_that_never_end_end_the_connection() {
    let stats = attacked(FLOOD_BYTES_MAX, |hub| {
        let mut attacker = Attacker::connect(hub, 65_535);
        let first = frame(HEADERS, END_STREAM, 1, &headers("GET", "/"));
        attacker.0.write_all(&first).unwrap();
        attacker.flood(10_000, |_| frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(3_000)));
        assert!(attacker.is_cut(), "a request's head has a limit");
    });
    assert_eq!(stats["connections"]["http2_broken"], 1, "{stats}");
}

#[test]
fn empty_frames_pile_up_nowhere() {
    attacked(FLOOD_BYTES_MAX, |hub| {
        // The first waits for its body, the second has no use for one.
        for (method, path) in [("POST", "/channels/a"), ("GET", "/events?channel=a")] {
            let mut attacker = Attacker::connect(hub, 65_535);
            attacker.0.write_all(&frame(HEADERS, END_HEADERS, 1, &headers(method, path))).unwrap();
            attacker.flood(300_000, |_| frame(DATA, 0, 1, &[]));
            hub.publish("innocent", "meanwhile");
        }
    });
}

#[test]
fn settings_and_pings_that_are_not_read_pile_up_nowhere() {
    attacked(FLOOD_BYTES_MAX, |hub| {
        for kind in [SETTINGS, PING] {
            let mut attacker = Attacker::connect(hub, 65_535);
            attacker.flood(
                300_000,
                |_| {
                    if kind == PING { frame(PING, 0, 0, &[7; 8]) } else { frame(SETTINGS, 0, 0, &[]) }
                },
            );
            hub.publish("innocent", "meanwhile");
        }
    });
}

#[test]
fn readers_that_never_open_their_window_hold_no_more_than_their_mailboxes() {
    const CONNECTIONS: u64 = 15;
    // Its mailbox of 16 KiB, what HTTP/2 holds for it, and pages of history, of which there are 64 MiB for all.
    const BYTES_MAX: u64 = CONNECTIONS * STREAMS_MAX * 50_000 + (32 << 20);
    attacked(BYTES_MAX, |hub| {
        let filler = "x".repeat(100_000);
        for _ in 0..20 {
            hub.publish("big", &filler);
        }
        let mut attackers: Vec<_> = (0..CONNECTIONS).map(|_| Attacker::connect(hub, 0)).collect();
        for attacker in &mut attackers {
            let block = headers("GET", "/events?channel=big&since=start");
            attacker
                .flood(STREAMS_MAX as usize, |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n as u32 + 1, &block));
        }
        let all = |stats: &serde_json::Value| stats["streams"] == CONNECTIONS * STREAMS_MAX + 1;
        let opened = (0..2_000).any(|_| all(&hub.get("/stats").json()));
        assert!(opened, "all streams are open: {}", hub.get("/stats").json());
        for _ in 0..20 {
            hub.publish("big", &filler);
        }
    });
}

#[test]
fn more_streams_than_allowed_are_refused() {
    attacked(FLOOD_BYTES_MAX, |hub| {
        let mut attacker = Attacker::connect(hub, 65_535);
        let block = headers("GET", "/events?channel=a");
        attacker.flood(10_000, |n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n as u32 + 1, &block));
        assert!(attacker.is_cut(), "who doesn't mind the limit is sent away");
    });
}
