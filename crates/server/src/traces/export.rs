//! Sends spans to the collector in batches: OTLP over HTTP, as protocol buffers, with the commands' HTTP client.
//!
//! A batch is tried once. What the collector doesn't take is lost and counted, as is what finds the queue full meanwhile; a
//! collector that is down costs no request anything, and one line a minute in the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::header;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::queue::{Counts, Spans};
use crate::cli::client::Client;
use crate::limits::{SPANS_BATCH_MAX, SPANS_FLUSH_MAX, SPANS_POST_MAX};
use crate::serve::stop::{Stop, Stopped, stop};

/// How long spans wait for more.
const EVERY: Duration = Duration::from_secs(5);

/// How often losses are told.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// What an answer may have; collectors say a few words.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The task that sends. The default has nothing to send.
#[derive(Debug, Default)]
pub(crate) struct Exporter(Option<Sending>);

#[derive(Debug)]
struct Sending {
    stop: Stop,
    counts: Counts,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Begins to send.
    pub(super) fn start(client: Client, resource: &Resource, spans: Spans) -> Self {
        let (stop, stopped) = stop();
        let counts = spans.counts.clone();
        let task = Task { client, resource: resource.into(), spans, told: Told::default() };
        Self(Some(Sending { stop, counts, task: tokio::spawn(task.run(stopped)) }))
    }

    /// Sends what has ended so far, as long as that may take, and ends.
    pub(crate) async fn finish(self) {
        let Some(Sending { stop, counts, mut task }) = self.0 else { return };
        stop.now();
        if tokio::time::timeout(SPANS_FLUSH_MAX, &mut task).await.is_err() {
            task.abort();
            tracing::warn!(
                spans = counts.waiting(),
                "the collector didn't take the last traces in time; they are lost"
            );
        }
    }
}

/// What the task holds.
struct Task {
    client: Client,
    /// What the server is called.
    resource: ResourceAttributesWithSchema,
    spans: Spans,
    told: Told,
}

impl Task {
    /// Sends until stopped, and then what is left.
    async fn run(mut self, mut stopped: Stopped) {
        let mut is_open = true;
        while is_open {
            let mut batch = Vec::with_capacity(SPANS_BATCH_MAX);
            let due = Instant::now() + EVERY;
            while batch.len() < SPANS_BATCH_MAX {
                let room = SPANS_BATCH_MAX - batch.len();
                let is_stopped = self.spans.receiver.is_closed();
                tokio::select! {
                    count = self.spans.receiver.recv_many(&mut batch, room) => if count == 0 {
                        is_open = false;
                        break;
                    },
                    () = tokio::time::sleep_until(due) => break,
                    // What waits is still received.
                    () = stopped.wait(), if !is_stopped => self.spans.receiver.close(),
                }
            }
            self.send(batch).await;
            self.told.tell(&self.spans.counts);
        }
    }

    /// Sends a batch, and counts what became of it.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let counts = &self.spans.counts.0;
        let posted = tokio::time::timeout(SPANS_POST_MAX, post(&self.client, &self.resource, batch)).await;
        let refused = match posted.context("the collector took too long").flatten() {
            Ok(Partly { refused, why }) => {
                self.told.why = why;
                refused.min(count)
            }
            Err(error) => {
                self.told.why = format!("{error:#}");
                count
            }
        };
        counts.sent.fetch_add(count - refused, Ordering::Relaxed);
        counts.failed.fetch_add(refused, Ordering::Relaxed);
    }
}

/// What a collector that answered didn't take.
struct Partly {
    refused: u64,
    why: String,
}

/// Posts a batch.
async fn post(
    client: &Client,
    resource: &ResourceAttributesWithSchema,
    batch: Vec<SpanData>,
) -> anyhow::Result<Partly> {
    let resource_spans = group_spans_by_resource_and_scope(batch, resource);
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let request = client.request("POST", "/v1/traces", &[]).header(header::CONTENT_TYPE, "application/x-protobuf");
    let mut exchange = client.send(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = exchange.response.status();
    anyhow::ensure!(status.is_success(), "the collector answered {status}");
    let body = Limited::new(exchange.response.body_mut(), ANSWER_BYTES_MAX).collect().await;
    // A collector that took everything may say nothing, or something else.
    let said = body.ok().and_then(|body| ExportTraceServiceResponse::decode(body.to_bytes()).ok());
    let partly = said.and_then(|said| said.partial_success).unwrap_or_default();
    Ok(Partly { refused: u64::try_from(partly.rejected_spans).unwrap_or(0), why: partly.error_message })
}

/// What was told of losses.
#[derive(Debug, Default)]
struct Told {
    /// When.
    at: Option<Instant>,
    /// How many had found the queue full, and how many were not taken, by then.
    dropped: u64,
    failed: u64,
    /// Why the last batch that wasn't taken wasn't.
    why: String,
}

impl Told {
    /// Says in the log what was lost since it last did, at most once a minute.
    fn tell(&mut self, counts: &Counts) {
        let [(_, _), (_, dropped), (_, failed)] = counts.all();
        let is_due = self.at.is_none_or(|at| at.elapsed() >= TOLD_EVERY);
        if !is_due || (dropped, failed) == (self.dropped, self.failed) {
            return;
        }
        let (queue_full, not_taken) = (dropped - self.dropped, failed - self.failed);
        // What a collector says is quoted.
        tracing::warn!(queue_full, not_taken, why = ?self.why, "traces were lost");
        *self = Self { at: Some(Instant::now()), dropped, failed, why: String::new() };
    }
}
