//! A WebSocket, from the client's side: the handshake, then the server's frames (RFC 6455). It answers pings and knows
//! where messages begin; what is in them is nothing to it. [`Frames`] is the reading alone, for what speaks on top.

use crate::dialect::Dialect;

/// A key as the handshake wants one. The server only proves by it that it speaks WebSocket.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Bytes that hide what a client sends from proxies (RFC 6455, section 5.3). There is none here to hide it from.
const MASK: [u8; 4] = [0x3F, 0xA1, 0x5C, 0x72];

/// Bytes that are kept of a frame's payload: all of a control frame's (section 5.5), the beginning of others.
const HEAD_BYTES: usize = 125;

/// Bytes of a frame's own header at most: two, eight of length; a server doesn't mask.
const HEADER_BYTES: usize = 10;

/// Bytes of a response's head at most; what has more is no server of ours.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// What a frame carries, as far as it matters here (section 5.2).
pub(super) mod opcode {
    /// A message of text.
    pub(in crate::dialect) const TEXT: u8 = 0x1;
    /// A question whether the other side is there.
    pub(in crate::dialect) const PING: u8 = 0x9;
    /// The answer to it.
    pub(in crate::dialect) const PONG: u8 = 0xA;
}

/// A WebSocket on which the server sends messages as they are.
#[derive(Debug, Default)]
pub struct WebSocket {
    frames: Frames,
}

impl Dialect for WebSocket {
    fn open(&mut self, host: &str, path: &str, _last_event_id: Option<&str>) -> Vec<u8> {
        self.frames = Frames::default();
        handshake(host, path)
    }

    fn received(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> bool {
        self.frames.push(bytes, |opcode, payload| {
            if opcode == opcode::PING {
                send(opcode::PONG, payload, reply);
            }
        })
    }
}

/// The request that turns a connection into a WebSocket.
pub(super) fn handshake(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Appends a frame of a client's. Only the first 125 bytes of the payload fit into this short form.
pub(super) fn send(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let payload = payload.get(..HEAD_BYTES).unwrap_or(payload);
    out.extend([0x80 | opcode, 0x80 | payload.len() as u8]);
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Reads the server's answer to the handshake and then its frames, however the bytes are cut.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
    /// What was read of the part that isn't whole yet: response, header, or the kept beginning of a payload.
    part: Vec<u8>,
}

/// Where [`Frames`] reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// In the response to the handshake.
    #[default]
    Response,
    /// In a frame's header.
    Header,
    /// In a frame's payload.
    Payload { opcode: u8, left: u64 },
    /// Behind a response that is none to a handshake.
    Refused,
}

impl Frames {
    /// Takes bytes and calls `frame` for each frame that ends in them, with its opcode and the beginning of its payload.
    /// Tells whether the handshake is over.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8, &[u8])) -> bool {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Response => self.response(bytes),
                At::Header => self.header(bytes, &mut frame),
                At::Payload { opcode, left } => self.payload(bytes, opcode, left, &mut frame),
                At::Refused => break,
            };
        }
        !matches!(self.at, At::Response | At::Refused)
    }

    /// Reads one byte at a time: a response is short, and comes once.
    fn response<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        self.part.push(byte);
        if self.part.ends_with(b"\r\n\r\n") {
            let switched = self.part.starts_with(b"HTTP/1.1 101 ");
            self.next(if switched { At::Header } else { At::Refused });
        } else if self.part.len() > RESPONSE_BYTES_MAX {
            self.next(At::Refused);
        }
        rest
    }

    fn header<'a>(&mut self, bytes: &'a [u8], frame: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        self.part.push(byte);
        if let Some((opcode, left)) = header(&self.part) {
            self.next(At::Payload { opcode, left });
            if left == 0 {
                frame(opcode, &[]);
                self.next(At::Header);
            }
        }
        rest
    }

    fn payload<'a>(&mut self, bytes: &'a [u8], opcode: u8, left: u64, frame: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (payload, rest) = bytes.split_at(here);
        let kept = HEAD_BYTES.saturating_sub(self.part.len()).min(payload.len());
        self.part.extend(payload.get(..kept).unwrap_or_default());
        let left = left.saturating_sub(here as u64);
        if left == 0 {
            frame(opcode, &self.part);
            self.next(At::Header);
        } else {
            self.at = At::Payload { opcode, left };
        }
        rest
    }

    fn next(&mut self, at: At) {
        self.at = at;
        self.part.clear();
    }
}

