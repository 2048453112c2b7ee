//! The bounded queue between requests, which must never wait, and the exporter. What finds it full is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::limits::SPANS_MAX;

/// Where spans go that have ended.
#[derive(Debug)]
pub(super) struct Queue {
    sender: Sender<SpanData>,
    counts: Counts,
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) receiver: Receiver<SpanData>,
    pub(super) counts: Counts,
}

/// What became of spans. Cheap to clone; all clones are the same counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(pub(super) Arc<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Those that have ended.
    ended: AtomicU64,
    /// Of these, those that the collector took,
    pub(super) sent: AtomicU64,
    /// those that found the queue full,
    dropped: AtomicU64,
    /// and those that the collector didn't take.
    pub(super) failed: AtomicU64,
}

impl Counts {
    /// What became of spans, as it is called in figures.
    pub(super) fn all(&self) -> [(&'static str, u64); 3] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("sent", read(&self.0.sent)), ("dropped", read(&self.0.dropped)), ("failed", read(&self.0.failed))]
    }

    /// How many have ended, and nothing has become of them yet.
    pub(super) fn waiting(&self) -> u64 {
        let settled = self.all().iter().map(|(_, count)| count).sum();
        self.0.ended.load(Ordering::Relaxed).saturating_sub(settled)
    }
}

/// Both ends.
pub(super) fn queue() -> (Queue, Spans) {
    let (sender, receiver) = mpsc::channel(SPANS_MAX);
    let counts = Counts::default();
    (Queue { sender, counts: counts.clone() }, Spans { receiver, counts })
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.counts.0.ended.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(span).is_err() {
            self.counts.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    // Sending is the exporter's, and so is the end of it.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
