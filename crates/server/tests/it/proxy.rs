//! The hub behind nginx, `HAProxy` and Caddy, configured as `docs/proxies/` says: the tests read their lines from there.
//!
//! Where a proxy isn't installed, its tests say so and pass; `./check` installs all three.

mod curl;
mod page;
mod process;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use curl::{Curl, Way};
use process::{Kind, NAME, Proxy, free_port};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Address, Heard, Hub, Listener, folder};
use crate::http::Connection;

/// A hub on a port of its own that it keeps across restarts, and a proxy before it.
struct Site {
    folder: tempfile::TempDir,
    addr: SocketAddr,
    hub: Option<Hub>,
    proxy: Proxy,
    /// More for the hub's command line.
    flags: &'static [&'static str],
}

impl Site {
    fn open(kind: Kind) -> Option<Self> {
        Self::open_with(kind, "10m", &[])
    }

    /// `patience` is how long streams outlive a reload of the proxy.
    fn open_with(kind: Kind, patience: &str, flags: &'static [&'static str]) -> Option<Self> {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let proxy = Proxy::start(kind, addr, patience)?;
        let mut site = Self { folder: folder(), addr, hub: None, proxy, flags };
        site.start_hub();
        Some(site)
    }

    fn hub(&self) -> &Hub {
        self.hub.as_ref().unwrap()
    }

    fn start_hub(&mut self) {
        let listen = self.addr.to_string();
        let flags = [&["--listen", &listen, "--allow-host", NAME], self.flags].concat();
        self.hub = Some(Hub::start_with(self.folder.path(), &flags));
    }

    /// Stops the hub as an operator does.
    fn stop_hub(&mut self) {
        let mut hub = self.hub.take().unwrap();
        hub.terminate();
        assert!(hub.wait().success());
    }
}

/// The first event comes at once, whichever way it is asked for; the figures are printed.
fn first_event(kind: Kind) {
    let Some(site) = Site::open(kind) else { return };
    for way in Way::ALL {
        let began = Instant::now();
        let mut stream = Curl::open(way, &site.proxy, "/events?channel=a", &[], 60);
        stream.named("fanfare.hello");
        let hello = began.elapsed();
        assert!(stream.head[0].starts_with(&format!("{} 200", way.version())), "{:?}", stream.head);
        assert!(stream.head.iter().any(|line| line == "content-type: text/event-stream"), "{:?}", stream.head);
        assert!(!stream.head.iter().any(|line| line.starts_with("content-encoding")), "{:?}", stream.head);
        let began = Instant::now();
        site.hub().publish("a", "hello");
        assert_eq!(stream.named("message").data, "hello");
        let event = began.elapsed();
        eprintln!("{kind:?} {way:?}: hello after {hello:?}, with the start of curl; an event after {event:?}");
        assert!(hello.max(event) < Duration::from_secs(2), "{kind:?} {way:?} holds events back");
    }
}

/// The bytes of a stream are the same with the proxy and without it, after the hello, which names the stream.
fn same_bytes(kind: Kind) {
    let Some(site) = Site::open(kind) else { return };
    let large = "0123456789 ".repeat(30_000);
    let texts = ["plain", "", "two\nlines", "\u{feff}: é 😀 \t", "a\r\nb\rc", &large, "\n\n", "last"];
    for text in texts {
        site.hub().publish("a", text);
    }
    let query = "/events?channel=a&since=start&hello=none";
    let after_hello = |mut bytes: Vec<u8>| {
        let at = bytes.windows(6).position(|window| window == b"data\n\n").or_else(|| {
            // An empty `data` may have its colon.
            bytes.windows(7).position(|window| window == b"data:\n\n").map(|at| at + 1)
        });
        bytes.split_off(at.expect("there is a hello") + 6)
    };
    let direct = {
        let (_, mut chunks) = site.hub().connect().stream("GET", query, &[], b"").unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"data: last\n\n") {
            bytes.extend(chunks.read(usize::MAX).unwrap());
        }
        after_hello(bytes)
    };
    assert!(direct.len() > large.len());
    for way in Way::ALL {
        let mut stream = Curl::open(way, &site.proxy, query, &[], 60);
        let through = after_hello(stream.read_until("data: last\n\n"));
        assert!(through == direct, "{kind:?} {way:?} changes the bytes");
    }
}

