//! The figures of the hub, the door and the process in the form that Prometheus reads (the text of `OpenMetrics` 1.0).
//!
//! Each room's figures are a file below `metrics/`: name, meaning and where the value comes from. Names follow Prometheus'
//! conventions: `fanfare_`, then the thing, then the unit. No label has a value that clients choose, so what there is to
//! scrape doesn't grow with channels, streams or addresses.

use std::fmt;

use fanfare_hub::{Distribution, Hub, Stats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::door::Door;
use crate::figures::Seen;
use crate::figures::process::Process;

mod door;
mod hub;
mod process;

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of all figures, as they are now.
pub(crate) fn text(hub: &Hub, door: &Door) -> Result<String, fmt::Error> {
    let moment = Moment {
        stats: hub.stats(),
        is_ready: hub.ready().is_ok(),
        seen: door.figures().seen(),
        connections_open: door.counts().open(),
        connections: door.counts().all().to_vec(),
        spans: door.traces().counts(),
        process: Process::now(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(moment));
    let mut text = String::with_capacity(16 * 1024);
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// All figures at one moment.
#[derive(Debug)]
struct Moment {
    stats: Stats,
    is_ready: bool,
    seen: Seen,
    connections_open: u64,
    /// What happened to connections.
    connections: Vec<(&'static str, u64)>,
    /// What became of spans.
    spans: [(&'static str, u64); 3],
    process: Option<Process>,
}

impl Collector for Moment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        sheet.info("fanfare_build", "Which server this is.", &[("version", env!("CARGO_PKG_VERSION"))])?;
        sheet.gauge("fanfare_ready", "Whether it takes events and streams: 1 or 0.", self.is_ready.into())?;
        hub::write(&mut sheet, &self.stats)?;
        door::write(&mut sheet, self)?;
        self.process.iter().try_for_each(|process| process::write(&mut sheet, process))
    }
}

/// What figures are written on. A name comes without the `_total` of counters, which the format adds.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &[(&'static str, &str)]) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// A counter of seconds.
    fn counter_of_seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// A counter for each of the label's values.
    fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(word, value)| {
            metric.encode_family(&[(label, word)])?.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }

    fn histogram(&mut self, name: &str, help: &str, values: &Distribution) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(values.sum(), values.count(), &values.buckets().collect::<Vec<_>>(), None)
    }

    /// A histogram for each set of the two labels' values.
    fn histograms<'v>(
        &mut self,
        name: &str,
        help: &str,
        (first, second): (&'static str, &'static str),
        values: impl IntoIterator<Item = &'v (&'static str, &'static str, Distribution)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        values.into_iter().try_for_each(|(one, other, values)| {
            let labels = [(first, *one), (second, *other)];
            let mut of_labels = metric.encode_family(&labels)?;
            of_labels.encode_histogram::<NoLabelSet>(
                values.sum(),
                values.count(),
                &values.buckets().collect::<Vec<_>>(),
                None,
            )
        })
    }
}

#[cfg(test)]
mod tests;
