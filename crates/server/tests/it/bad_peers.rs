//! Clients that take more than their part, and a process that runs out of file descriptors, against the real binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Address, Hub, folder};

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart_and_held_to_their_rate() {
    let folder = folder();
    let arguments =
        ["--listen", "127.0.0.1:0", "--set", "door.trusted_proxies=127.0.0.1", "--set", "limits.publishes=2/10m"];
    let hub = Hub::start_with(folder.path(), &arguments);
    let publish = |address: &str| hub.request("POST", "/channels/a", &[("x-forwarded-for", address)], b"x");
    for _ in 0..2 {
        assert_eq!(publish("6.6.6.6, 203.0.113.1").status, 200);
    }
    let refused = publish("7.7.7.7, 203.0.113.1");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("rate_limited")));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"publishes\";q=2;w=600"));
    assert_eq!(publish("203.0.113.2").status, 200);
    // The refusal arrives also where the body is still on its way, and the connection goes on.
    let (mut connection, large) = (hub.connect(), vec![b'x'; 900 * 1024]);
    for _ in 0..2 {
        let headers = [("x-forwarded-for", "203.0.113.1")];
        assert_eq!(connection.request("POST", "/channels/a", &headers, &large).unwrap().status, 429);
    }
    assert_eq!(hub.get("/stats").json()["requests_refused"]["rate_limited"], 3);
}

/// Without descriptors nothing new is accepted; what is open goes on, and once there are some all is as before.
#[test]
fn a_process_out_of_file_descriptors_serves_those_who_are_there_and_recovers() {
    const CLIENTS: usize = 400;
    let folder = folder();
    let hub = Hub::start_with(folder.path(), &["--listen", "127.0.0.1:0"]);
    let mut listener = hub.live("channel=a");
    // A publisher that is there already.
    let mut publisher = hub.connect();
    assert_eq!(publisher.request("POST", "/channels/a", &[], b"before").unwrap().status, 200);
    let pid = hub.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = format!("--nofile={}:{}", open + 20, open + 20);
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit comes with util-linux");
    // The kernel takes them all; the server can accept twenty.
    let crowd: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(hub.addr()).unwrap()).collect();
    for number in 0..50 {
        let answer = publisher.request("POST", "/channels/a", &[], format!("during {number}").as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for number in 0..50 {
        while listener.next().data != format!("during {number}") {}
    }
    drop(crowd);
    // Whoever comes now is served as soon as the crowd has been looked at.
    let answer = hub.get("/stats");
    assert_eq!(answer.status, 200);
    assert!(answer.json()["connections"]["accept_failed"].as_u64().unwrap() > 0, "it did run out");
    let mut late = TcpStream::connect(hub.addr()).unwrap();
    late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    late.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

/// A thousand at a process that may open 256 files.
#[cfg(target_os = "linux")]
#[test]
fn with_256_file_descriptors_a_thousand_clients_cost_nobody_anything_and_little_of_a_core() {
    const CLIENTS: usize = 1_000;
    /// How long the crowd stays, in seconds; and the kernel's ticks a second.
    const STAY: u64 = 5;
    const TICKS: u64 = 100;
    let folder = folder();
    let mut command = Command::new("prlimit");
    command.arg("--nofile=256:256").arg(crate::harness::binary());
    let hub = Hub::start_by(command, folder.path());
    // Processor time that it has used, in ticks: fields 14 and 15, counted behind the name (proc(5)).
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", hub.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let mut listeners: Vec<_> = (0..50).map(|_| hub.listen("channel=a")).collect();
    for listener in &mut listeners {
        listener.named("fanfare.hello");
    }
    let mut publisher = hub.connect();
    publisher.request("POST", "/channels/a", &[], b"before").unwrap();
    let crowd: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(hub.addr()).unwrap();
            client.write_all(b"GET /events?channel=a HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            client
        })
        .collect();
    let (began, before) = (std::time::Instant::now(), used());
    let mut sent = 0;
    while began.elapsed() < Duration::from_secs(STAY) {
        let answer = publisher.request("POST", "/channels/a", &[], format!("during {sent}").as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    let percent = (used() - before) as f64 / (TICKS as f64 * began.elapsed().as_secs_f64()) * 100.0;
    for listener in &mut listeners {
        assert_eq!(listener.next().data, "before");
        for number in 0..sent {
            assert_eq!(listener.next().data, format!("during {number}"));
        }
    }
    drop(crowd);
    let left = std::time::Instant::now();
    let answer = hub.get("/stats");
    println!("{percent:.1} % of a core, {sent} events to {} streams, back after {:?}", listeners.len(), left.elapsed());
    assert!(answer.json()["connections"]["accept_failed"].as_u64().unwrap() > 0, "it did run out");
    assert!(percent < 60.0, "{percent:.1} % of a core");
}
