//! The place of an event in the log. Knows nothing of text: that is [`cursor`](crate::cursor)'s.

use std::fmt;

/// How many bits of a position count events; the rest hold the epoch's ordinal.
const SEQUENCE_BITS: u32 = 40;

/// The hub-wide place of an event in the log: an epoch's ordinal and a sequence number within that epoch.
///
/// Both sit in one integer, ordinal first, so positions of one log compare as numbers and as big-endian keys. Every
/// opening of the log has an ordinal of its own, so a number that a crash took is never given again. An epoch has room
/// for 2^40 events (at 100,000 a second, 127 days; the log then starts the next epoch), a log for 2^24 epochs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// Before everything.
    pub const ORIGIN: Self = Self(0);

    /// After everything.
    pub const LAST: Self = Self(u64::MAX);

    /// Largest sequence number of an epoch.
    pub const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;

    /// Largest ordinal of an epoch.
    pub const ORDINAL_MAX: u32 = (1 << (64 - SEQUENCE_BITS)) - 1;

    /// The position with this ordinal and sequence. What exceeds its range is cut to the range.
    pub fn new(ordinal: u32, sequence: u64) -> Self {
        Self((u64::from(ordinal.min(Self::ORDINAL_MAX)) << SEQUENCE_BITS) | sequence.min(Self::SEQUENCE_MAX))
    }

    /// The ordinal of the epoch; 0 only in [`Position::ORIGIN`], real epochs count from 1.
    pub fn ordinal(self) -> u32 {
        (self.0 >> SEQUENCE_BITS) as u32
    }

    /// The number within the epoch; the first event has 1.
    pub fn sequence(self) -> u64 {
        self.0 & Self::SEQUENCE_MAX
    }

    /// The next position of the same epoch, or `None` where the epoch is full.
    pub fn next(self) -> Option<Self> {
        (self.sequence() < Self::SEQUENCE_MAX).then_some(Self(self.0 + 1))
    }

    /// The greatest position below this one. Of the origin: the origin.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The least position above this one, whatever its epoch. For ranges, not for giving numbers.
    pub fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position as a key that sorts like the position.
    pub fn to_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The position that a key holds.
    pub fn from_key(key: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(key))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ordinal(), self.sequence())
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn positions_sort_by_epoch_then_sequence_as_numbers_and_as_keys() {
        let ordered =
            [Position::ORIGIN, Position::new(1, 0), Position::new(1, 7), Position::new(1, 256), Position::new(2, 1)];
        for pair in ordered.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].to_key() < pair[1].to_key());
            assert_eq!(Position::from_key(pair[1].to_key()), pair[1]);
        }
    }

    #[test]
    fn an_epoch_that_is_full_gives_no_next_position() {
        assert_eq!(Position::new(3, 4).next(), Some(Position::new(3, 5)));
        assert_eq!(Position::new(3, Position::SEQUENCE_MAX).next(), None);
    }
}
