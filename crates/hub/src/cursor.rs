//! How far a stream has come, as the text that browsers keep and send back: the SSE `id`.
//!
//! A cursor is `oooooo-rrrrrrrr-ssssssssss`, all in lower-case hexadecimal: the epoch's ordinal, its random part, the
//! sequence. Its width is fixed, so the ids of one log sort bytewise. While history is filled in, the id is
//! `<cursor>.<position>`: the cursor at which the live part goes on, and how far the backfill has come; where that
//! fills in what was added to an open stream, `.<revision>` stands behind it. Who resumes with such an id gets the rest
//! of the backfill, then everything after the cursor; anywhere else it stands for the event that had it. What is given
//! to a device that acknowledges by coming back ends with `_` and the mark of the device, 8 digits. Clients treat all
//! of it as opaque. Whether a cursor is of this log is decided in [`epoch`](crate::log::epoch), not here.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use crate::position::Position;

/// Longest id that is looked at, in bytes; longer ones are foreign.
pub const CURSOR_BYTES_MAX: usize = 64;

/// The text of a cursor without its backfill part, in bytes.
const PLAIN_BYTES: usize = 6 + 1 + 8 + 1 + 10;

/// A cursor as text carries it. Not yet known to be of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Everything up to here has been delivered, once the backfill is done.
    pub position: Position,
    /// The random part of the position's epoch, which tells logs with equal ordinals apart.
    pub random: u32,
    /// How far the backfill has come, while there is one.
    pub backfill: Option<Position>,
    /// Of which change of the stream that backfill is; `None` for the request's own.
    pub fill: Option<u32>,
    /// The mark of the device that it was given to, where that acknowledges by coming back.
    pub device: Option<NonZeroU32>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl Cursor {
    /// The id of a client that came with something else, as long as it hears of its gaps. No log ever gives it, so a client that
    /// comes back with it hears of them again.
    pub(crate) const FOREIGN: Self = Self::at(Position::ORIGIN, 0);

    /// The cursor at a position of an epoch with this random part.
    pub(crate) const fn at(position: Position, random: u32) -> Self {
        Self { position, random, backfill: None, fill: None, device: None }
    }

    /// The position of the event that had this id: of a backfill's id, how far that had come. What it is to resume from is
    /// more than that.
    pub(crate) fn event(&self) -> Position {
        self.backfill.unwrap_or(self.position)
    }

    /// The cursor as a new string.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(PLAIN_BYTES + 35);
        push_hex(&mut text, u64::from(self.position.ordinal()), 6);
        text.push('-');
        push_hex(&mut text, u64::from(self.random), 8);
        text.push('-');
        push_hex(&mut text, self.position.sequence(), 10);
        if let Some(at) = self.backfill {
            text.push('.');
            push_hex(&mut text, u64::from_be_bytes(at.to_key()), 16);
            if let Some(revision) = self.fill {
                text.push('.');
                push_hex(&mut text, revision.into(), 8);
            }
        }
        if let Some(device) = self.device {
            text.push_str(&suffix(device));
        }
        text
    }
}

/// The text is not a cursor of any Fanfare log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id that this server gives")]
pub struct ForeignCursor;

impl FromStr for Cursor {
    type Err = ForeignCursor;

    fn from_str(text: &str) -> Result<Self, ForeignCursor> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(ForeignCursor);
        }
        let (text, device) = match text.split_once('_') {
            None => (text, None),
            Some((text, device)) => (text, Some(NonZeroU32::new(hex(device, 8)? as u32).ok_or(ForeignCursor)?)),
        };
        let (plain, backfill) = match text.split_once('.') {
            None => (text, None),
            Some((plain, backfill)) => (plain, Some(backfill)),
        };
        let mut parts = plain.split('-');
        let mut part = |digits| hex(parts.next().ok_or(ForeignCursor)?, digits);
        let (ordinal, random, sequence) = (part(6)?, part(8)?, part(10)?);
        if parts.next().is_some() {
            return Err(ForeignCursor);
        }
        let position = Position::new(ordinal as u32, sequence);
        let (backfill, fill) =
            match backfill.map(|parts| parts.split_once('.').map_or((parts, None), |(a, b)| (a, Some(b)))) {
                None => (None, None),
                Some((at, revision)) => {
                    let revision = revision.map(|revision| hex(revision, 8)).transpose()?;
                    (Some(Position::from_key(hex(at, 16)?.to_be_bytes())), revision.map(|revision| revision as u32))
                }
            };
        if backfill.is_some_and(|at| at > position) {
            return Err(ForeignCursor);
        }
        Ok(Self { position, random: random as u32, backfill, fill, device })
    }
}

/// What ids end with that are given to a device.
pub(crate) fn suffix(device: NonZeroU32) -> String {
    let mut text = String::with_capacity(9);
    text.push('_');
    push_hex(&mut text, device.get().into(), 8);
    text
}

/// Appends the lowest `digits` hexadecimal digits of a number. By hand, since every event on the wire has an id and the
/// formatting machinery showed in profiles.
fn push_hex(text: &mut String, value: u64, digits: u32) {
    for shift in (0..digits).rev() {
        let digit = (value >> (4 * shift)) as u32 & 0xf;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}

/// Reads exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Result<u64, ForeignCursor> {
    let good = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !good {
        return Err(ForeignCursor);
    }
    u64::from_str_radix(text, 16).map_err(|_| ForeignCursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(ordinal in 1..=Position::ORDINAL_MAX, random: u32,
                                      sequence in 0..=Position::SEQUENCE_MAX, back in proptest::option::of(0u64..1000),
                                      revision in proptest::option::of(0u32..1000), device: u32) {
            let position = Position::new(ordinal, sequence);
            let backfill = back.map(|b| Position::new(ordinal, sequence.saturating_sub(b)));
            let fill = backfill.and(revision);
            let cursor = Cursor { position, random, backfill, fill, device: NonZeroU32::new(device) };
            let text = cursor.to_text();
            prop_assert!(text.len() <= CURSOR_BYTES_MAX);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            prop_assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
        }

        #[test]
        fn ids_of_one_log_sort_bytewise(a in 0..=Position::SEQUENCE_MAX, b in 0..=Position::SEQUENCE_MAX) {
            let text = |sequence| Cursor::at(Position::new(7, sequence), 9).to_text();
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
        }

        #[test]
        fn any_text_is_read_or_refused_but_never_panics(text: String) {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_text(), text);
            }
        }
    }

    #[test]
    fn foreign_ids_are_refused() {
        let good = Cursor::at(Position::new(1, 2), 3).to_text();
        assert!(good.parse::<Cursor>().is_ok());
        for bad in ["", "1", "a-b-c", "000001-00000003-000000000Z", "000001-00000003-0000000002-", "é"] {
            assert_eq!(bad.parse::<Cursor>(), Err(ForeignCursor), "{bad}");
        }
        assert!(good.to_uppercase().parse::<Cursor>().is_ok(), "digits only, so upper case is the same text");
        assert!(format!("{good}.0000010000000009").parse::<Cursor>().is_err(), "backfill beyond the cursor");
        assert!(format!("{good}.").parse::<Cursor>().is_err());
    }
}
