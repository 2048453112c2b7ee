//! Bad input: each kind a clear 4xx that names what is wrong, and nothing of it on the wire.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Address, Hub, folder};

/// What is sent, and what must be answered: method, path, headers, body, status, code, a word of the detail.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str, &'a str);

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

fn cases() -> Vec<Case<'static>> {
    vec![
        ("POST", "/channels/a%0Ab", &[], b"x", 400, "bad_channel", "U+000A"),
        ("POST", "/channels/a%00b", &[], b"x", 400, "bad_channel", "U+0000"),
        ("POST", "/channels/a%0D", &[], b"x", 400, "bad_channel", "U+000D"),
        ("POST", "/channels/%FF", &[], b"x", 400, "not_utf8", "UTF-8"),
        ("POST", "/channels/@system%2Fmetrics", &[], b"x", 403, "reserved_channel", "@"),
        ("POST", "/channels?channel=", &[], b"x", 400, "bad_channel", "empty"),
        ("POST", "/channels", &[], b"x", 400, "malformed", "channel"),
        ("POST", "/channels/a?event=error", &[], b"x", 400, "bad_event_name", "event"),
        ("POST", "/channels/a?event=open", &[], b"x", 400, "bad_event_name", "event"),
        ("POST", "/channels/a?event=fanfare.bye", &[], b"x", 400, "bad_event_name", "fanfare."),
        ("POST", "/channels/a?event=x%0Adata:%20y", &[], b"x", 400, "bad_event_name", "U+000A"),
        ("POST", "/channels/a?event=x%00", &[], b"x", 400, "bad_event_name", "U+0000"),
        ("POST", "/channels/a?evnt=x", &[], b"x", 400, "malformed", "evnt"),
        ("POST", "/channels/a?retry=soon", &[], b"x", 400, "malformed", "retry"),
        ("POST", "/channels/a?ttl=0", &[], b"x", 400, "malformed", "ttl"),
        ("POST", "/channels/a", &[], b"a\xffb", 400, "not_utf8", "byte 1"),
        ("POST", "/channels/a", JSON, b"{\"a\":", 400, "bad_json", "JSON"),
        ("POST", "/channels/a", &[("Content-Encoding", "br")], b"x", 415, "unsupported_media", "Encoding"),
        ("POST", "/channels/a", &[("Content-Encoding", "gzip")], b"x", 400, "malformed", "not gzip"),
        (
            "POST",
            "/channels/a",
            &[("Content-Type", "multipart/form-data; boundary=x")],
            b"x",
            415,
            "unsupported_media",
            "multipart",
        ),
        ("POST", "/channels/a", &[("Host", "evil.example")], b"x", 421, "wrong_host", "Host"),
        ("POST", "/channels/a", &[("Host", "localhost.evil.example")], b"x", 421, "wrong_host", "Host"),
        ("POST", "/channels/a", &[("Origin", "https://evil.example")], b"x", 403, "foreign_origin", "Origin"),
        ("POST", "/channels/a", &[("Origin", "null")], b"x", 403, "foreign_origin", "Origin"),
        ("POST", "/publish", &[("Origin", "http://localhost.evil.example")], b"{}", 403, "foreign_origin", "Origin"),
        ("GET", "/events", &[("Origin", "https://evil.example")], b"", 403, "foreign_origin", "Origin"),
        ("POST", "/publish", JSON, b"{", 400, "bad_json", ""),
        ("POST", "/publish", JSON, b"\"x\"", 400, "malformed", "an object"),
        ("POST", "/publish", JSON, br#"{"channel":"a"}"#, 400, "malformed", "data"),
        ("POST", "/publish", JSON, br#"{"data":"x"}"#, 400, "malformed", "channel"),
        ("POST", "/publish", JSON, br#"{"channel":"a","channels":["b"],"data":"x"}"#, 400, "malformed", "channel"),
        ("POST", "/publish", JSON, br#"{"channel":"a","data":"x","evnt":"y"}"#, 400, "malformed", "evnt"),
        ("POST", "/publish", JSON, br#"{"channel":"a","data":"x","event":7}"#, 400, "malformed", "event"),
        ("POST", "/publish", JSON, br#"{"channel":"a\nb","data":"x"}"#, 400, "bad_channel", "U+000A"),
        ("POST", "/publish", JSON, br#"{"channel":"a","data":"x","event":"b\r\nc"}"#, 400, "bad_event_name", "U+000D"),
        ("POST", "/publish", JSON, br#"{"channels":[],"data":"x"}"#, 400, "malformed", "channel"),
        ("GET", "/events?channel=a%0Ab", &[], b"", 400, "bad_channel", "U+000A"),
        ("GET", "/events?channel=", &[], b"", 400, "bad_channel", "empty"),
        ("GET", "/events?chanel=a", &[], b"", 400, "malformed", "chanel"),
        ("GET", "/events?since=yesterday", &[], b"", 400, "malformed", "since"),
        ("GET", "/events?since=last:99999", &[], b"", 400, "malformed", "last"),
        ("GET", "/events?as=xml", &[], b"", 400, "malformed", "as"),
        ("POST", "/events", &[], b"x", 405, "method_not_allowed", "/channels"),
        ("PUT", "/channels/a", &[], b"", 405, "method_not_allowed", ""),
        ("DELETE", "/channels/a", &[], b"", 400, "malformed", "`key` is missing"),
        ("GET", "/nowhere", &[], b"", 404, "not_found", "GET /events"),
        ("GET", "/channels/a/history?limit=100000", &[], b"", 400, "malformed", "limit"),
        ("POST", "/subscribe", JSON, br#"{"channel":["a"]}"#, 400, "malformed", "channel"),
    ]
}

#[test]
fn each_kind_of_bad_input_is_refused_by_name_and_nothing_of_it_is_published() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let mut everything = hub.live("pattern=*");
    let mut wrong = Vec::new();
    for (method, path, headers, body, status, code, word) in cases() {
        let answer = hub.request(method, path, headers, body);
        let problem = answer.json();
        let is_right = answer.status == status
            && answer.header("content-type") == Some("application/problem+json")
            && problem["code"] == code
            && problem["status"] == status
            && problem["detail"].as_str().is_some_and(|detail| detail.contains(word));
        if !is_right {
            wrong.push(format!("{method} {path} {headers:?} ({status} {code} {word:?}): {}", answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    too_large_and_too_deep(&hub);
    broken_http(&hub);
    hub.publish("sentinel", "end");
    let next = everything.any().unwrap();
    assert_eq!(next.data, "end", "zero extra events on the wire");
}

fn too_large_and_too_deep(hub: &Hub) {
    let large = vec![b'x'; 1024 * 1024 + 1];
    let answer = hub.post("/channels/a", &large);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too_large")));
    let deep = format!("{{\"channel\":\"a\",\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = hub.request("POST", "/publish", JSON, deep.as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = hub.request("POST", "/channels/a", JSON, &deep.as_bytes()[25..deep.len() - 1]);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let many = format!("[{}]", vec![r#"{"channel":"a","data":"x"}"#; 1_001].join(","));
    let answer = hub.request("POST", "/publish", JSON, many.as_bytes());
    assert_eq!(answer.status, 413, "{}", answer.text());
    let channels: Vec<String> = (0..1_001).map(|n| format!("\"c{n}\"")).collect();
    let answer =
        hub.request("POST", "/subscribe", JSON, format!("{{\"channels\":[{}]}}", channels.join(",")).as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text());
    let patterns: Vec<String> = (0..51).map(|n| format!("pattern=p{n}*")).collect();
    let answer = hub.get(&format!("/events?{}", patterns.join("&")));
    assert!(answer.status == 400 && answer.text().contains("at most 50 patterns"), "{}", answer.text());
}

/// What is hardly HTTP: answered with a 4xx or cut, never with a 5xx.
fn broken_http(hub: &Hub) {
    let long_url = format!("GET /events?channel={} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    for request in [
        long_url.as_str(),
        &many_headers,
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(hub.addr()).unwrap();
        let _ = socket.write_all(request.as_bytes());
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let is_refusal = answer.starts_with("HTTP/1.1 4") || answer.is_empty();
        assert!(is_refusal, "{:?}… is answered with {answer:?}", &request[..20.min(request.len())]);
    }
}

#[test]
fn loopback_pages_may_publish_and_are_told_so_by_cors() {
    let folder = folder();
    let hub = Hub::start(folder.path());
    let origin = [("Origin", "http://localhost:5173")];
    let answer = hub.request("POST", "/channels/a", &origin, b"x");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:5173"));
    assert!(answer.header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")));
    let refusal = hub.request("POST", "/channels/a?event=error", &origin, b"x");
    assert_eq!((refusal.status, refusal.header("access-control-allow-origin")), (400, Some("http://localhost:5173")));
    let preflight = [("Origin", "http://127.0.0.1:3000"), ("Access-Control-Request-Method", "POST")];
    let answer = hub.request("OPTIONS", "/publish", &preflight, b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("http://127.0.0.1:3000")));
    let foreign = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")];
    assert_eq!(hub.request("OPTIONS", "/publish", &foreign, b"").header("access-control-allow-origin"), None);
}
