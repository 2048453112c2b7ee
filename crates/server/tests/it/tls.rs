//! TLS: HTTP/1.1 and HTTP/2 within it, files that are wrong, clients that speak something else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Address, Hub, binary, folder};
use crate::secure::{Http2, Pair};

const EVENTS: &str = "GET /events?channel=a HTTP/1.1\r\nHost: localhost\r\n";

/// Publishes over TLS.
fn publish(hub: &Hub, certificate: &Pair, data: &str) {
    let request = format!(
        "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{data}",
        data.len()
    );
    let answer = certificate.ask(hub.addr(), &request).unwrap().read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The server's figures, asked for over TLS.
fn stats(hub: &Hub, certificate: &Pair) -> serde_json::Value {
    let request = "GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = certificate.ask(hub.addr(), request).unwrap().read_to_end();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn streams_work_and_resume_over_tls() {
    let (data, files) = (folder(), folder());
    let certificate = Pair::make(files.path());
    let hub = Hub::start_with(data.path(), &certificate.arguments());
    let mut stream = certificate.ask(hub.addr(), &format!("{EVENTS}\r\n")).unwrap();
    let head = stream.read_until("event: fanfare.hello");
    assert!(head.contains("connection: close\r\n") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(stream.shown(), certificate.der);
    publish(&hub, &certificate, "one");
    let read = stream.read_until("data: one\n\n");
    // What the client says meanwhile means nothing.
    stream.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let id = read.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    publish(&hub, &certificate, "two");
    assert!(!stream.read_until("data: two\n\n").contains("<html"));
    let mut resumed = certificate.ask(hub.addr(), &format!("{EVENTS}Last-Event-ID: {id}\r\n\r\n")).unwrap();
    let read = resumed.read_until("data: two\n\n");
    assert!(read.contains("\"resumed\":true") && !read.contains("data: one"), "{read}");
}

#[test]
fn a_stream_over_tls_that_leaves_is_noticed_and_a_noisy_one_is_closed() {
    let (data, files) = (folder(), folder());
    let certificate = Pair::make(files.path());
    let hub = Hub::start_with(data.path(), &certificate.arguments());
    let open = || {
        let mut stream = certificate.ask(hub.addr(), &format!("{EVENTS}\r\n")).unwrap();
        stream.read_until("event: fanfare.hello");
        stream
    };
    let (leaving, mut noisy) = (open(), open());
    assert_eq!(stats(&hub, &certificate)["streams"], 2);
    drop(leaving);
    for _ in 0..5 {
        noisy.send(&"x".repeat(16 * 1024));
    }
    noisy.read_to_end();
    let gone = (0..2_000).any(|_| stats(&hub, &certificate)["streams"] == 0);
    assert!(gone, "both streams are gone");
}

#[test]
fn stopping_sends_streams_over_tls_away_in_order() {
    let (data, files) = (folder(), folder());
    let certificate = Pair::make(files.path());
    let mut hub = Hub::start_with(data.path(), &certificate.arguments());
    let mut stream = certificate.ask(hub.addr(), &format!("{EVENTS}\r\n")).unwrap();
    stream.read_until("event: fanfare.hello");
    hub.terminate();
    let read = stream.read_to_end();
    assert!(read.contains("event: fanfare.bye"), "{read}");
    assert!(hub.wait().success());
}

#[test]
fn who_speaks_plain_http_to_a_tls_port_is_told() {
    let (data, files) = (folder(), folder());
    let certificate = Pair::make(files.path());
    let hub = Hub::start_with(data.path(), &certificate.arguments());
    let mut socket = TcpStream::connect(hub.addr()).unwrap();
    // No more than the server reads, so that its answer is not lost in a reset.
    socket.write_all(b"G").unwrap();
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("needs https://"), "{answer}");
    assert_eq!(stats(&hub, &certificate)["connections"]["tls_failed"], 1);
}

#[test]
fn the_command_line_publishes_and_subscribes_over_tls() {
    let (data, files) = (folder(), folder());
    let certificate = Pair::make(files.path());
    let hub = Hub::start_with(data.path(), &certificate.arguments());
    let url = format!("https://localhost:{}", hub.addr().port());
    let run = |arguments: &[&str]| Command::new(binary()).args(arguments).args(["--url", &url]).output().unwrap();
    let trust = ["--ca", certificate.certificate.to_str().unwrap()];
    let published = run(&[&["publish", "a", "hello"][..], &trust].concat());
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    let foreign = run(&["publish", "a", "hello"]);
    assert!(!foreign.status.success(), "nobody vouches for that certificate");
    let mut subscriber = Command::new(binary())
        .args(["subscribe", "a", "--since", "start", "--url", &url])
        .args(trust)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = [0; 6];
    subscriber.stdout.take().unwrap().read_exact(&mut heard).unwrap();
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
    assert_eq!(&heard, b"hello\n");
}

#[test]
fn files_that_are_wrong_are_named_before_a_port_is_bound() {
    let (data, files, others) = (folder(), folder(), folder());
    let (good, other) = (Pair::make(files.path()), Pair::make(others.path()));
    let missing = files.path().join("missing.pem");
    for (certificate, key, expected) in [
        (&missing, &good.key, "missing.pem can't be read"),
        (&good.key, &good.key, "holds no certificate"),
        (&good.certificate, &good.certificate, "holds no private key"),
        (&good.certificate, &other.key, "does not belong to the certificate"),
    ] {
        let mut command = Hub::command(data.path());
        command.args(["--listen", "127.0.0.1:0", "--tls-certificate"]).arg(certificate).arg("--tls-key").arg(key);
        let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && said.contains(expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_offered_within_tls() {
    let (data, files) = (folder(), folder());
    let certificate = Pair::make(files.path());
    let hub = Hub::start_with(data.path(), &certificate.arguments());
    let client = Http2::encrypted(hub.addr(), &certificate).await;
    let mut events = client.listen("channel=a").await;
    events.until("fanfare.hello").await;
    assert_eq!(client.text("POST", "/channels/a", "hello").await.0, 200);
    assert_eq!(events.next().await, "hello");
}

/// An HTTP/1.1 stream over TLS, without a thread of its own.
struct Plain(tokio_rustls::client::TlsStream<tokio::net::TcpStream>, String);

impl Plain {
    async fn open(hub: &Hub, certificate: &Pair) -> Self {
        let socket = tokio::net::TcpStream::connect(hub.addr()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(certificate.client("http/1.1"));
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let mut tls = connector.connect(name, socket).await.unwrap();
        tls.write_all(format!("{EVENTS}\r\n").as_bytes()).await.unwrap();
        Self(tls, String::new())
    }

    async fn until(&mut self, text: &str) {
        let mut chunk = [0; 1024];
        while !self.1.contains(text) {
            let read = tokio::time::timeout(Duration::from_mins(1), self.0.read(&mut chunk)).await;
            let count = read.expect("it comes in time").unwrap();
            assert!(count > 0, "the stream ended with {}", self.1);
            self.1.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_for_new_connections_and_drops_none_of_a_thousand_streams() {
    const HTTP1_STREAMS: usize = 500;
    const HTTP2_CONNECTIONS: usize = 5;
    const HTTP2_STREAMS: usize = 100;
    let (data, files) = (folder(), folder());
    let first = Pair::make(files.path());
    let hub = Hub::start_with(data.path(), &first.arguments());
    let (mut plain, mut connections, mut multiplexed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..HTTP1_STREAMS {
        plain.push(Plain::open(&hub, &first).await);
    }
    for _ in 0..HTTP2_CONNECTIONS {
        let client = Http2::encrypted(hub.addr(), &first).await;
        for _ in 0..HTTP2_STREAMS {
            multiplexed.push(client.listen("channel=a").await);
        }
        connections.push(client);
    }
    for stream in &mut plain {
        stream.until("fanfare.hello").await;
    }
    for stream in &mut multiplexed {
        stream.until("fanfare.hello").await;
    }
    let second = Pair::make(files.path());
    hub.signal("HUP");
    // The log says when, but the next connection shows it.
    let swapped = (0..2_000).any(|_| second.ask(hub.addr(), "GET /health/live HTTP/1.1\r\n").is_some());
    assert!(swapped, "new connections get the new certificate");
    assert!(first.ask(hub.addr(), "GET /health/live HTTP/1.1\r\n").is_none(), "and no longer the old one");
    let stats = stats(&hub, &second);
    assert_eq!(stats["streams"], HTTP1_STREAMS + HTTP2_CONNECTIONS * HTTP2_STREAMS);
    publish(&hub, &second, "after the change");
    for stream in &mut plain {
        stream.until("data: after the change\n\n").await;
    }
    for stream in &mut multiplexed {
        assert_eq!(stream.next().await, "after the change");
    }
    // Half of a renewal changes nothing.
    std::fs::write(&second.key, "half a ke").unwrap();
    hub.signal("HUP");
    assert!(second.ask(hub.addr(), "GET /health/live HTTP/1.1\r\n").is_some());
}