/// A listener that is cut anywhere, again and again, has everything once and in order, and no gap.
fn cuts(kind: Kind) {
    const EVENTS: usize = 1_500;
    let Some(site) = Site::open(kind) else { return };
    let mut random = StdRng::seed_from_u64(7);
    let mut got = Vec::new();
    let mut cuts = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = site.proxy.connect();
            for number in 0..EVENTS {
                // nginx ends a connection after 1,000 requests.
                if number % 500 == 499 {
                    publisher = site.proxy.connect();
                }
                let answer = publisher.request("POST", "/channels/a", &[], number.to_string().as_bytes()).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        });
        let mut id = String::new();
        let mut take = |event: Heard| {
            assert_ne!(event.event, "fanfare.gap", "{}", event.data);
            if event.event == "message" {
                got.push(event.data.parse::<usize>().unwrap());
            }
            got.len()
        };
        let open = |id: &str| match id {
            "" => site.proxy.listen("channel=a&since=start"),
            id => site.proxy.resume("channel=a&since=start", id),
        };
        // What is asked for is still to come: an event has more than 50 bytes.
        let mut left = EVENTS;
        while left > 100 {
            let mut listener = open(&id);
            let mut heard = Vec::new();
            listener.read_bytes(random.random_range(1..=(left * 50).min(6_000)), &mut heard).unwrap();
            left = EVENTS - heard.into_iter().map(&mut take).last().unwrap_or(EVENTS - left);
            listener.last_event_id().clone_into(&mut id);
            cuts += 1;
        }
        let mut listener = open(&id);
        while take(listener.any().unwrap()) < EVENTS {}
    });
    assert!(got.iter().copied().eq(0..EVENTS), "after {cuts} cuts: {got:?}");
    assert!(cuts > 20, "only {cuts} cuts");
}

/// The largest events and batches pass; what is too large is refused by the hub, in its own words.
fn large_bodies(kind: Kind) {
    let Some(site) = Site::open(kind) else { return };
    let mut listener = site.proxy.live("channel=a");
    let event = "x".repeat(1024 * 1024);
    site.proxy.publish("a", &event);
    assert!(listener.next().data == event, "an event of 1 MiB arrives as it was");
    let item = serde_json::json!({"channel": "b", "data": "y".repeat(1_000_000)}).to_string();
    let batch = [item.as_str(); 8].join("\n");
    let headers = [("Content-Type", "application/x-ndjson")];
    let answer = site.proxy.request("POST", "/publish", &headers, batch.as_bytes());
    assert_eq!(answer.status, 200, "a batch of 8 MB: {}", answer.text());
    assert_eq!(answer.json()["results"].as_array().unwrap().len(), 8);
    for (path, bytes) in [("/channels/a", 1024 * 1024 + 1), ("/channels/a", 2_000_000), ("/publish", 9_000_000)] {
        let file = site.folder.path().join("body");
        std::fs::write(&file, "z".repeat(bytes)).unwrap();
        for way in Way::ALL {
            let (head, body) = curl::post(way, &site.proxy, path, &file);
            let code = serde_json::from_slice::<serde_json::Value>(&body).map(|problem| problem["code"].clone());
            assert!(head.contains(" 413"), "{kind:?} {way:?} {path} {bytes}: {head}");
            assert_eq!(code.ok(), Some("too_large".into()), "{kind:?} {way:?} {path} {bytes}: {head}");
        }
    }
}

/// Names that would not survive a path survive the query.
fn names(kind: Kind) {
    let Some(site) = Site::open(kind) else { return };
    let names = [
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("..", ".."),
        ("%2E%2E%2F", "../"),
        ("a%2F%2Fb%2F.%2F", "a//b/./"),
        ("https%3A%2F%2Fexample.com%2Fbooks%2F1%3Fx%3D1%232", "https://example.com/books/1?x=1#2"),
        ("%C3%A9%20%2B", "é +"),
        ("a;b", "a;b"),
    ];
    for (encoded, name) in names {
        let answer = site.proxy.post(&format!("/channels?channel={encoded}"), name);
        assert_eq!((answer.status, answer.json()["channel"].as_str()), (200, Some(name)), "{encoded}");
        let mut listener = site.proxy.listen(&format!("channel={encoded}&since=start"));
        assert_eq!(listener.next().data, name);
        let history = site.proxy.get(&format!("/history?channel={encoded}")).json();
        assert_eq!(history["events"][0]["data"], name);
    }
}

