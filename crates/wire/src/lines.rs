//! Lines: where one ends, for the encoder (text at rest) and for the decoder (bytes that arrive in pieces).
//!
//! A line ends at CRLF, at LF or at a lone CR (WHATWG HTML 9.2.6). This room knows nothing of fields or events. Bytes
//! enter at [`LineBuffer::push`] and leave at [`LineBuffer::next_line`], still undecoded: no byte of a multi-byte UTF-8
//! sequence looks like CR or LF, so decoding line by line gives what decoding the whole stream would.

/// The UTF-8 form of U+FEFF; one of them at the very beginning of a stream is not part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How much room for input an idle decoder keeps, in bytes: a usual read. What a long line took beyond it is freed.
const INPUT_BYTES_KEPT: usize = 64 * 1024;

/// How many bytes [`line_end`] looks at in one step.
const STEP: usize = 32;

/// The position of the first CR or LF in `bytes`.
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |byte: u8| byte == b'\r' || byte == b'\n';
    // Each step is judged as a whole, without an early exit, so that the compiler can use wide registers.
    let (steps, _) = bytes.as_chunks::<STEP>();
    let clean = steps.iter().take_while(|step| !step.iter().fold(false, |any, &byte| any | is_end(byte))).count();
    let from = clean * STEP;
    bytes.iter().skip(from).position(|&byte| is_end(byte)).map(|at| from + at)
}

/// The lines of a text at rest; a text that ends with a line end has an empty last line.
pub(crate) struct Lines<'a> {
    /// What is still to be split; `None` once the last line was given.
    rest: Option<&'a [u8]>,
}

impl<'a> Lines<'a> {
    /// Splits `text` at every CRLF, CR and LF. An empty text is one empty line.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: Some(text.as_bytes()) }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let Some(end) = line_end(rest) else { return Some(rest) };
        let (line, after) = rest.split_at(end);
        self.rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..));
        Some(line)
    }
}

/// Bytes of a stream between their arrival and the moment their line is complete.
#[derive(Debug)]
pub(crate) struct LineBuffer {
    /// The longest line allowed, in bytes without its line end.
    line_bytes_max: usize,
    /// Bytes that arrived; written by `push`, emptied by `forget_read`.
    input: Vec<u8>,
    /// Where in `input` the line being read begins; everything before it has been read.
    start: usize,
    /// How many bytes from `start` on are known to hold no line end, so that none is searched twice.
    searched: usize,
    /// Whether the stream's first bytes are still to be tested for a byte order mark.
    at_beginning: bool,
    /// Whether the last line ended with CR, so that an LF, whenever it comes, belongs to that line end.
    after_cr: bool,
}

/// A line is longer than the limit.
#[derive(Debug)]
pub(crate) struct LineTooLong;

impl LineBuffer {
    /// An empty buffer at the beginning of a stream.
    pub(crate) fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, input: Vec::new(), start: 0, searched: 0, at_beginning: true, after_cr: false }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.forget_read();
        self.input.extend_from_slice(bytes);
    }

    /// The next complete line without its line end, or `None` until more bytes come.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`] as soon as a line, complete or not, is over the limit.
    pub(crate) fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        if !self.skip_byte_order_mark() || !self.skip_lf_of_crlf() {
            return Ok(None);
        }
        let line = self.pending();
        let unsearched = line.get(self.searched..).unwrap_or_default();
        let end = line_end(unsearched).map(|at| self.searched + at);
        let length = end.unwrap_or(line.len());
        if length > self.line_bytes_max {
            return Err(LineTooLong);
        }
        if end.is_none() {
            self.searched = length;
            self.forget_read();
            return Ok(None);
        }
        // A lone CR ends a line at once: waiting to see whether an LF follows would hold back the event (9.2.6).
        self.after_cr = line.get(length) == Some(&b'\r');
        let range = self.start..self.start + length;
        self.start = range.end + 1;
        self.searched = 0;
        Ok(self.input.get(range))
    }

    /// The bytes not read yet.
    fn pending(&self) -> &[u8] {
        self.input.get(self.start..).unwrap_or_default()
    }

    /// Passes over one leading byte order mark; `false` while the bytes so far may still become one.
    fn skip_byte_order_mark(&mut self) -> bool {
        if self.at_beginning {
            let pending = self.pending();
            if pending.starts_with(BYTE_ORDER_MARK) {
                self.start += BYTE_ORDER_MARK.len();
            } else if BYTE_ORDER_MARK.starts_with(pending) {
                return false;
            }
            self.at_beginning = false;
        }
        true
    }

    /// Passes over the LF of a CRLF whose CR has been read; `false` while it is unknown whether there is one.
    fn skip_lf_of_crlf(&mut self) -> bool {
        if self.after_cr {
            match self.pending().first() {
                None => return false,
                Some(b'\n') => self.start += 1,
                Some(_) => {}
            }
            self.after_cr = false;
        }
        true
    }

    /// Gives back the room of what has been read.
    fn forget_read(&mut self) {
        self.input.drain(..self.start);
        self.start = 0;
        self.input.shrink_to(INPUT_BYTES_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_found_at_every_position_and_nowhere_else() {
        for length in 0..100 {
            assert_eq!(line_end(&vec![b'x'; length]), None);
            for at in 0..length {
                for end in *b"\r\n" {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = end;
                    bytes[length - 1] = end;
                    assert_eq!(line_end(&bytes), Some(at), "length {length}");
                }
            }
        }
    }

    #[test]
    fn text_at_rest_splits_at_crlf_cr_and_lf() {
        let lines = |text| Lines::new(text).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>();
        assert_eq!(lines(""), [""]);
        assert_eq!(lines("a\r\nb\rc\nd"), ["a", "b", "c", "d"]);
        assert_eq!(lines("a\n"), ["a", ""]);
        assert_eq!(lines("\n\r\r\n"), ["", "", "", ""]);
    }

    #[test]
    fn read_bytes_are_forgotten_and_a_long_lines_room_is_given_back() {
        let mut lines = LineBuffer::new(usize::MAX);
        for _ in 0..100 {
            lines.push(&[b'x'; 10_000]);
            assert!(matches!(lines.next_line(), Ok(None)));
        }
        assert_eq!(lines.input.len(), 1_000_000);
        lines.push(b"\ntail");
        assert_eq!(lines.next_line().ok().flatten().map(<[u8]>::len), Some(1_000_000));
        assert!(matches!(lines.next_line(), Ok(None)));
        assert_eq!(lines.input, b"tail");
        assert!(lines.input.capacity() <= INPUT_BYTES_KEPT);
    }

    #[test]
    fn taking_lines_late_does_not_let_read_bytes_pile_up() {
        let mut lines = LineBuffer::new(100);
        lines.push(b"first\nsecond\n");
        for _ in 0..1_000 {
            lines.push(b"next\n");
            assert!(matches!(lines.next_line(), Ok(Some(_))));
        }
        assert!(lines.input.len() < 20, "{} bytes", lines.input.len());
    }
}
