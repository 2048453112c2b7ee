//! What stands for `traces.rs` in a binary without traces: nothing is begun, nothing is sent. The settings refuse a
//! collector here.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponseParts, Response, ResponseParts};
use fanfare_hub::Receipt;

use crate::config::TelemetryConfig;
use crate::door::Door;

/// Where requests would be traced to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces(());

/// What would be told of a request.
#[derive(Debug)]
pub(crate) struct RequestSpan;

/// What would be told of a publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published;

/// What would send it.
#[derive(Debug)]
pub(crate) struct Exporter;

/// No traces.
///
/// # Errors
///
/// When traces are wanted.
pub(crate) fn start(config: &TelemetryConfig) -> Result<(Traces, Exporter), String> {
    config.check().map_err(|(_, why)| why)?;
    Ok((Traces::default(), Exporter))
}

#[expect(clippy::unused_self, reason = "the same calls as with traces")]
impl Traces {
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [("sent", 0), ("dropped", 0), ("failed", 0)]
    }

    pub(crate) fn begin(&self, _: &Method, _: Option<&str>, _: &HeaderMap, _: Duration) -> RequestSpan {
        RequestSpan
    }
}

#[expect(clippy::unused_self, reason = "the same calls as with traces")]
impl RequestSpan {
    pub(crate) fn end(self, _: &Response, _: Duration) {}
}

impl Published {
    pub(crate) fn now<'r>(_: &Door, _: Duration, _: impl IntoIterator<Item = &'r Receipt>) -> Self {
        Self
    }
}

impl IntoResponseParts for Published {
    type Error = Infallible;

    fn into_response_parts(self, parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        Ok(parts)
    }
}

#[expect(clippy::unused_async, reason = "the same calls as with traces")]
impl Exporter {
    pub(crate) async fn finish(self) {}
}
