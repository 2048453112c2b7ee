//! A length of time as settings have it: `15s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fanfare_hub::follows;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::as_text;

/// A length of time: digits and `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// So long; what is below a millisecond is left out.
    pub const fn new(duration: Duration) -> Self {
        Self(Duration::from_millis(duration.as_millis() as u64))
    }

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// How long it is.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// A text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time; it takes digits and a unit, such as `500ms`, `15s`, `5m`, `12h` or `7d`")]
pub struct NotASpan(String);

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        follows::duration(text).map(Self).ok_or_else(|| NotASpan(text.to_owned()))
    }
}

as_text!(Span);

impl fmt::Display for Span {
    /// In the greatest unit of which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        match units.iter().find(|(_, unit_ms)| ms >= *unit_ms && ms.is_multiple_of(*unit_ms)) {
            Some((name, unit_ms)) => write!(f, "{}{name}", ms / unit_ms),
            None if ms == 0 => f.write_str("0s"),
            None => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_digits_and_a_unit_and_is_written_so() {
        for text in ["500ms", "15s", "90s", "5m", "12h", "7d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("3600s".parse::<Span>().unwrap().to_string(), "1h");
        for text in ["", "15", "s", "1.5s", "-1s", "15 s", "99999999999999999999d"] {
            assert_eq!(text.parse::<Span>(), Err(NotASpan(text.into())), "{text}");
        }
    }
}
