//! `[http]`: how HTTP is spoken.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::HTTP2_STREAMS_MAX;

/// How HTTP is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Whether long answers are compressed for clients that take it. Event streams never are.
    #[schemars(extend("x-restart" = true))]
    pub gzip: bool,
    /// How many requests, event streams too, may be open at a time on one HTTP/2 connection. A browser has one connection
    /// for all tabs of a site.
    #[schemars(extend("x-restart" = true))]
    pub http2_streams_max: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { gzip: true, http2_streams_max: HTTP2_STREAMS_MAX }
    }
}

impl HttpConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match self.http2_streams_max {
            0 => Err(("http.http2_streams_max", "is 0; no request would be answered".into())),
            _ => Ok(()),
        }
    }
}
