//! A share of a whole: a number from 0 to 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A share of a whole, from 0 (nothing) to 1 (all), kept in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(u32);

/// Parts of the whole.
const WHOLE: f64 = 1e6;

impl Share {
    /// All of it.
    pub const ALL: Self = Self(1_000_000);
}

/// A number that is no share.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no share; it takes a number from 0 to 1")]
pub struct NotAShare(f64);

impl TryFrom<f64> for Share {
    type Error = NotAShare;

    fn try_from(number: f64) -> Result<Self, NotAShare> {
        if !(0.0..=1.0).contains(&number) {
            return Err(NotAShare(number));
        }
        #[expect(clippy::cast_sign_loss, reason = "the number is from 0 to 1")]
        let millionths = (number * WHOLE).round() as u32;
        Ok(Self(millionths))
    }
}

impl From<Share> for f64 {
    fn from(Share(millionths): Share) -> Self {
        Self::from(millionths) / WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_from_nothing_to_all() {
        for number in [0.0, 0.000_001, 0.25, 1.0] {
            assert_eq!(Share::try_from(number).map(f64::from), Ok(number));
        }
        for number in [-0.1, 1.1, f64::INFINITY, f64::NAN] {
            assert!(Share::try_from(number).is_err(), "{number}");
        }
    }
}
