//! `[streams]`: what holds for all streams.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Span};
use crate::limits::{STREAMS_MAX, WRITE_STALL_MAX};

/// What holds for all streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamsConfig {
    /// How old a stream may become before it is told to come back: each ends in the last tenth of it. Without it streams last
    /// as long as their connections. Worth setting where connections should move to other servers now and then.
    pub age_max: Option<Span>,
    /// How many streams there may be; further ones are told to come back later.
    pub max: usize,
    /// How many streams one client may have: an IPv4 address, or an IPv6 network of 64 bits; 0 for any number. Behind a proxy
    /// set `door.trusted_proxies` first, or all clients are one.
    pub per_address_max: usize,
    /// Bytes a second that a reader which is behind must take; 0 for any. Below it nobody comes forward, but holds a place.
    pub rate_min: ByteSize,
    /// The longest reconnection time that streams are told on opening.
    pub retry_max: Span,
    /// The shortest reconnection time that streams are told on opening; each gets one of its own between the two, so that
    /// those who were cut together don't come back together.
    pub retry_min: Span,
    /// How long a reader may take less than `rate_min` before its stream is cut.
    pub slow_max: Span,
    /// How long a reader may take nothing before its stream is cut.
    pub stall_max: Span,
    /// Threads that serve streams; 0 is one per core.
    #[schemars(extend("x-restart" = true))]
    pub threads: usize,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            age_max: None,
            max: STREAMS_MAX,
            per_address_max: 0,
            rate_min: ByteSize::new(2 << 10),
            retry_max: Span::seconds(4),
            retry_min: Span::seconds(2),
            slow_max: Span::seconds(60),
            stall_max: Span::seconds(25),
            threads: 0,
        }
    }
}

impl StreamsConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let unheard = Span::new(WRITE_STALL_MAX);
        if self.stall_max >= unheard {
            let problem =
                format!("is {}, but a socket goes after {unheard} without an answer; take less", self.stall_max);
            return Err(("streams.stall_max", problem));
        }
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
