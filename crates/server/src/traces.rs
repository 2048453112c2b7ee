//! Traces of requests for an OpenTelemetry collector: a span for each, as a part of the trace that it says it belongs to.
//!
//! A request is told by its method, its route as the table of routes has it, and its outcome: never by its path, which may
//! name a channel, nor by its query, headers or body. A span is begun and ended by `observe.rs`, wholly in memory; what
//! has ended goes into a bounded queue, and [`export`] sends it from a task of its own. Of `traceparent` the ids are
//! taken up, `tracestate` is not: it is text that a client chose.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, Method};
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

pub(crate) use self::export::Exporter;
pub(crate) use self::published::Published;
use self::queue::Counts;
use crate::cli::client::{Client, ServerUrl};
use crate::config::TelemetryConfig;
use crate::error::Refused;

mod export;
mod published;
mod queue;
#[cfg(test)]
pub(crate) mod tests;

/// Methods that a span names; all others, which clients choose, are `_OTHER`.
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];

/// Where requests are traced to. The default traces nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    tracer: SdkTracer,
    counts: Counts,
    /// Whoever drops it ends the tracer.
    _provider: SdkTracerProvider,
}

/// Begins to trace, if there is a collector. Spans are made until the last of the [`Traces`] is gone, and sent until
/// [`Exporter::finish`].
///
/// # Errors
///
/// When the collector's URL is none, or there is no certificate to trust it by.
pub(crate) fn start(config: &TelemetryConfig) -> Result<(Traces, Exporter), String> {
    config.check().map_err(|(_, why)| why)?;
    let Some(text) = &config.otlp else { return Ok((Traces::default(), Exporter::default())) };
    let url: ServerUrl = text.parse().map_err(|_| format!("is {text:?}, which is no URL of a collector"))?;
    let client = Client::to(url).map_err(|error| format!("is {text:?}: {error:#}"))?;
    let resource = Resource::builder_empty()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let (queue, spans) = queue::queue();
    let counts = spans.counts.clone();
    let exporter = Exporter::start(client, &resource, spans);
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample.into())));
    let provider =
        SdkTracerProvider::builder().with_sampler(sampler).with_resource(resource).with_span_processor(queue).build();
    let tracer = provider.tracer("fanfare");
    Ok((Traces(Some(Arc::new(Tracing { tracer, counts, _provider: provider }))), exporter))
}

/// The span of a request that is being answered. Dropped before its end, it tells a request that nobody waited for.
#[derive(Debug)]
pub(crate) struct RequestSpan(Option<Open>);

#[derive(Debug)]
struct Open {
    tracer: SdkTracer,
    /// The span, within what its children need to know of it.
    span: Span,
    /// When it began, by the wall clock and by the door's.
    started: SystemTime,
    began: Duration,
}

impl Traces {
    /// What became of spans so far, as it is called in figures.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        self.0.as_ref().map_or_else(|| Counts::default().all(), |tracing| tracing.counts.all())
    }

    /// Begins the span of a request. `route` is its path as the routes have it, none where it leads nowhere; `began` is
    /// the door's time.
    pub(crate) fn begin(
        &self,
        method: &Method,
        route: Option<&str>,
        headers: &HeaderMap,
        began: Duration,
    ) -> RequestSpan {
        let Some(tracing) = &self.0 else { return RequestSpan(None) };
        #[expect(clippy::disallowed_methods, reason = "spans tell wall-clock time, finer than the hub's clock has it")]
        let started = SystemTime::now();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(headers));
        let method = if METHODS.contains(method) { method.as_str() } else { "_OTHER" };
        let mut attributes = vec![KeyValue::new("http.request.method", method.to_owned())];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let verb = if method == "_OTHER" { "HTTP" } else { method };
        let span = SpanBuilder::from_name(route.map_or(verb.to_owned(), |route| format!("{verb} {route}")))
            .with_kind(SpanKind::Server)
            .with_start_time(started)
            .with_attributes(attributes)
            .start_with_context(&tracing.tracer, &parent);
        if !span.is_recording() {
            return RequestSpan(None);
        }
        RequestSpan(Some(Open { tracer: tracing.tracer.clone(), span, started, began }))
    }
}

impl RequestSpan {
    /// Ends it with its answer, which was there after this time.
    pub(crate) fn end(self, answer: &Response, took: Duration) {
        let Some(mut open) = self.0 else { return };
        let status = answer.status();
        open.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if let Some(Refused(code)) = answer.extensions().get() {
            open.span.set_attribute(KeyValue::new("error.type", code.as_str()));
        }
        if status.is_server_error() {
            open.span.set_status(Status::error(""));
        }
        if let Some(published) = answer.extensions().get::<Published>() {
            open.tell_published(published);
        }
        open.span.end_with_timestamp(open.started + took);
    }
}

impl Open {
    /// Says what was published, and how long the log took: its queue, the group's commit and the sync.
    fn tell_published(&mut self, published: &Published) {
        let mut attributes = vec![KeyValue::new("fanfare.events", i64::try_from(published.events).unwrap_or(i64::MAX))];
        attributes.extend(published.durability.map(|word| KeyValue::new("fanfare.durability", word)));
        self.span.set_attributes(attributes.clone());
        let at = |time: Duration| self.started + time.saturating_sub(self.began);
        let parent = Context::new().with_remote_span_context(self.span.span_context().clone());
        SpanBuilder::from_name("append")
            .with_kind(SpanKind::Internal)
            .with_start_time(at(published.asked))
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &parent)
            .end_with_timestamp(at(published.answered));
    }
}

/// The headers of a request, of which the parent is read and nothing else.
struct Parent<'a>(&'a HeaderMap);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == "traceparent" { self.0.get(key)?.to_str().ok() } else { None }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}
