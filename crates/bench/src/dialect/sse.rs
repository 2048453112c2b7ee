//! Server-Sent Events: one request, and then only bytes that arrive.

use crate::dialect::Dialect;

/// The end of a response's head (RFC 9112, section 2.1).
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A stream of Server-Sent Events. It is open when anything behind the response's head has arrived: servers that need a
/// moment to join their listeners send a first frame only then.
#[derive(Debug, Default)]
pub struct Sse {
    /// How many bytes of [`END_OF_HEAD`] arrived in a row; written until the head has ended.
    matched: u8,
    /// Whether the stream is open. Never goes back.
    is_open: bool,
    /// Whether the end of the head is enough, since the server sends nothing of its own.
    opens_with_head: bool,
}

impl Sse {
    /// A stream that counts as open with the head of the response.
    pub fn opens_with_head() -> Self {
        Self { opens_with_head: true, ..Self::default() }
    }

    /// Whether the head has ended.
    fn has_head(&self) -> bool {
        usize::from(self.matched) == END_OF_HEAD.len()
    }
}

impl Dialect for Sse {
    fn open(&mut self, host: &str, path: &str, last_event_id: Option<&str>) -> Vec<u8> {
        let last = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{last}\r\n").into_bytes()
    }

    fn received(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> bool {
        if self.is_open {
            return true;
        }
        for byte in bytes {
            if self.has_head() {
                self.is_open = true;
                break;
            }
            let matched = usize::from(self.matched);
            self.matched = match END_OF_HEAD.get(matched) {
                Some(expected) if expected == byte => self.matched + 1,
                _ => u8::from(*byte == b'\r'),
            };
        }
        self.is_open |= self.opens_with_head && self.has_head();
        self.is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n:\n\n";

    #[test]
    fn a_stream_is_open_when_the_body_begins_however_the_bytes_are_split() {
        let body_at = RESPONSE.len() - 3;
        for split in 0..RESPONSE.len() {
            let mut sse = Sse::default();
            let (first, second) = RESPONSE.split_at(split);
            assert_eq!(sse.received(first, &mut vec![]), split > body_at, "{split}");
            assert!(sse.received(second, &mut vec![]));
        }
    }

    #[test]
    fn where_the_server_says_nothing_the_head_is_enough() {
        let mut sse = Sse::opens_with_head();
        assert!(!sse.received(b"HTTP/1.1 200 OK\r\n\r", &mut vec![]));
        assert!(sse.received(b"\n", &mut vec![]));
    }

    #[test]
    fn the_last_id_is_sent_where_there_is_one() {
        let request = |id| String::from_utf8(Sse::default().open("h", "/p", id)).unwrap();
        assert!(request(Some("7")).contains("\r\nLast-Event-ID: 7\r\n"));
        assert!(!request(None).contains("Last-Event-ID"));
    }
}
