//! With a collector of the test's own: what arrives there, what must not, and that nobody waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::post;
use fanfare_hub::{Durability, HubConfig, Pattern, Rule};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Outcome;
use prost::Message as _;
use tokio::net::TcpListener;

use super::*;
use crate::config::{LogFormat, Share};
use crate::limits::SPANS_MAX;
use crate::testing::{Captured, TestDoor};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector, and what it was sent.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Listens, and answers everything with this; gives its URL.
    async fn listen(&self, status: StatusCode, answer: ExportTraceServiceResponse) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = self.0.clone();
        let take = async move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            received.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
            (status, answer.encode_to_vec())
        };
        let app = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// One that takes everything.
    pub(crate) async fn good(&self) -> String {
        self.listen(StatusCode::OK, ExportTraceServiceResponse::default()).await
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap().clone();
        let scopes = requests.into_iter().flat_map(|request| request.resource_spans).flat_map(|of| of.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The only span of this name.
    pub(crate) fn span(&self, name: &str) -> Span {
        let mut named = self.spans().into_iter().filter(|span| span.name == name);
        let span = named.next().unwrap_or_else(|| panic!("no span {name}: {:?}", self.spans()));
        assert!(named.next().is_none(), "{name} is there twice");
        span
    }
}

pub(crate) fn config(url: String, sample: f64) -> TelemetryConfig {
    TelemetryConfig { otlp: Some(url), sample: Share::try_from(sample).unwrap(), service_name: "hub-1".into() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// An attribute as text, none where it isn't there.
fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone();
    match value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

fn say(span: &Span) -> impl Fn(&str) -> String + '_ {
    |key| text(&span.attributes, key).unwrap_or_default()
}

fn outcome(span: &Span) -> i32 {
    span.status.as_ref().unwrap().code
}

/// Begins and ends a span without a request.
pub(crate) fn make_span(traces: &Traces) {
    let span = traces.begin(&Method::GET, Some("/stats"), &HeaderMap::new(), Duration::ZERO);
    span.end(&Response::default(), Duration::from_millis(1));
}

#[tokio::test]
async fn a_publish_is_a_span_in_its_callers_trace_with_the_logs_work_below_it() {
    let collector = Collector::default();
    let (traces, exporter) = start(&config(collector.good().await, 0.0)).unwrap();
    let door = TestDoor::traced(HubConfig::default(), traces.clone());
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let answer = door.request("POST", "/channels/orders", &[("traceparent", &traceparent)], "hello").await;
    assert_eq!(answer.status, 200);
    exporter.finish().await;

    let span = collector.span("POST /channels/{channel}");
    assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE, PARENT));
    assert_eq!(span.kind, SpanKind::Server as i32);
    let said = say(&span);
    assert_eq!(["http.request.method", "http.route"].map(&said), ["POST", "/channels/{channel}"]);
    assert_eq!(["http.response.status_code", "fanfare.events"].map(&said), ["200", "1"]);
    assert_eq!((said("fanfare.durability"), said("error.type")), ("durable".into(), String::new()));

    let append = collector.span("append");
    assert_eq!((&append.trace_id, &append.parent_span_id), (&span.trace_id, &span.span_id));
    let (inner, outer) =
        (append.start_time_unix_nano..=append.end_time_unix_nano, span.start_time_unix_nano..=span.end_time_unix_nano);
    assert!(outer.contains(inner.start()) && outer.contains(inner.end()), "{inner:?} in {outer:?}");
    let resource = collector.0.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("hub-1"));
    assert_eq!(traces.counts(), [("sent", 2), ("dropped", 0), ("failed", 0)]);
    let metrics = door.get("/metrics").await.text().await;
    assert!(metrics.contains("fanfare_spans_total{event=\"sent\"} 2"), "{metrics}");
}

