//! `[streams]`: what holds for all streams.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::limits::STREAMS_MAX;

/// What holds for all streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamsConfig {
    /// How many streams there may be; further ones are told to come back later.
    pub max: usize,
    /// The longest reconnection time that streams are told on opening.
    pub retry_max: Span,
    /// The shortest reconnection time that streams are told on opening; each gets one of its own between the two, so that
    /// those who were cut together don't come back together.
    pub retry_min: Span,
    /// How long a reader may take nothing before its stream is cut.
    #[schemars(extend("x-restart" = true))]
    pub stall_max: Span,
    /// Threads that serve streams; 0 is one per core.
    #[schemars(extend("x-restart" = true))]
    pub threads: usize,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            max: STREAMS_MAX,
            retry_max: Span::seconds(4),
            retry_min: Span::seconds(2),
            stall_max: Span::seconds(30),
            threads: 0,
        }
    }
}

impl StreamsConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        check_retry("streams.retry_min", self.retry_min, self.retry_max)
    }
}

/// Checks a pair of reconnection times.
pub(super) fn check_retry(key: &'static str, min: Span, max: Span) -> Result<(), (&'static str, String)> {
    let floor = Span::new(fanfare_hub::limits::RETRY_MIN);
    if min < floor {
        return Err((
            key,
            format!("is {min}; below {floor} one browser tab would make thousands of requests a minute"),
        ));
    }
    if min > max {
        return Err((key, format!("is {min}, which is longer than `retry_max`, {max}")));
    }
    Ok(())
}
