//! Streams that have their connection's socket for themselves: what comes before them on the connection, what the client
//! sends behind the request, and readers that are slow or leave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use fanfare_wire::{Decoder, Item};

use crate::harness::{Address, Hub, folder};

/// A socket on which nobody waits for ever.
fn connect(hub: &Hub) -> TcpStream {
    let socket = TcpStream::connect(hub.addr()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// Reads until `text` has come; gives all that was read.
fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&read).contains(text) {
        let count = socket.read(&mut chunk).expect("something comes in time");
        assert!(count > 0, "it ended with {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(read).unwrap()
}

/// Waits until the hub's figures say something.
fn wait_for(hub: &Hub, what: &str, said: impl Fn(&serde_json::Value) -> bool) {
    let began = Instant::now();
    loop {
        let stats = hub.get("/stats").json();
        if said(&stats) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what} never came: {stats}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn answers_to_what_was_asked_before_on_the_same_connection_come_whole_and_first() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut socket = connect(&hub);
    // All in one piece: the server may not even have answered the first when it reads the last.
    let mut requests = String::new();
    for n in 0..20 {
        requests += "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n";
        requests += &[n / 10, n % 10].map(|digit: u32| digit.to_string()).concat();
    }
    requests += "GET /channels HTTP/1.1\r\nHost: localhost\r\n\r\n";
    requests += "GET /events?channel=a&since=start HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(requests.as_bytes()).unwrap();
    let read = read_until(&mut socket, "data: 19\n\n");
    assert_eq!(read.matches("HTTP/1.1 200 OK\r\n").count(), 22, "{read}");
    assert_eq!(read.matches("\"durability\":\"durable\"").count(), 20);
    let (answers, stream) = read.split_once("content-type: text/event-stream").unwrap();
    assert!(answers.contains("\"channels\"") && !answers.contains("data: "), "{answers}");
    assert!(stream.contains("connection: close\r\n") && !stream.contains("HTTP/1.1"), "{stream}");
    for n in 0..20 {
        assert_eq!(stream.matches(&format!("data: {n:02}\n\n")).count(), 1, "{stream}");
    }
}

#[test]
fn a_client_that_goes_on_talking_is_ignored_for_a_while_and_then_closed() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut socket = connect(&hub);
    socket.write_all(b"GET /events?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_until(&mut socket, "fanfare.hello");
    socket.write_all(&[b'x'; 10_000]).unwrap();
    hub.publish("a", "still here");
    read_until(&mut socket, "data: still here\n\n");
    // The server may close in the middle of it.
    let _ = socket.write_all(&vec![b'x'; 200_000]);
    wait_for(&hub, "the end of the noisy client", |stats| stats["streams_closed"]["noisy"] == 1);
    wait_for(&hub, "an empty hub", |stats| stats["streams"] == 0);
}

#[test]
fn a_client_that_leaves_or_half_leaves_is_noticed_at_once() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut socket = connect(&hub);
        socket.write_all(b"GET /events?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        read_until(&mut socket, "fanfare.hello");
        open.push(socket);
    }
    wait_for(&hub, "all streams", |stats| stats["streams"] == 40);
    for socket in open.drain(20..) {
        socket.shutdown(Shutdown::Write).unwrap();
    }
    wait_for(&hub, "the end of half of them", |stats| stats["streams"] == 20);
    drop(open);
    wait_for(&hub, "the end of all", |stats| stats["streams"] == 0 && stats["streams_closed"]["left"] == 40);
    assert_eq!(hub.post("/channels/a", "x").json()["streams"], 0);
}

#[test]
fn a_reader_that_pauses_gets_all_of_it_once_and_in_order_from_wherever_it_was_cut() {
    const EVENTS: usize = 600;
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut slow = connect(&hub);
    slow.write_all(b"GET /events?channel=big&channel=other HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut read = read_until(&mut slow, "fanfare.hello\n").into_bytes();
    // 30 MB, more than the kernel takes for one socket.
    let filler = "x".repeat(50_000);
    for n in 0..EVENTS {
        hub.publish(if n % 7 == 0 { "other" } else { "big" }, &format!("{n}:{filler}"));
    }
    wait_for(&hub, "a stream that is behind", |stats| stats["fell_behind"].as_u64().unwrap() > 0);
    let body = read.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let mut decoder = Decoder::new();
    decoder.push(&read.split_off(body));
    let mut next = 0;
    let mut chunk = vec![0; 300_000];
    while next < EVENTS {
        for item in decoder.by_ref() {
            if let Item::Event(event) = item.unwrap()
                && !event.event.starts_with("fanfare.")
            {
                let (number, rest) = event.data.split_once(':').unwrap();
                assert_eq!((number.parse(), rest.len()), (Ok(next), filler.len()));
                next += 1;
            }
        }
        if next < EVENTS {
            let count = slow.read(&mut chunk).expect("the rest comes in time");
            assert!(count > 0, "it ended after {next} events");
            decoder.push(&chunk[..count]);
        }
    }
    assert_eq!(hub.get("/stats").json()["streams_closed"]["stalled"], 0);
}

#[test]
fn pages_of_history_that_nobody_takes_are_bounded_together() {
    const STREAMS: u64 = 600;
    let folder = folder();
    let hub = Hub::start(folder.path());
    let line = format!("{{\"channel\":\"a\",\"data\":\"{}\"}}\n", "x".repeat(4_000));
    let answer =
        hub.request("POST", "/publish", &[("Content-Type", "application/x-ndjson")], line.repeat(800).as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut open = Vec::new();
    for n in 0..STREAMS {
        let mut socket = connect(&hub);
        // Some begin with all of it, some with the last of it, which is one page.
        let since = if n % 2 == 0 { "start" } else { "last:60" };
        let request = format!("GET /events?channel=a&since={since} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        open.push(socket);
    }
    wait_for(&hub, "a page for each", |stats| {
        let held = stats["page_bytes"].as_u64().unwrap();
        assert!(held < 68 << 20, "{held} bytes of pages");
        stats["streams"] == STREAMS && stats["pages_read"].as_u64().unwrap() >= STREAMS
    });
    // Whoever reads after all gets all of it: the hello and every event.
    let (mut bytes, mut chunk) = (0, vec![0; 100_000]);
    while bytes < 800 * 4_000 {
        let count = open[0].read(&mut chunk).expect("the rest comes in time");
        assert!(count > 0, "it ended after {bytes} bytes");
        bytes += count;
    }
}
