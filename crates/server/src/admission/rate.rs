//! How often something may happen, as settings have it: `100/15m`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Span, as_text};

/// How often something may happen: a number, a slash, and a length of time of at most a day. So many may come at once; then
/// they come back one by one, all of them in the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: NonZeroU32,
    per: Span,
}

/// Longest time of a rate: addresses are remembered as long.
const PER_MAX: Duration = Duration::from_hours(24);

impl Rate {
    /// How many.
    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    /// In which time.
    pub fn per(self) -> Duration {
        self.per.duration()
    }

    /// How long it takes until one more may come.
    pub fn each(self) -> Duration {
        self.per() / self.count.get()
    }
}

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate; it takes a number, a slash and a length of time up to a day, such as `100/15m` or `5/1s`")]
pub struct NotARate(String);

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let refused = || NotARate(text.to_owned());
        let (count, per) = text.split_once('/').ok_or_else(refused)?;
        let rate = Self { count: count.parse().map_err(|_| refused())?, per: per.parse().map_err(|_| refused())? };
        if rate.each().is_zero() || rate.per() > PER_MAX { Err(refused()) } else { Ok(rate) }
    }
}

as_text!(Rate);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        let rate: Rate = "100/15m".parse().unwrap();
        assert_eq!(
            (rate.count().get(), rate.per(), rate.each()),
            (100, Duration::from_mins(15), Duration::from_secs(9))
        );
        assert_eq!(rate.to_string(), "100/15m");
        for text in ["", "100", "100/", "/15m", "0/1s", "-1/1s", "1/0s", "1/25h", "100/15", "5000000000/1s"] {
            assert_eq!(text.parse::<Rate>(), Err(NotARate(text.into())), "{text}");
        }
    }
}
