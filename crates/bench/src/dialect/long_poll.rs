//! Long polling, from the client's side: each answer says which event came last (`{"last":17,"events":[…]}`), and the next
//! poll asks for what comes after it. The connection is kept from poll to poll, as browsers keep theirs.

use crate::dialect::Dialect;

/// Bytes of an answer's head at most; what has more is no server of ours.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes that are kept of an answer's body: it begins with the number that the next poll needs.
const BODY_BYTES_KEPT: usize = 32;

/// A client that polls again as soon as it was answered.
#[derive(Debug, Default)]
pub struct LongPoll {
    host: String,
    path: String,
    at: At,
    /// What was read of the head, or of the beginning of the body.
    part: Vec<u8>,
    /// Whether the first answer has come: from then on the server keeps what this client doesn't know; set once.
    open: bool,
}

/// Where it reads.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    /// In an answer's head.
    #[default]
    Head,
    /// In its body, of which this many bytes are left.
    Body(usize),
    /// Behind an answer that is none of a server of ours.
    Refused,
}

impl Dialect for LongPoll {
    fn open(&mut self, host: &str, path: &str, last_event_id: Option<&str>) -> Vec<u8> {
        *self = Self { host: host.to_owned(), path: path.to_owned(), ..Self::default() };
        let mut request = Vec::new();
        self.poll(last_event_id, &mut request);
        request
    }

    fn received(&mut self, mut bytes: &[u8], reply: &mut Vec<u8>) -> bool {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Head => self.head(bytes),
                At::Body(left) => self.body(bytes, left, reply),
                At::Refused => break,
            };
        }
        self.open
    }
}

impl LongPoll {
    fn poll(&self, after: Option<&str>, out: &mut Vec<u8>) {
        let Self { host, path, .. } = self;
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        out.extend(format!("GET {path}{query} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        self.part.push(byte);
        if self.part.ends_with(b"\r\n\r\n") {
            // An answer without a body can't say where to go on.
            self.at = body_bytes(&self.part).filter(|&bytes| bytes > 0).map_or(At::Refused, At::Body);
            self.part.clear();
        } else if self.part.len() > HEAD_BYTES_MAX {
            self.at = At::Refused;
        }
        rest
    }

    fn body<'a>(&mut self, bytes: &'a [u8], left: usize, reply: &mut Vec<u8>) -> &'a [u8] {
        let (body, rest) = bytes.split_at(left.min(bytes.len()));
        let kept = BODY_BYTES_KEPT.saturating_sub(self.part.len()).min(body.len());
        self.part.extend(body.get(..kept).unwrap_or_default());
        self.at = At::Body(left - body.len());
        if left == body.len() {
            self.answered(reply);
        }
        rest
    }

    /// An answer is whole: the next poll.
    fn answered(&mut self, reply: &mut Vec<u8>) {
        self.at = At::Refused;
        if let Some(last) = last(&self.part) {
            self.poll(Some(&last), reply);
            self.open = true;
            self.at = At::Head;
        }
        self.part.clear();
    }
}

/// How long the body is that follows this head; `None` of an answer that isn't 200 or doesn't say.
fn body_bytes(head: &[u8]) -> Option<usize> {
    let head = str::from_utf8(head).ok()?;
    let fields = head.strip_prefix("HTTP/1.1 200 ")?.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next()?.1.trim().parse().ok()
}

/// The number of the last event, from the beginning of an answer's body.
fn last(body: &[u8]) -> Option<String> {
    let digits = body.strip_prefix(br#"{"last":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    Some(String::from_utf8_lossy(digits.get(..end)?).into_owned()).filter(|digits| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::web_socket::tests::replies;

    fn answer(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nETag: W/\"x\"\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn every_answer_is_followed_by_a_poll_for_what_comes_after_wherever_the_bytes_are_cut() {
        let answers =
            [answer(r#"{"last":7,"events":[]}"#), answer(r#"{"last":19,"events":[{"from":"0000","number":"1"}]}"#)];
        let reply = String::from_utf8(replies(LongPoll::default, &answers.concat())).unwrap();
        let polls = ["GET /?after=7 HTTP/1.1", "GET /?after=19 HTTP/1.1"];
        assert_eq!(reply, polls.map(|poll| format!("{poll}\r\nHost: localhost\r\n\r\n")).concat());
    }

    #[test]
    fn the_first_poll_asks_only_where_to_begin_unless_that_is_known() {
        let mut client = LongPoll::default();
        assert!(client.open("localhost", "/poll", None).starts_with(b"GET /poll HTTP/1.1\r\n"));
        assert!(client.open("localhost", "/poll", Some("7")).starts_with(b"GET /poll?after=7 HTTP/1.1\r\n"));
    }

    #[test]
    fn who_answers_something_else_isnt_asked_again() {
        for nonsense in ["HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n"] {
            let (mut client, mut reply) = (LongPoll::default(), Vec::new());
            assert!(!client.received(nonsense.as_bytes(), &mut reply));
            assert!(!client.received(&answer(r#"{"last":7,"events":[]}"#), &mut reply));
            assert!(reply.is_empty());
        }
        assert_eq!(last(br#"{"last":"#), None);
        assert_eq!(last(br#"{"last":,"#), None);
    }
}
