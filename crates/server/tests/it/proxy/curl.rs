//! A client that speaks what the harness doesn't: TLS, and HTTP/2 with and without it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use fanfare_wire::{Decoder, Item};

use super::process::{NAME, Proxy};
use crate::harness::{Address, Heard};

/// How a request reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    PlainH2,
    Tls,
    TlsH2,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [Self::Plain, Self::PlainH2, Self::Tls, Self::TlsH2];

    /// The head's first word.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Plain | Self::Tls => "HTTP/1.1",
            Self::PlainH2 | Self::TlsH2 => "HTTP/2",
        }
    }

    /// A command that asks a proxy for a path, by the name under which it is known, and writes head and body.
    fn command(self, proxy: &Proxy, path: &str) -> Command {
        let (flag, scheme, addr) = match self {
            Self::Plain => ("--http1.1", "http", proxy.addr()),
            Self::PlainH2 => ("--http2-prior-knowledge", "http", proxy.clear_h2),
            Self::Tls => ("--http1.1", "https", proxy.tls),
            Self::TlsH2 => ("--http2", "https", proxy.tls),
        };
        let mut command = Command::new("curl");
        let resolve = format!("{NAME}:{}:{}", addr.port(), addr.ip());
        command
            .args(["--silent", "--show-error", "--insecure", "--no-buffer", "--include", "--noproxy", "*", flag])
            .args(["--resolve", &resolve, &format!("{scheme}://{NAME}:{}{path}", addr.port())]);
        command
    }
}

/// A stream that curl reads.
pub(super) struct Curl {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The lines of the head, in lower case but for the first.
    pub(super) head: Vec<String>,
    decoder: Decoder,
}

impl Curl {
    /// Opens a stream, which ends by itself after `seconds`.
    pub(super) fn open(way: Way, proxy: &Proxy, path: &str, headers: &[&str], seconds: u64) -> Self {
        let mut command = way.command(proxy, path);
        command.args(["--max-time", &seconds.to_string()]);
        for header in headers {
            command.args(["--header", header]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("curl is installed");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "{way:?} {path}: no whole head, only {head:?}");
            match line.trim_end() {
                "" => break,
                line if head.is_empty() => head.push(line.to_owned()),
                line => head.push(line.to_ascii_lowercase()),
            }
        }
        Self { child, output, head, decoder: Decoder::new() }
    }

    /// What comes next, whatever it is; nothing at the end.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut chunk = vec![0; 64 * 1024];
        let count = self.output.read(&mut chunk).unwrap();
        chunk.truncate(count);
        chunk
    }

    /// All bytes until some text has come, that included and what came with it.
    pub(super) fn read_until(&mut self, text: &str) -> Vec<u8> {
        let mut read: Vec<u8> = Vec::new();
        let mut looked = 0;
        while !read[looked..].windows(text.len()).any(|window| window == text.as_bytes()) {
            looked = read.len().saturating_sub(text.len());
            let chunk = self.read();
            assert!(!chunk.is_empty(), "the stream ended before {text:?}");
            read.extend(chunk);
        }
        read
    }

    /// The next event, or `None` at the end of the stream.
    pub(super) fn any(&mut self) -> Option<Heard> {
        loop {
            match self.decoder.next() {
                Some(item) => {
                    if let Item::Event(event) = item.expect("the stream is well formed") {
                        return Some(Heard { id: event.id, event: event.event, data: event.data });
                    }
                }
                None => match self.read() {
                    chunk if chunk.is_empty() => return None,
                    chunk => self.decoder.push(&chunk),
                },
            }
        }
    }

    /// The next event with this name.
    pub(super) fn named(&mut self, name: &str) -> Heard {
        loop {
            let heard = self.any().unwrap_or_else(|| panic!("the stream ended before {name}"));
            if heard.event == name {
                return heard;
            }
        }
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts a file; gives the last head (there may be interim ones) and the body.
pub(super) fn post(way: Way, proxy: &Proxy, path: &str, file: &Path) -> (String, Vec<u8>) {
    let mut command = way.command(proxy, path);
    command.args(["--max-time", "60", "--data-binary"]).arg(format!("@{}", file.display()));
    let mut rest = command.output().expect("curl is installed").stdout;
    let mut head = Vec::new();
    while rest.starts_with(b"HTTP/") {
        let at = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a head is whole") + 4;
        let body = rest.split_off(at);
        head = std::mem::replace(&mut rest, body);
    }
    (String::from_utf8(head).unwrap(), rest)
}
