//! Slow readers: some streams read slowly and some not at all. What do the others notice of it?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies, ServerUse};
use crate::load::LoadOptions;
use crate::load::publishing::Publishing;
use crate::load::readers::{Plan, Record};
use crate::load::slow::SlowReaders;
use crate::scenario::stage::{CHANNEL, Since, Stage, per};
use crate::subject::Subject;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct SlowReadersOptions {
    /// Streams that read at once.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// Streams that read 1 kB a second.
    #[arg(long, default_value_t = 100)]
    pub slow: usize,
    /// Streams that never read.
    #[arg(long, default_value_t = 100)]
    pub stopped: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Seconds for which events are published, without the slow ones and then with them.
    #[arg(long, default_value_t = 20)]
    pub duration_s: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What the others notice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowReadersFigures {
    /// What the streams got that read at once.
    pub delivery: Delivery,
    /// Streams that read slowly.
    pub slow: u64,
    /// Streams that never read.
    pub stopped: u64,
    /// From due to delivered without slow readers.
    pub latency_without: Latencies,
    /// From due to delivered with them.
    pub latency_with: Latencies,
    /// What the server used without them.
    pub server_without: Option<ServerUse>,
    /// What it used with them.
    pub server_with: Option<ServerUse>,
    /// Memory of the server that each slow or stopped stream took at its peak, in bytes.
    pub peak_bytes_per_slow_stream: Option<f64>,
    /// Bytes that slow streams read, all together.
    pub slow_bytes: u64,
    /// Slow streams that the server ended.
    pub slow_ended: u64,
}

impl SlowReadersOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        let (slow, stopped) = (self.slow.min(5), self.stopped.min(5));
        Self { streams: self.streams.min(50), slow, stopped, duration_s: self.duration_s.min(2), ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run.
pub fn run(subject: &Subject, options: &SlowReadersOptions) -> Result<SlowReadersFigures, MeasureError> {
    let stage = Stage::set(subject, &options.load)?;
    let path = stage.path(CHANNEL);
    let readers = stage.open(&Plan::alike(options.streams, &path, 2, Record::Every))?;
    let publish = |first_series| {
        let publishing = Publishing { first_series, ..stage.publishing(&[CHANNEL.to_owned()]) };
        publishing.paced(options.rate, Duration::from_secs(options.duration_s))?.join()
    };
    let since = stage.watch()?;
    let without = publish(0)?;
    stage.settle(&readers, without.count());
    let server_without = since.map(Since::until_now).transpose()?;
    let latencies_without = readers.take_latencies();

    let since = stage.watch()?;
    let slow =
        SlowReaders::open(stage.server.address(), &path, subject.dialect, (options.slow, options.stopped), 1_000)?;
    let with = publish(1)?;
    stage.settle(&readers, without.count() + with.count());
    let server_with = since.map(Since::until_now).transpose()?;
    let latencies_with = readers.take_latencies();
    let slow = slow.close()?;
    let delivery = stage.strike(readers, &[without.of_series, with.of_series].concat())?;

    let count = (options.slow + options.stopped) as u64;
    let grown = server_with.map(|server| server.memory_peak_bytes.saturating_sub(server.memory_before_bytes));
    Ok(SlowReadersFigures {
        delivery,
        slow: options.slow as u64,
        stopped: options.stopped as u64,
        latency_without: Latencies::from(&latencies_without),
        latency_with: Latencies::from(&latencies_with),
        server_without,
        server_with,
        peak_bytes_per_slow_stream: grown.map(|bytes| per(bytes as f64, count)),
        slow_bytes: slow.bytes,
        slow_ended: slow.ended,
    })
}
