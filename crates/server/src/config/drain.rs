//! `[drain]`: what a stop does with those who are there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use super::streams::check_retry;

/// What a stop does with those who are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrainConfig {
    /// The longest reconnection time that streams are told when the server stops.
    pub retry_max: Span,
    /// The shortest reconnection time that streams are told when the server stops: longer than a restart takes, since one
    /// refused connection closes a Firefox page for good.
    pub retry_min: Span,
    /// How long the server goes on as before after it has said that it isn't ready: time for balancers to hear of it.
    pub notice: Span,
    /// How long the streams' end may take: they end spread over it, a thousand a second where it is long enough, and
    /// publishers are served until the last has ended.
    pub window: Span,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            retry_max: Span::seconds(6),
            retry_min: Span::seconds(3),
            notice: Span::seconds(0),
            window: Span::seconds(5),
        }
    }
}

impl DrainConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        check_retry("drain.retry_min", self.retry_min, self.retry_max)
    }
}
