//! What leaves for a stream in one write: frames one behind the other, and where the stream stands after each of them, so
//! that it can go back to where its reader stopped taking.

use std::num::NonZeroU32;

use bytes::Bytes;

use crate::cursor::suffix;
use crate::position::Position;

/// Frames up to this size, in bytes, are copied when one of them is cut; of larger ones the rest is shared.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Memory that a portion keeps between uses, in bytes.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Where a stream stands after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The next slot of the window, or the next event of the page, whichever the frame came from.
    pub(crate) next: u64,
    /// Everything up to here was sent.
    pub(crate) sent: Position,
}

/// A frame's end within the portion.
#[derive(Debug)]
struct End {
    at: usize,
    mark: Mark,
    /// The frame itself, where it is large.
    large: Option<Bytes>,
}

/// Bytes to be written at once.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    bytes: Vec<u8>,
    /// None for the hub's own words, which are never taken back.
    ends: Vec<End>,
    /// The position of the last frame with an id, or none.
    told: Option<Position>,
}

/// What becomes of a portion of which only a part was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The rest of the frame that was cut, or of the hub's words. Must be sent before anything else.
    pub(crate) rest: Bytes,
    /// Where the stream stands after that; `None` where there were words only.
    pub(crate) mark: Option<Mark>,
}

impl Portion {
    /// Makes room for the next one.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.ends.clear();
        self.told = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The position of the last frame with an id, if there is one.
    pub(crate) fn told(&self) -> Option<Position> {
        self.told
    }

    /// Adds words of the hub's own. A portion has either words or frames.
    pub(crate) fn push_words(&mut self, words: &[u8]) {
        debug_assert!(self.ends.is_empty(), "words come alone");
        self.bytes.extend_from_slice(words);
    }

    /// Adds a frame, after which the stream stands at `mark`. `has_id` says whether it tells the client so.
    pub(crate) fn push_frame(&mut self, frame: &Bytes, mark: Mark, has_id: bool) {
        self.bytes.extend_from_slice(frame);
        let large = (frame.len() > COPIED_BYTES_MAX).then(|| frame.clone());
        self.ends.push(End { at: self.bytes.len(), mark, large });
        if has_id {
            self.told = Some(mark.sent);
        }
    }

    /// What is left to do when only `written` bytes were taken: the frame in which that falls is sent to its end, what comes
    /// behind it is as if it had not been there.
    pub(crate) fn cut(&self, written: usize) -> Cut {
        // Where nothing was taken, the first frame stands for the one that was cut.
        let first = self.ends.partition_point(|end| end.at < written.max(1));
        let Some(end) = self.ends.get(first) else {
            return Cut { rest: self.copied(written, self.bytes.len()), mark: None };
        };
        let rest = match &end.large {
            Some(frame) => frame.slice(frame.len() - (end.at - written)..),
            None => self.copied(written, end.at),
        };
        Cut { rest, mark: Some(end.mark) }
    }

    /// The same for a device: the ids of its frames end with its mark. Words have it already.
    pub(crate) fn marked(&self, device: NonZeroU32) -> Self {
        let suffix = suffix(device);
        let mut marked = Self { told: self.told, ..Self::default() };
        let mut from = 0;
        for end in &self.ends {
            let frame = self.bytes.get(from..end.at).unwrap_or_default();
            let line = frame.starts_with(b"id: ").then(|| frame.iter().position(|byte| *byte == b'\n')).flatten();
            let (id, rest) = frame.split_at(line.unwrap_or_default());
            let mark = if line.is_some() { suffix.as_bytes() } else { b"" };
            marked.push_frame(&[id, mark, rest].concat().into(), end.mark, false);
            from = end.at;
        }
        if self.ends.is_empty() { Self { bytes: self.bytes.clone(), ..marked } } else { marked }
    }

    fn copied(&self, from: usize, to: usize) -> Bytes {
        Bytes::copy_from_slice(self.bytes.get(from..to).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(next: u64) -> Mark {
        Mark { next, sent: Position::new(1, next) }
    }

    #[test]
    fn a_cut_leaves_the_rest_of_one_frame_and_the_place_behind_it() {
        let large = Bytes::from(vec![b'x'; COPIED_BYTES_MAX + 1]);
        let frames = [Bytes::from_static(b"one\n\n"), Bytes::from_static(b"three\n\n"), large];
        let mut portion = Portion::default();
        for (next, frame) in (1..).zip(&frames) {
            portion.push_frame(frame, mark(next), true);
        }
        let ends: Vec<usize> = vec![5, 12, 12 + frames[2].len()];
        for written in 0..portion.len() {
            let Cut { rest, mark: after } = portion.cut(written);
            let which = ends.iter().position(|end| *end >= written.max(1)).unwrap();
            assert_eq!(rest, portion.bytes()[written..ends[which]], "after {written} bytes");
            assert_eq!(after, Some(mark(which as u64 + 1)), "after {written} bytes");
        }
        assert_eq!(portion.told(), Some(Position::new(1, 3)));
    }

    #[test]
    fn words_are_never_taken_back() {
        let mut portion = Portion::default();
        portion.push_words(b"hello");
        portion.push_words(b" world");
        assert_eq!(portion.cut(3), Cut { rest: Bytes::from_static(b"lo world"), mark: None });
    }

    #[test]
    fn the_ids_of_a_devices_frames_have_its_mark_and_cuts_fall_where_they_should() {
        let large = Bytes::from([&b"id: c\ndata: "[..], &[b'x'; COPIED_BYTES_MAX], b"\n\n"].concat());
        let frames = [Bytes::from_static(b"id: a\ndata: id: 1\n\n"), Bytes::from_static(b"data: b\n\n"), large];
        let mut portion = Portion::default();
        for (next, frame) in (1..).zip(&frames) {
            portion.push_frame(frame, mark(next), next != 2);
        }
        let marked = portion.marked(NonZeroU32::new(0xabc).unwrap());
        let text = std::str::from_utf8(marked.bytes()).unwrap();
        let (small, of_large) = text.split_at(37);
        assert_eq!(small, "id: a_00000abc\ndata: id: 1\n\ndata: b\n\n");
        assert!(of_large.starts_with("id: c_00000abc\ndata: xx") && of_large.ends_with("x\n\n"));
        assert_eq!(marked.told(), portion.told());
        for (written, end, next) in [(0, 28, 1), (28, 28, 1), (29, 37, 2), (40, text.len(), 3)] {
            let Cut { rest, mark: after } = marked.cut(written);
            assert_eq!((&rest[..], after), (&marked.bytes()[written..end], Some(mark(next))), "after {written} bytes");
        }
        let mut words = Portion::default();
        words.push_words(b"id: w\n\n");
        assert_eq!(words.marked(NonZeroU32::MIN).bytes(), b"id: w\n\n");
    }
}
