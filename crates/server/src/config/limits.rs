//! `[limits]`: what one client may take of the server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use crate::admission::rate::Rate;
use crate::limits::{CONNECTIONS_BESIDE_STREAMS, IDLE_MAX};

/// What one client may take of the server. A client is an IPv4 address, or an IPv6 network of
/// 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// How often a client may read, change or end a stream that is open: `300/1m`. Without it any number.
    #[schemars(with = "Option<String>")]
    pub changes: Option<Rate>,
    /// How often a client may open a stream: `100/15m` is a hundred times in a quarter of an hour, which a page that is
    /// reloaded now and then doesn't reach. Without it any number. Behind a proxy set `door.trusted_proxies` first, or all
    /// clients are one.
    #[schemars(with = "Option<String>")]
    pub connects: Option<Rate>,
    /// Connections beyond the most streams there may be: publishers, readers, and those who are told that it is full.
    pub connections_max: usize,
    /// How long an HTTP/1.1 connection may idle between two requests. Longer than a proxy in front keeps its connections
    /// (nginx 60 s), or it may use one just as it is closed.
    #[schemars(extend("x-restart" = true))]
    pub idle_max: Span,
    /// How often a client may publish, a batch counting once, or delete: `600/1m`. Without it any number.
    #[schemars(with = "Option<String>")]
    pub publishes: Option<Rate>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            changes: None,
            connects: None,
            connections_max: CONNECTIONS_BESIDE_STREAMS,
            idle_max: Span::new(IDLE_MAX),
            publishes: None,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.connections_max == 0 || self.connections_max > 10_000_000 {
            return Err(("limits.connections_max", format!("is {}; it takes 1 to 10000000", self.connections_max)));
        }
        if self.idle_max < Span::seconds(1) {
            return Err(("limits.idle_max", format!("is {}; it takes at least 1s", self.idle_max)));
        }
        Ok(())
    }
}
