//! The tape: the frames of all events, one behind the other, and where each stream is on it. Places count from the first
//! byte ever written, and are the events' ids.

use std::collections::VecDeque;

/// The newest frames, as they go out.
#[derive(Debug)]
pub(super) struct Tape {
    bytes: Vec<u8>,
    /// The place of the first byte that is still there.
    base: u64,
    /// Where each frame ends; kept only where every event leaves alone.
    ends: Option<VecDeque<u64>>,
    /// Bytes that stay although no open stream needs them.
    window_bytes: usize,
}

impl Tape {
    pub(super) fn new(window_bytes: usize, keeps_ends: bool) -> Self {
        Self { bytes: Vec::new(), base: 0, ends: keeps_ends.then(VecDeque::new), window_bytes }
    }

    /// The place behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The nearest place to this that is on the tape.
    pub(super) fn clamp(&self, place: u64) -> u64 {
        place.clamp(self.base, self.end())
    }

    /// Writes frames, which end at these places.
    pub(super) fn append(&mut self, frames: &[u8], ends: &[u64]) {
        self.bytes.extend_from_slice(frames);
        if let Some(kept) = &mut self.ends {
            kept.extend(ends);
        }
    }

    /// What a stream at this place gets next: everything up to `bytes_max`, or one frame where each leaves alone.
    pub(super) fn from(&self, place: u64, bytes_max: usize) -> &[u8] {
        let start = place.saturating_sub(self.base) as usize;
        let end = match &self.ends {
            None => self.bytes.len().min(start + bytes_max),
            Some(ends) => {
                let next = ends.partition_point(|end| *end <= place);
                ends.get(next).map_or(start, |end| (end - self.base) as usize)
            }
        };
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Whether it has grown so far beyond its window that it is worth asking what is still needed.
    pub(super) fn is_long(&self) -> bool {
        self.bytes.len() > 2 * self.window_bytes
    }

    /// Lets go of what is older than the window and before `needed`, the least place of all streams.
    pub(super) fn trim(&mut self, needed: u64) {
        let base = needed.min(self.end().saturating_sub(self.window_bytes as u64)).max(self.base);
        // Moving the rest to the front must not cost more than writing it did.
        if (base - self.base) as usize * 2 < self.bytes.len() {
            return;
        }
        self.bytes.drain(..(base - self.base) as usize);
        self.base = base;
        if let Some(ends) = &mut self.ends {
            let gone = ends.partition_point(|end| *end <= base);
            ends.drain(..gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_stays_the_same_when_the_tape_is_trimmed() {
        let mut tape = Tape::new(4, false);
        tape.append(b"0123456789", &[]);
        assert_eq!(tape.from(2, 3), b"234");
        assert!(tape.is_long());
        tape.trim(5);
        assert_eq!((tape.from(5, 100), tape.from(6, 2)), (&b"56789"[..], &b"67"[..]));
        assert_eq!((tape.end(), tape.clamp(1), tape.clamp(99)), (10, 5, 10));
        tape.trim(10);
        assert_eq!(tape.from(6, 100), b"6789", "the window stays");
    }

    #[test]
    fn where_every_event_leaves_alone_a_send_ends_with_its_frame() {
        let mut tape = Tape::new(4, true);
        tape.append(b"aaabbcc", &[3, 5, 7]);
        let sends = [0, 1, 3, 5, 7].map(|place| tape.from(place, 100));
        assert_eq!(sends, [&b"aaa"[..], b"aa", b"bb", b"cc", b""]);
        tape.trim(5);
        assert_eq!(tape.from(5, 100), b"cc");
    }
}
