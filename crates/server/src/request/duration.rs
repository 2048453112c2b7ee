//! Durations in requests: `ttl` in seconds or as `5m`, `retry` in milliseconds.

use std::time::Duration;

use fanfare_hub::follows;

use crate::error::ApiError;
use crate::limits::TTL_MAX;

/// Reads a time to live: seconds, which may have a fraction, or digits and a unit.
pub(crate) fn ttl(text: &str) -> Result<Duration, ApiError> {
    let seconds = || text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let ttl = if text.starts_with(|c: char| c.is_ascii_digit()) {
        seconds().or_else(|| follows::duration(text))
    } else {
        None
    };
    match ttl {
        // Less than the log's clock can tell apart is nothing, which the engine refuses by name.
        Some(ttl) if ttl <= TTL_MAX => Ok(Duration::from_millis(ttl.as_millis() as u64)),
        _ => Err(ApiError::malformed(format!(
            "`ttl` is {text:?}; it takes seconds or a duration such as `5m`, up to {} days",
            TTL_MAX.as_secs() / 86_400
        ))),
    }
}

/// Reads whole milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, ApiError> {
    let refused = |_| ApiError::malformed(format!("`retry` is {text:?}; it takes whole milliseconds"));
    text.parse().map(Duration::from_millis).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_seconds_or_a_duration() {
        for (text, millis) in
            [("5", 5_000), ("0.25", 250), ("5m", 300_000), ("1500ms", 1_500), ("0", 0), ("2d", 172_800_000)]
        {
            assert_eq!(ttl(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "+1", "m", "5w", "inf", "NaN", "1e300", "99999d", "0x5"] {
            assert!(ttl(text).unwrap_err().detail().starts_with("`ttl`"), "{text}");
        }
    }

    #[test]
    fn a_reconnection_time_is_whole_milliseconds() {
        assert_eq!(milliseconds("1500"), Ok(Duration::from_millis(1500)));
        for text in ["", "1.5", "-1", "2s"] {
            assert!(milliseconds(text).unwrap_err().detail().starts_with("`retry`"), "{text}");
        }
    }
}
