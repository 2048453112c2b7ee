//! `[log]`: what is written to the standard error, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What is written to the standard error, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by part: `info,fanfare_hub=debug`. The
    /// variables `FANFARE_LOG` and `RUST_LOG` count over it.
    pub filter: String,
    /// How a line looks: `human`, or `json`, one object a line.
    #[schemars(extend("x-restart" = true))]
    pub format: LogFormat,
    /// Whether every request has a line, whatever the filter says: method, path without query, status, how long it took.
    pub requests: bool,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::default(), requests: false }
    }
}

impl LogConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let parsed = EnvFilter::builder().parse(&self.filter);
        parsed.map(|_| ()).map_err(|error| ("log.filter", format!("is {:?}: {error}", self.filter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert_eq!(LogConfig::default().check(), Ok(()));
        let of = |filter: &str| LogConfig { filter: filter.into(), ..LogConfig::default() }.check();
        assert_eq!(of("warn,fanfare_hub=debug"), Ok(()));
        let (key, why) = of("fanfare=loud").unwrap_err();
        assert!(key == "log.filter" && why.contains("fanfare=loud"), "{why}");
    }
}
