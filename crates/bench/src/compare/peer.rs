//! Who is compared: each server with how it is subscribed to and published to. What must be installed before it runs
//! stands in [`install`](mod@super::install).

use std::path::PathBuf;

use crate::dialect::{Dialect, LongPoll, SocketIo, Sse, WebSocket};
use crate::subject::{Process, Promises, Publish, Ready, Start, Subject};

/// The key of tokens for servers that want some. It protects nothing: they listen on loopback, and only while they are
/// measured. `peers/mercure/Caddyfile` has it too.
const TOKEN_KEY: &str = "fanfare-bench-compares-on-loopback";

/// HS256 of `{"mercure":{"publish":["*"]}}` with [`TOKEN_KEY`].
const MERCURE_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0\
                             .ugFvfnDHS18TbGDeT5EPBvw5NyrcRxP0duIJ0YYVnOs";

/// HS256 of `{"sub":"bench","channels":["main"]}` with [`TOKEN_KEY`].
const CENTRIFUGO_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJiZW5jaCIsImNoYW5uZWxzIjpbIm1haW4iXX0\
                                .ogEqV8d-D9bpnmNBoV13szE2QgF9cx4PzmsVYUBMel8";

/// A server that can be compared, in the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Peer {
    /// The bare loop: the least that any such server has to do.
    Bare,
    /// Fanfare.
    Fanfare,
    /// Express with a `Set` of responses.
    Express,
    /// Express with better-sse.
    BetterSse,
    /// The package `ws`.
    Ws,
    /// Socket.IO over WebSocket.
    SocketIo,
    /// Long polling with Express.
    LongPoll,
    /// axum's `Sse` with tokio's broadcast channel.
    Axum,
    /// nginx with nchan.
    Nchan,
    /// Caddy with Mercure.
    Mercure,
    /// Centrifugo, by its unidirectional SSE.
    Centrifugo,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Bare,
        Self::Fanfare,
        Self::Express,
        Self::BetterSse,
        Self::Ws,
        Self::SocketIo,
        Self::LongPoll,
        Self::Axum,
        Self::Nchan,
        Self::Mercure,
        Self::Centrifugo,
    ];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Fanfare => "Fanfare",
            Self::Express => "Express",
            Self::BetterSse => "better-sse",
            Self::Ws => "ws",
            Self::SocketIo => "Socket.IO",
            Self::LongPoll => "long polling, Express",
            Self::Axum => "axum, broadcast channel",
            Self::Nchan => "nchan",
            Self::Mercure => "Mercure",
            Self::Centrifugo => "Centrifugo",
        }
    }

    /// How its events travel.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Ws | Self::SocketIo => "WebSocket",
            Self::LongPoll => "long polling",
            _ => "SSE",
        }
    }

    /// The program in `peers/node` that it is, without its ending; `None` of those that aren't Node's.
    pub fn node_program(self) -> Option<&'static str> {
        match self {
            Self::Express => Some("express"),
            Self::BetterSse => Some("better-sse"),
            Self::Ws => Some("ws"),
            Self::SocketIo => Some("socket-io"),
            Self::LongPoll => Some("long-poll"),
            _ => None,
        }
    }

    /// The subject, run as `program`; of a Node program, `script` is its file, and of nginx the folder of its modules.
    pub fn subject(self, program: PathBuf, script: &str) -> Subject {
        let mut subject = match self {
            Self::Bare => Subject::bare(program, false),
            Self::Fanfare => Subject::fanfare(program),
            _ => Subject {
                name: self.name().to_owned(),
                start: Start::Process(self.process(program, script)),
                subscribe: self.subscribe(),
                subscribe_pattern: None,
                publish: self.publish(),
                publish_many: None,
                dialect: self.dialect(),
                promises: Promises { delivery: false, resume: false, many_channels: false, channels: false },
            },
        };
        self.name().clone_into(&mut subject.name);
        if matches!(self, Self::Bare | Self::Fanfare) {
            // The same data for all: whoever counts bytes counts them of the same event.
            subject.publish.headers.push(json_header());
            subject.publish.body = json_body;
        }
        subject
    }

    fn process(self, program: PathBuf, script: &str) -> Process {
        let arguments = |arguments: &[&str]| arguments.iter().map(|&argument| argument.to_owned()).collect();
        match self {
            Self::Nchan => Process {
                arguments: arguments(&["-p", "{data}", "-e", "stderr", "-c", "{data}/nginx.conf"]),
                files: vec![file(
                    "nginx.conf",
                    &include_str!("../../peers/nchan/nginx.conf").replace("{modules}", script),
                )],
                ready: Ready::Accepts,
                ..Process::new(program, vec![])
            },
            Self::Mercure => Process {
                arguments: arguments(&["run", "--config", "{data}/Caddyfile", "--adapter", "caddyfile"]),
                environment: pairs(&[("XDG_DATA_HOME", "{data}"), ("XDG_CONFIG_HOME", "{data}")]),
                files: vec![file("Caddyfile", include_str!("../../peers/mercure/Caddyfile"))],
                ready: Ready::Accepts,
                ..Process::new(program, vec![])
            },
            Self::Centrifugo => Process {
                environment: pairs(&[
                    ("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1"),
                    ("CENTRIFUGO_HTTP_SERVER_PORT", "{port}"),
                    ("CENTRIFUGO_HTTP_API_KEY", TOKEN_KEY),
                    ("CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY", TOKEN_KEY),
                    ("CENTRIFUGO_UNI_SSE_ENABLED", "true"),
                    ("CENTRIFUGO_LOG_LEVEL", "error"),
                ]),
                ready: Ready::Accepts,
                ..Process::new(program, vec![])
            },
            Self::Axum => Process::new(program, arguments(&["--port", "{port}"])),
            _ => Process::new(program, arguments(&[script, "--port", "{port}"])),
        }
    }

    fn subscribe(self) -> String {
        match self {
            Self::Ws => "/".to_owned(),
            Self::SocketIo => "/socket.io/".to_owned(),
            Self::LongPoll => "/poll".to_owned(),
            Self::Mercure => "/.well-known/mercure?topic={channel}".to_owned(),
            Self::Centrifugo => {
                format!("/connection/uni_sse?cf_connect=%7B%22token%22%3A%22{CENTRIFUGO_TOKEN}%22%7D")
            }
            _ => "/events".to_owned(),
        }
    }

    fn publish(self) -> Publish {
        let to = |path: &str, headers, body| Publish { path: path.to_owned(), headers, body };
        let with = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Mercure => to(
                "/.well-known/mercure",
                vec![
                    with("Authorization", format!("Bearer {MERCURE_TOKEN}")),
                    with("Content-Type", "application/x-www-form-urlencoded".to_owned()),
                ],
                mercure_body,
            ),
            Self::Centrifugo => {
                to("/api/publish", vec![with("X-API-Key", TOKEN_KEY.to_owned()), json_header()], centrifugo_body)
            }
            _ => to("/publish", vec![json_header()], json_body),
        }
    }

    fn dialect(self) -> fn() -> Box<dyn Dialect> {
        match self {
            Self::Ws => || Box::new(WebSocket::default()),
            Self::SocketIo => || Box::new(SocketIo::default()),
            Self::LongPoll => || Box::new(LongPoll::default()),
            // It subscribes before it answers, and then says nothing until its first heartbeat.
            Self::Axum => || Box::new(Sse::opens_with_head()),
            _ => || Box::new(Sse::default()),
        }
    }
}

