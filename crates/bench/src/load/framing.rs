//! What HTTP/1.1 puts around the bytes of a response: its head, and chunks where it says so (RFC 9112, section 7.1). A
//! chunk may cut an event anywhere, so chunks are taken apart before anybody looks for events.

use memchr::memmem;

/// Where a connection is in its responses.
#[derive(Debug)]
pub(super) enum Framing {
    /// In a head, of which this has arrived.
    Head(Vec<u8>),
    /// In a body that goes on to the end of the connection, or isn't HTTP.
    Raw,
    /// In a chunk's data, of which so many bytes are to come.
    Chunk(u64),
    /// In the lines between two chunks: what has been read of the size, and where in the line.
    Between { size: u64, line: Line },
}

/// Where in the lines between two chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Behind a chunk's data: its line end follows.
    Before,
    /// In the digits of the size.
    Size,
    /// In an extension or at the line's end.
    Rest,
    /// In the empty line behind the last chunk: another response may follow.
    Last,
}

/// A response that is not the answer to a stream's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) u16);

impl Framing {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        Self::Head(Vec::new())
    }

    /// Takes apart what arrived: moves what belongs to bodies to the front of `bytes` and tells how much that is, and
    /// where it begins.
    pub(super) fn strip(&mut self, bytes: &mut [u8]) -> Result<std::ops::Range<usize>, Refusal> {
        if matches!(self, Self::Raw) {
            return Ok(0..bytes.len());
        }
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() {
            match self {
                Self::Raw if to == 0 => return Ok(from..bytes.len()),
                Self::Raw => {
                    bytes.copy_within(from.., to);
                    to += bytes.len() - from;
                    from = bytes.len();
                }
                Self::Head(_) => from += self.head(bytes.get(from..).unwrap_or_default())?,
                Self::Chunk(left) => {
                    let count = (*left).min((bytes.len() - from) as u64) as usize;
                    bytes.copy_within(from..from + count, to);
                    (from, to) = (from + count, to + count);
                    *left -= count as u64;
                    if *left == 0 {
                        *self = Self::Between { size: 0, line: Line::Before };
                    }
                }
                Self::Between { .. } => {
                    self.between(bytes.get(from).copied().unwrap_or_default());
                    from += 1;
                }
            }
        }
        Ok(0..to)
    }

    /// Takes bytes of a head. How many of them belong to it.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let Self::Head(head) = self else { return Ok(0) };
        let before = head.len();
        head.extend_from_slice(bytes);
        if !head.starts_with(b"HTTP/".get(..head.len().min(5)).unwrap_or_default()) {
            *self = Self::Raw;
            return Ok(0);
        }
        let Some(end) = memmem::find(head, b"\r\n\r\n") else { return Ok(bytes.len()) };
        head.truncate(end);
        head.make_ascii_lowercase();
        let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
        let is_chunked = memmem::find(head, b"\r\ntransfer-encoding: chunked").is_some();
        *self = if is_chunked { Self::Between { size: 0, line: Line::Size } } else { Self::Raw };
        if matches!(status, 101 | 200) { Ok(end + 4 - before) } else { Err(Refusal(status)) }
    }

    /// Takes a byte between two chunks.
    fn between(&mut self, byte: u8) {
        let Self::Between { size, line } = self else { return };
        match (*line, byte) {
            (Line::Before, b'\n') => *line = Line::Size,
            (Line::Last, b'\n') => *self = Self::new(),
            (Line::Before | Line::Rest | Line::Last, byte) if byte != b'\n' => {}
            (Line::Size, byte) if byte.is_ascii_hexdigit() => {
                *size = *size * 16 + u64::from(char::from(byte).to_digit(16).unwrap_or(0));
            }
            (Line::Size, byte) if byte != b'\n' => *line = Line::Rest,
            // The last chunk is empty.
            _ if *size == 0 => *line = Line::Last,
            _ => *self = Self::Chunk(*size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(response: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
        let mut framing = Framing::new();
        let mut body = Vec::new();
        for piece in response.chunks(size) {
            let mut piece = piece.to_vec();
            let range = framing.strip(&mut piece)?;
            body.extend_from_slice(&piece[range]);
        }
        Ok(body)
    }

    #[test]
    fn chunks_are_taken_apart_however_they_are_split() {
        let response =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n1\r\n!\r\n";
        for size in 1..=response.len() {
            assert_eq!(stripped(response, size).unwrap(), b"abc0123456789!", "{size}");
        }
    }

    #[test]
    fn a_body_without_chunks_is_left_alone() {
        let response = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n3\r\nabc";
        for size in 1..=response.len() {
            assert_eq!(stripped(response, size).unwrap(), b"3\r\nabc", "{size}");
            assert_eq!(stripped(b"hello\r\n\r\n", size.min(9)).unwrap(), b"hello\r\n\r\n");
        }
    }

    #[test]
    fn behind_the_last_chunk_another_response_may_follow() {
        let response =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nb";
        for size in 1..=response.len() {
            assert_eq!(stripped(response, size).unwrap(), b"ab", "{size}");
        }
    }

    #[test]
    fn a_refusal_tells_its_status() {
        assert_eq!(stripped(b"HTTP/1.1 503 No\r\n\r\n", 4), Err(Refusal(503)));
    }
}