#[tokio::test]
async fn nothing_that_a_client_chose_is_told_but_the_ids_of_its_trace() {
    let collector = Collector::default();
    let (traces, exporter) = start(&config(collector.good().await, 1.0)).unwrap();
    let door = TestDoor::traced(HubConfig::default(), traces);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("traceparent", traceparent.as_str()),
        ("tracestate", "vendor=SECRET"),
        ("baggage", "user=SECRET"),
        ("authorization", "Bearer SECRET"),
        ("cookie", "session=SECRET"),
        ("user-agent", "SECRET"),
        ("idempotency-key", "SECRET"),
    ];
    for (method, path) in [
        ("POST", "/channels/SECRET?event=SECRET"),
        ("POST", "/channels?channel=SECRET"),
        ("GET", "/channels/SECRET/history?token=SECRET"),
        ("GET", "/events?channel=SECRET&since=SECRET"),
        ("GET", "/nowhere/SECRET?token=SECRET"),
        ("SECRET", "/stats?token=SECRET"),
    ] {
        door.request(method, path, &headers, "SECRET").await;
    }
    exporter.finish().await;
    let told = format!("{:?}", collector.0.lock().unwrap());
    assert!(!told.contains("SECRET"), "{told}");
    let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).filter(|name| name != "append").collect();
    let expected = [
        "POST /channels/{channel}",
        "POST /channels",
        "GET /channels/{channel}/history",
        "GET /events",
        "GET",
        "HTTP /stats",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_span_of_a_stream_is_its_opening() {
    let collector = Collector::default();
    let (traces, exporter) = start(&config(collector.good().await, 1.0)).unwrap();
    let door = TestDoor::traced(HubConfig::default(), traces);
    let mut stream = door.get("/events?channel=a").await;
    exporter.finish().await;
    assert_eq!(say(&collector.span("GET /events"))("http.response.status_code"), "200");
    door.post("/channels/a", "after the span").await;
    stream.read_until("after the span").await;
}

#[tokio::test]
async fn refusals_say_their_code_and_batches_what_was_taken() {
    let collector = Collector::default();
    let (traces, exporter) = start(&config(collector.good().await, 1.0)).unwrap();
    let rules = vec![Rule::new(Pattern::new("m*").unwrap()).durability(Durability::Memory)];
    let config = HubConfig { rules, disk_reserve_bytes: Some(u64::MAX / 2), ..HubConfig::default() };
    let door = TestDoor::traced(config, traces);
    assert_eq!(door.post("/channels/a", "no room").await.status, 507);
    assert_eq!(door.get("/history?channel=").await.status, 400);
    let batch = r#"[{"channel": "m", "data": 1}, {"channel": "a", "data": 2}, {"channel": "m", "data": 3}]"#;
    assert_eq!(door.post("/publish", batch).await.status, 200);
    exporter.finish().await;

    let full = collector.span("POST /channels/{channel}");
    assert_eq!((say(&full)("error.type"), outcome(&full)), ("disk_full".into(), Outcome::Error as i32));
    let bad = collector.span("GET /history");
    assert_eq!((say(&bad)("error.type"), outcome(&bad)), ("bad_channel".into(), Outcome::Unset as i32));
    let some = collector.span("POST /publish");
    assert_eq!((say(&some)("fanfare.events"), say(&some)("fanfare.durability")), ("2".into(), "memory".into()));
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_is_left_alone() {
    let collector = Collector::default();
    let (traces, exporter) = start(&config(collector.good().await, 1.0)).unwrap();
    let door = TestDoor::traced(HubConfig::default(), traces);
    let traceparent = format!("00-{TRACE}-{PARENT}-00");
    door.request("GET", "/stats", &[("traceparent", &traceparent)], "").await;
    door.request("GET", "/channels", &[("traceparent", "nonsense")], "").await;
    exporter.finish().await;
    let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET /channels"]);
    assert!(collector.span("GET /channels").parent_span_id.is_empty());
}

#[tokio::test]
async fn nothing_is_traced_where_the_share_is_nothing() {
    let collector = Collector::default();
    let (traces, exporter) = start(&config(collector.good().await, 0.0)).unwrap();
    make_span(&traces);
    exporter.finish().await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn a_collector_that_is_down_or_refuses_costs_no_request_anything_and_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let nothing = ExportTraceServiceResponse::default;
    let refusing = Collector::default().listen(StatusCode::SERVICE_UNAVAILABLE, nothing()).await;
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "too\nold".into() });
    let partly = Collector::default().listen(StatusCode::OK, ExportTraceServiceResponse { partial_success }).await;
    for (url, failed, why) in [(down, 2, "refused"), (refusing, 2, "503"), (partly, 1, r"too\\nold")] {
        let captured = Captured::default();
        let _guard = tracing::subscriber::set_default(captured.subscriber(LogFormat::Json, "warn"));
        let (traces, exporter) = start(&config(url, 1.0)).unwrap();
        let door = TestDoor::traced(HubConfig::default(), traces.clone());
        assert_eq!(door.get("/channels").await.status, 200);
        assert_eq!(door.get("/health/live").await.status, 200);
        exporter.finish().await;
        assert_eq!(traces.counts(), [("sent", 2 - failed), ("dropped", 0), ("failed", failed)]);
        let lines = captured.lines();
        let line = lines.iter().find(|line| line["message"] == "traces were lost").expect("it is told");
        assert_eq!((&line["not_taken"], &line["queue_full"]), (&failed.into(), &0.into()), "{line}");
        assert!(line.to_string().contains(why), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_costs_a_bounded_queue_and_a_bounded_wait_at_the_end() {
    // Connections are made by the system; nobody takes what they bring.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let captured = Captured::default();
    let _guard = tracing::subscriber::set_default(captured.subscriber(LogFormat::Json, "warn"));
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (traces, exporter) = start(&config(url, 1.0)).unwrap();
    // The test doesn't wait, so the exporter takes none meanwhile.
    (0..SPANS_MAX + 7).for_each(|_| make_span(&traces));
    assert_eq!(traces.counts(), [("sent", 0), ("dropped", 7), ("failed", 0)]);
    exporter.finish().await;
    assert_eq!(traces.counts()[0], ("sent", 0));
    let lines = captured.lines();
    let line = lines.iter().find(|line| line["message"].as_str().unwrap().contains("in time")).expect("it is told");
    assert_eq!(line["spans"], SPANS_MAX);
}