fn json_header() -> (String, String) {
    ("Content-Type".to_owned(), "application/json".to_owned())
}

fn file(name: &str, content: &str) -> (String, String) {
    (name.to_owned(), content.to_owned())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| file(name, value)).collect()
}

/// The event as everybody gets it: a JSON object, since that is what people publish.
fn json_body(_channel: &str, data: &str, body: &mut Vec<u8>) {
    for part in [r#"{"message":""#, data, r#""}"#] {
        body.extend_from_slice(part.as_bytes());
    }
}

/// The same as a field of a form. Data is letters, digits and `-`, and needs no escapes; the JSON around it does.
fn mercure_body(channel: &str, data: &str, body: &mut Vec<u8>) {
    for part in ["topic=", channel, "&data=%7B%22message%22%3A%22", data, "%22%7D"] {
        body.extend_from_slice(part.as_bytes());
    }
}

/// The same in Centrifugo's envelope, to the one channel that the token allows.
fn centrifugo_body(channel: &str, data: &str, body: &mut Vec<u8>) {
    body.extend_from_slice(br#"{"channel":"main","data":"#);
    json_body(channel, data, body);
    body.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(peer: Peer) -> String {
        let mut body = Vec::new();
        (peer.subject(PathBuf::from("x"), "y").publish.body)("news", "0000-1", &mut body);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn everybody_gets_the_same_event() {
        for peer in Peer::ALL {
            let expected = match peer {
                Peer::Mercure => "topic=news&data=%7B%22message%22%3A%220000-1%22%7D",
                Peer::Centrifugo => r#"{"channel":"main","data":{"message":"0000-1"}}"#,
                _ => r#"{"message":"0000-1"}"#,
            };
            assert_eq!(body(peer), expected, "{peer:?}");
        }
    }

    #[test]
    fn every_peer_is_in_the_list_once() {
        let listed: Vec<Peer> = <Peer as clap::ValueEnum>::value_variants().to_vec();
        assert_eq!(listed, Peer::ALL);
    }

    #[test]
    fn nothing_but_what_the_server_fills_in_is_left_in_braces() {
        let Start::Process(process) = Peer::Nchan.subject(PathBuf::from("nginx"), "/modules").start else { panic!() };
        let (_, content) = &process.files[0];
        assert!(content.contains("load_module /modules/ngx_nchan_module.so;"), "{content}");
        assert!(content.contains("listen 127.0.0.1:{port};") && content.contains("pid {data}/nginx.pid;"));
    }
}
