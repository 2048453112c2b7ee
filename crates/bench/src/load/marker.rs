//! Markers: what each event's data begins with, so that readers can tell which it is. A marker has a fixed form and needs
//! no escapes in JSON, URLs or event streams:
//!
//! ```text
//! -mark-0000000300000a1c0098968f-
//!       └series┘└number┘└ due  ┘    hexadecimal
//! ```

use memchr::memmem;

/// Bytes of a marker.
pub const MARKER_BYTES: usize = 31;

/// What a marker begins with. It must occur nowhere else in what a server sends.
const NEEDLE: &[u8; 6] = b"-mark-";

/// Which event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The series of events to which it belongs: events of one series must arrive in the order of their numbers.
    pub series: u32,
    /// Its number within the series, from 0.
    pub number: u32,
    /// When it was due to be published, in microseconds of the run. Begins anew after 71 minutes.
    pub due_us: u32,
}

impl Marker {
    /// The marker as text.
    pub fn text(self) -> String {
        format!("-mark-{:08x}{:08x}{:08x}-", self.series, self.number, self.due_us)
    }

    /// Reads a marker from its bytes.
    fn read(bytes: &[u8; MARKER_BYTES]) -> Option<Self> {
        let digits = |at: usize| bytes.get(at..)?.first_chunk().copied().map(hexadecimal);
        let is_whole = bytes.last() == Some(&b'-');
        let marker = Self { series: digits(6)?, number: digits(14)?, due_us: digits(22)? };
        is_whole.then_some(marker)
    }
}

/// The number that eight hexadecimal digits (small letters) stand for, all digits at once.
fn hexadecimal(digits: [u8; 8]) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let text = u64::from_be_bytes(digits);
    // A letter's low four bits count from 1, and letters alone have the seventh bit.
    let nibbles = (text & (0x0f * ONES)) + 9 * ((text >> 6) & ONES);
    let bytes = (nibbles | (nibbles >> 4)) & 0x00ff_00ff_00ff_00ff;
    let halves = (bytes | (bytes >> 8)) & 0x0000_ffff_0000_ffff;
    (halves | (halves >> 16)) as u32
}

/// Data of an event: a marker and filler.
#[derive(Clone, Debug)]
pub struct Data(String);

impl Data {
    /// Data of so many bytes, at least a marker and one.
    pub fn new(bytes: usize) -> Self {
        const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let filler = LETTERS.chars().cycle().take(bytes.saturating_sub(MARKER_BYTES).max(1));
        Self(Marker { series: 0, number: 0, due_us: 0 }.text().chars().chain(filler).collect())
    }

    /// The data with this marker.
    pub fn mark(&mut self, marker: Marker) -> &str {
        self.0.replace_range(..MARKER_BYTES, &marker.text());
        &self.0
    }
}

/// Finds markers in the bytes of streams.
#[derive(Debug)]
pub struct Finder {
    needle: memmem::Finder<'static>,
    /// Bytes of an event's data: the next marker is at least so far away.
    data_bytes: usize,
    /// Bytes that were last between the end of an event's data and the next marker.
    gap: usize,
}

/// What must be remembered of a stream between two pieces of its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// Bytes to come that still belong to an event whose marker was found.
    skip: u32,
    /// How many bytes at the end of the last piece may begin a marker.
    kept: u8,
    /// These bytes.
    bytes: [u8; MARKER_BYTES],
}

impl Rest {
    /// How many bytes must be put before the next piece.
    pub fn len(&self) -> usize {
        usize::from(self.kept)
    }

    /// Whether nothing must be put before the next piece.
    pub fn is_empty(&self) -> bool {
        self.kept == 0
    }

    /// Puts them there: at the end of `before`, which must have room for a marker.
    pub fn put(&self, before: &mut [u8]) {
        let at = before.len().saturating_sub(self.len());
        if let (Some(before), Some(kept)) = (before.get_mut(at..), self.bytes.get(..self.len())) {
            before.copy_from_slice(kept);
        }
    }

    /// Keeps the end of a piece.
    fn keep(&mut self, end: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(..end.len()) {
            bytes.copy_from_slice(end);
            self.kept = end.len() as u8;
        }
    }
}

