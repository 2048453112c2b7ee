//! A number of bytes as settings have it: `64MiB`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::as_text;

/// A number of bytes: digits and `B`, `KiB`, `MiB`, `GiB` or `TiB` (or `KB`, `MB`, `GB`, `TB` in powers of 1,000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Units, the greatest of each kind first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// How many they are.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A text that is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number of bytes; it takes digits and a unit, such as `64MiB` or `500KB`")]
pub struct NotASize(String);

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let refused = || NotASize(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let (count, unit) = text.split_at_checked(digits).ok_or_else(refused)?;
        let unit = unit.trim_start();
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refused)?;
        let count: u64 = count.parse().map_err(|_| refused())?;
        count.checked_mul(*factor).map(Self).ok_or_else(refused)
    }
}

as_text!(ByteSize);

impl fmt::Display for ByteSize {
    /// In the greatest unit of which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_whole = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match UNITS.iter().find(is_whole) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_digits_and_a_unit() {
        for (text, bytes) in [("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("500KB", 500_000), ("0B", 0), ("7b", 7)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "64", "MiB", "-1B", "1.5GiB", "1XB", "99999999999TiB", "é"] {
            assert_eq!(text.parse::<ByteSize>(), Err(NotASize(text.into())), "{text}");
        }
    }

    #[test]
    fn a_size_is_written_as_it_is_read() {
        for text in ["64MiB", "1TiB", "500KB", "0B", "1025B", "3GB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