/// Opcode and length of payload in a whole header; `None` of one that isn't whole.
fn header(bytes: &[u8]) -> Option<(u8, u64)> {
    debug_assert!(bytes.len() <= HEADER_BYTES, "a header is read as soon as it is whole");
    let opcode = bytes.first()? & 0x0F;
    // A client's bit, which a server must not set, is ignored: the mask would be read as payload.
    let length = match bytes.get(1)? & 0x7F {
        126 => u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        127 => u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?),
        short => u64::from(short),
    };
    Some((opcode, length))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// A frame of a server's.
    pub(in crate::dialect) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            short @ ..126 => frame.push(short as u8),
            middle @ ..65_536 => {
                frame.push(126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        [frame, payload.to_vec()].concat()
    }

    /// The response to the handshake, then these frames.
    pub(in crate::dialect) fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        [RESPONSE.to_vec(), frames.concat()].concat()
    }

    /// What a client's frames say, unmasked.
    pub(in crate::dialect) fn said(mut bytes: &[u8]) -> Vec<(u8, String)> {
        let mut said = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[1] & 0x80, 0x80, "a client masks");
            let end = 6 + usize::from(bytes[1] & 0x7F);
            let payload = bytes[6..end].iter().zip(bytes[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask);
            said.push((bytes[0] & 0x0F, String::from_utf8(payload.collect()).unwrap()));
            bytes = &bytes[end..];
        }
        said
    }

    /// What a dialect replies to these bytes, cut in two at each place, and byte by byte; always the same.
    pub(in crate::dialect) fn replies<D: Dialect>(dialect: impl Fn() -> D, bytes: &[u8]) -> Vec<u8> {
        let take = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut dialect, mut reply) = (dialect(), Vec::new());
            dialect.open("localhost", "/", None);
            let mut open = false;
            for piece in pieces {
                let now = dialect.received(piece, &mut reply);
                assert!(now || !open, "what is open stays so");
                open = now;
            }
            assert!(open);
            reply
        };
        let whole = take(&mut std::iter::once(bytes));
        assert_eq!(take(&mut bytes.chunks(1)), whole);
        for at in 0..bytes.len() {
            let (before, after) = bytes.split_at(at);
            assert_eq!(take(&mut [before, after].into_iter()), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn pings_are_answered_with_their_own_payload_wherever_the_bytes_are_cut() {
        let bytes = stream(&[
            frame(opcode::TEXT, b"hello"),
            frame(opcode::PING, b""),
            frame(opcode::TEXT, &[b'x'; 300]),
            frame(opcode::PING, b"still there?"),
        ]);
        let reply = replies(WebSocket::default, &bytes);
        assert_eq!(said(&reply), [(opcode::PONG, String::new()), (opcode::PONG, "still there?".to_owned())]);
    }

    #[test]
    fn frames_of_every_length_are_told_with_their_beginning() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let bytes = stream(&[frame(opcode::TEXT, &vec![b'y'; length]), frame(opcode::PING, b"end")]);
            let mut told = Vec::new();
            let mut frames = Frames::default();
            for piece in bytes.chunks(1_000) {
                frames.push(piece, |opcode, payload| told.push((opcode, payload.to_vec())));
            }
            let beginning = vec![b'y'; length.min(HEAD_BYTES)];
            assert_eq!(told, [(opcode::TEXT, beginning), (opcode::PING, b"end".to_vec())], "{length}");
        }
    }

    #[test]
    fn who_refuses_the_handshake_is_never_open() {
        let mut frames = Frames::default();
        let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n\x81\x00";
        assert!(!frames.push(refusal, |_, _| panic!("there are no frames")));
    }

    #[test]
    fn the_handshake_says_what_a_server_asks_for() {
        let request = String::from_utf8(WebSocket::default().open("localhost:1", "/x", None)).unwrap();
        assert!(request.starts_with("GET /x HTTP/1.1\r\nHost: localhost:1\r\n") && request.ends_with("\r\n\r\n"));
        assert!(request.contains("Upgrade: websocket") && request.contains("Sec-WebSocket-Version: 13"));
    }
}
