//! `[telemetry]`: traces of requests for an OpenTelemetry collector.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::cli::client::ServerUrl;

/// Traces of requests for an OpenTelemetry collector; for binaries that were built with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The collector that traces go to, by OTLP over HTTP: `http://collector:4318`, or `https://…` with a certificate that
    /// this machine trusts. Spans are posted to `/v1/traces` there.
    #[schemars(extend("x-restart" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// Which share of requests is traced, from 0 to 1. Where a request says that it belongs to a trace (`traceparent`), that
    /// trace counts instead.
    #[schemars(extend("x-restart" = true))]
    pub sample: Share,
    /// What this server is called in traces.
    #[schemars(extend("x-restart" = true))]
    pub service_name: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp: None, sample: Share::ALL, service_name: "fanfare".into() }
    }
}

/// Why a binary that can't trace doesn't start.
const NOT_BUILT_IN: &str =
    "is set, but this binary was built without traces; build it with `--features otel`, or leave the key out";

impl TelemetryConfig {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let Some(url) = &self.otlp else { return Ok(()) };
        if !cfg!(feature = "otel") {
            return Err(("telemetry.otlp", NOT_BUILT_IN.into()));
        }
        let parsed: Result<ServerUrl, _> = url.parse();
        parsed
            .map(|_| ())
            .map_err(|_| ("telemetry.otlp", format!("is {url:?}; it takes a URL such as http://collector:4318")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<(), (&'static str, String)> {
        TelemetryConfig { otlp: Some(url.into()), ..TelemetryConfig::default() }.check()
    }

    #[test]
    #[cfg(not(feature = "otel"))]
    fn a_binary_without_traces_says_so() {
        let (key, why) = of("http://collector:4318").unwrap_err();
        assert_eq!(key, "telemetry.otlp");
        assert!(why.contains("built without traces"), "{why}");
        assert_eq!(TelemetryConfig::default().check(), Ok(()));
    }

    #[test]
    #[cfg(feature = "otel")]
    fn a_collector_is_a_url() {
        assert_eq!(of("http://collector:4318"), Ok(()));
        assert_eq!(of("https://collector.example/otlp/"), Ok(()));
        for text in ["collector:4318", "grpc://collector", "http://user:password@collector"] {
            let (key, why) = of(text).unwrap_err();
            assert!(key == "telemetry.otlp" && why.contains("a URL such as"), "{why}");
        }
    }
}