/// The hub learns by which name it was called and from where, and a page of that name is no stranger.
fn who_asks(kind: Kind) {
    let Some(site) = Site::open(kind) else { return };
    let origin = |port| format!("https://{NAME}:{port}");
    for (port, status) in [(site.proxy.tls.port(), "HTTP/2 200"), (1, "HTTP/2 403")] {
        let header = format!("Origin: {}", origin(port));
        let stream = Curl::open(Way::TlsH2, &site.proxy, "/events?channel=a", &[&header], 60);
        assert!(stream.head[0].starts_with(status), "{:?}", stream.head);
        let allowed = format!("access-control-allow-origin: {}", origin(port));
        assert_eq!(stream.head.contains(&allowed), status.ends_with("200"), "{:?}", stream.head);
    }

    // What is nobody's business outside.
    assert_eq!((site.hub().get("/metrics").status, site.proxy.get("/metrics").status), (200, 404));

    // What reaches a hub, as a bare socket sees it.
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some(proxy) = Proxy::start(kind, hub.local_addr().unwrap(), "10m") else { return };
    let head = std::thread::scope(|scope| {
        let head = scope.spawn(|| {
            let (mut socket, _) = hub.accept().unwrap();
            let mut head = Vec::new();
            let mut chunk = [0; 4096];
            while !head.ends_with(b"\r\n\r\n") {
                let count = socket.read(&mut chunk).unwrap();
                assert!(count > 0, "the proxy left");
                head.extend_from_slice(&chunk[..count]);
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap();
            String::from_utf8(head).unwrap().to_ascii_lowercase()
        });
        drop(Curl::open(Way::TlsH2, &proxy, "/events?channel=a", &["Last-Event-ID: 7"], 60));
        head.join().unwrap()
    });
    let host = format!("\r\nhost: {NAME}:{}\r\n", proxy.tls.port());
    for line in [host.as_str(), "\r\nx-forwarded-for: 127.0.0.1\r\n", "\r\nlast-event-id: 7\r\n"] {
        assert!(head.contains(line), "{line:?} is not in {head}");
    }
    assert!(head.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
    assert!(head.starts_with("get /events?channel=a http/1.1\r\n") && !head.contains("connection: close"), "{head}");
}

/// Behind a proxy that is trusted, limits for one client are for whom the proxy speaks for, and not for the proxy.
fn one_client(kind: Kind) {
    let flags = &["--set", "door.trusted_proxies=127.0.0.1", "--set", "streams.per_address_max=1"];
    let Some(site) = Site::open_with(kind, "10m", flags) else { return };
    let open = |client: &str| {
        let client = format!("X-Forwarded-For: 192.0.2.1, {client}");
        let mut stream = Curl::open(Way::TlsH2, &site.proxy, "/events?channel=a", &[&client], 60);
        let first = stream.any().unwrap().event;
        (stream, first)
    };
    let (_one, first) = open("203.0.113.7");
    assert_eq!(first, "fanfare.hello");
    assert_eq!(open("203.0.113.7").1, "fanfare.bye", "the same once more");
    assert_eq!(open("203.0.113.8").1, "fanfare.hello", "another");
}

/// While the hub is away, browsers are told when to come back, and everybody else the truth. Then all goes on.
fn away(kind: Kind) {
    let Some(mut site) = Site::open(kind) else { return };
    let mut listener = site.proxy.listen("channel=a");
    let first = site.proxy.publish("a", "before");
    assert_eq!(listener.next().id, first);
    site.stop_hub();
    while listener.any().is_some() {}
    let page = [("Origin", "https://www.example.com"), ("Last-Event-ID", first.as_str())];
    // HAProxy and Caddy wait for the hub before they answer; so ask all at once.
    let (browser, client, publisher) = std::thread::scope(|scope| {
        let ask = |method, path, headers| {
            let proxy = &site.proxy;
            scope.spawn(move || proxy.request(method, path, headers, b""))
        };
        let browser = ask("GET", "/events?channel=a", &page);
        let client = ask("GET", "/events?channel=a&errors=status", &page);
        let publisher = ask("POST", "/channels/a", &[]);
        [browser, client, publisher].map(|asked| asked.join().unwrap()).into()
    });
    let said = browser.text();
    assert_eq!((browser.status, browser.header("content-type")), (200, Some("text/event-stream")), "{said}");
    assert!(said.starts_with("event: fanfare.bye\nretry: ") && said.ends_with("\"reconnect\":true}\n\n"), "{said:?}");
    let header = |name| browser.header(name).unwrap_or_default();
    assert_eq!(header("access-control-allow-origin"), "https://www.example.com");
    assert_eq!((header("access-control-allow-credentials"), header("cache-control")), ("true", "no-store"));
    assert!(browser.header("fanfare-away").is_none() && header("vary").contains("Origin"), "{:?}", browser.headers);
    assert!(matches!(client.status, 502..=504), "{}", client.status);
    assert!(matches!(publisher.status, 502..=504), "{}", publisher.status);
    site.start_hub();
    let second = site.hub().publish("a", "after");
    let mut back = site.proxy.resume("channel=a", &first);
    assert_eq!(back.next().id, second, "nothing between, nothing twice");
}

/// A hub that comes back soon is waited for: nobody hears of the restart but those whose streams it ended.
fn waits(kind: Kind) {
    let Some(mut site) = Site::open(kind) else { return };
    let first = site.proxy.publish("a", "before");
    site.stop_hub();
    let proxy = site.proxy.addr();
    let (data, status) = std::thread::scope(|scope| {
        let first = &first;
        let stream = scope.spawn(move || Listener::open(proxy, "channel=a", Some(first)).next().data);
        let publisher = scope.spawn(move || {
            let mut connection = Connection::open(proxy).unwrap();
            connection.request("POST", "/channels/a", &[], b"meanwhile").unwrap().status
        });
        // Long enough that both have met a closed door.
        std::thread::sleep(Duration::from_millis(1_500));
        site.start_hub();
        let status = publisher.join().unwrap();
        if status != 200 {
            site.hub().publish("a", "meanwhile");
        }
        (stream.join().unwrap(), status)
    });
    assert_eq!(data, "meanwhile");
    // Caddy 2.6 can't send a body a second time.
    assert!(status == 200 || (kind == Kind::Caddy && status == 502), "{status}");
}

/// A reload doesn't touch streams until its patience ends, if ever; then they are cut, and miss nothing.
fn reload(kind: Kind) {
    let Some(site) = Site::open_with(kind, "3s", &[]) else { return };
    let mut old = site.proxy.live("channel=a");
    site.proxy.reload();
    site.hub().publish("a", "one");
    assert_eq!(old.next().data, "one");
    if kind == Kind::Caddy {
        // It keeps streams whatever its `grace_period`.
        let mut new = site.proxy.listen("channel=a&since=start");
        assert_eq!(new.next().data, "one");
        return;
    }
    // The end may be no clean one; what came before is whole all the same.
    let mut last = Vec::new();
    while old.read_bytes(1, &mut last).is_ok() {}
    assert_eq!(last, []);
    site.hub().publish("a", "two");
    let mut back = site.proxy.resume("channel=a", old.last_event_id());
    assert_eq!(back.next().data, "two");
}

/// Idle streams live: heartbeats pass, well before any time-out. For ten minutes if there is time.
fn idle(kind: Kind) {
    let Some(site) = Site::open(kind) else { return };
    let minutes = if std::env::var_os("FANFARE_LONG").is_some() { 10 } else { 0 };
    let long = Duration::from_secs(minutes * 60);
    std::thread::scope(|scope| {
        for way in Way::ALL {
            let proxy = &site.proxy;
            scope.spawn(move || {
                let path = "/events?channel=idle&heartbeat=event";
                let mut stream = Curl::open(way, proxy, path, &[], minutes * 60 + 60);
                stream.named("fanfare.hello");
                let began = Instant::now();
                let mut last = Instant::now();
                loop {
                    stream.named("fanfare.ping");
                    // The least time-out that the documentation allows a proxy.
                    assert!(last.elapsed() < Duration::from_secs(30), "{kind:?} {way:?}: {:?}", last.elapsed());
                    last = Instant::now();
                    if began.elapsed() >= long {
                        break;
                    }
                }
                eprintln!("{kind:?} {way:?}: idle and alive after {:?}", began.elapsed());
            });
        }
    });
}

macro_rules! kind {
    (nginx) => {
        super::Kind::Nginx
    };
    (haproxy) => {
        super::Kind::Haproxy
    };
    (caddy) => {
        super::Kind::Caddy
    };
}

/// The stories as tests, one for each proxy of which it is true.
macro_rules! tests {
    ($($story:ident $test:ident: $($proxy:ident)+;)+) => {$(
        mod $test {
            $(#[test] fn $proxy() { super::$story(kind!($proxy)); })+
        }
    )+};
}

tests! {
    first_event the_first_event_comes_at_once_over_http_1_and_2: nginx haproxy caddy;
    same_bytes the_bytes_are_the_same_as_without_the_proxy: nginx haproxy caddy;
    cuts a_listener_that_is_cut_again_and_again_misses_nothing: nginx haproxy caddy;
    large_bodies the_largest_bodies_pass_and_larger_ones_are_the_hubs_to_refuse: nginx haproxy caddy;
    names names_that_a_path_would_not_survive_survive_the_query: nginx haproxy caddy;
    who_asks the_hub_learns_by_which_name_it_was_called_and_from_where: nginx haproxy caddy;
    one_client limits_for_one_client_are_for_whom_the_proxy_speaks_for: nginx haproxy;
    away browsers_are_told_when_to_come_back_while_the_hub_is_away: nginx haproxy caddy;
    waits a_hub_that_comes_back_soon_is_waited_for: haproxy caddy;
    reload a_reload_cuts_streams_when_its_patience_ends_and_they_miss_nothing: nginx haproxy;
    reload a_reload_leaves_streams_alone: caddy;
    idle an_idle_stream_lives: nginx haproxy caddy;
}