impl Finder {
    /// A finder for events whose data has so many bytes.
    pub fn new(data_bytes: usize) -> Self {
        let data_bytes = data_bytes.max(MARKER_BYTES + 1);
        Self { needle: memmem::Finder::new(NEEDLE), data_bytes, gap: 0 }
    }

    /// Finds all markers in a piece of a stream, which begins with what `rest` put before it, and updates `rest`.
    pub fn find(&mut self, piece: &[u8], rest: &mut Rest, mut found: impl FnMut(Marker)) {
        rest.kept = 0;
        let mut at = rest.skip as usize;
        while let Some(ahead) = piece.get(at..) {
            let Some(gap) = self.next(ahead) else {
                let kept = (1..NEEDLE.len())
                    .rev()
                    .find(|count| NEEDLE.get(..*count).is_some_and(|beginning| ahead.ends_with(beginning)));
                rest.keep(ahead.get(ahead.len() - kept.unwrap_or(0)..).unwrap_or_default());
                break;
            };
            let Some(bytes) = ahead.get(gap..).unwrap_or_default().first_chunk() else {
                rest.keep(ahead.get(gap..).unwrap_or_default());
                break;
            };
            match Marker::read(bytes) {
                Some(marker) => {
                    found(marker);
                    at += gap + self.data_bytes;
                }
                None => at += gap + NEEDLE.len(),
            }
        }
        rest.skip = at.saturating_sub(piece.len()) as u32;
    }

    /// How far ahead the next marker begins. Most stand as far behind the event before as the one before did; since two
    /// markers are further apart than data is long, none can be in between.
    fn next(&mut self, ahead: &[u8]) -> Option<usize> {
        if self.gap < self.data_bytes && ahead.get(self.gap..)?.starts_with(NEEDLE) {
            return Some(self.gap);
        }
        let gap = self.needle.find(ahead)?;
        self.gap = gap;
        Some(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markers() -> Vec<Marker> {
        (0..5).map(|number| Marker { series: 0xfeed_0012, number: number * 0x0fab_cde1, due_us: 77 + number }).collect()
    }

    fn stream(bytes: usize) -> Vec<u8> {
        let mut data = Data::new(bytes);
        let mut stream = b"HTTP/1.1 200 OK\r\n\r\n:\n\n".to_vec();
        for (at, marker) in markers().into_iter().enumerate() {
            stream.extend_from_slice(
                format!("id: {}\ndata: {}\n\n", 10_usize.pow(at as u32), data.mark(marker)).as_bytes(),
            );
            stream.extend_from_slice(b"event: -mar\ndata:\n\n:\n\n-");
        }
        stream
    }

    #[test]
    fn markers_are_found_however_the_stream_is_split() {
        for bytes in [0, 40, 256] {
            let stream = stream(bytes);
            for size in 1..stream.len() {
                let mut finder = Finder::new(bytes);
                let (mut rest, mut found) = (Rest::default(), Vec::new());
                for piece in stream.chunks(size) {
                    let mut buffer = [0; MARKER_BYTES];
                    rest.put(&mut buffer);
                    let mut whole = buffer[MARKER_BYTES - rest.len()..].to_vec();
                    whole.extend_from_slice(piece);
                    finder.find(&whole, &mut rest, |marker| found.push(marker));
                }
                assert_eq!(found, markers(), "{bytes} bytes in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_marker_is_none() {
        let mut found = Vec::new();
        let text = format!("-mark-{}x -mark- {}", "0".repeat(24), Marker { series: 1, number: 2, due_us: 3 }.text());
        Finder::new(0).find(text.as_bytes(), &mut Rest::default(), |marker| found.push(marker));
        assert_eq!(found, [Marker { series: 1, number: 2, due_us: 3 }]);
    }

    #[test]
    fn eight_digits_are_one_number() {
        for number in [0, 1, 0xdead_beef, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            let digits: Vec<u8> = format!("{number:08x}").into_bytes();
            assert_eq!(hexadecimal(digits.try_into().unwrap()), number);
        }
    }
}
