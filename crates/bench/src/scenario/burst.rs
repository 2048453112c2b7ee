//! Burst: publishers that publish as fast as they are acknowledged, to many streams. How fast does everything arrive
//! everywhere?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies, ServerUse};
use crate::load::LoadOptions;
use crate::load::publishing::Until;
use crate::load::readers::{Plan, Record};
use crate::scenario::stage::{CHANNEL, Since, Stage, cpu_us_per, per};
use crate::subject::Subject;
use crate::usage::ProcessTree;

/// How long memory may take to go back to the system before it is looked at.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct BurstOptions {
    /// Streams that are open, all of one channel.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// Publishers, each of which waits for its acknowledgement before it publishes again.
    #[arg(long, default_value_t = 16)]
    pub publishers: usize,
    /// Events that they publish, all together.
    #[arg(long, default_value_t = 20_000)]
    pub events: u64,
    /// Publishes for so many seconds instead, however many events that makes.
    #[arg(long)]
    pub duration_s: Option<u64>,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// How a burst went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstFigures {
    /// What streams got.
    pub delivery: Delivery,
    /// Publishers that there were.
    pub publishers: u64,
    /// Seconds from the first request until the last acknowledgement.
    pub publishing_s: f64,
    /// Acknowledgements in a second.
    pub acknowledged_per_s: f64,
    /// How long publishers waited for their acknowledgements.
    pub acknowledgement: Latencies,
    /// Seconds from the first request until the last stream had the last event.
    pub elapsed_s: f64,
    /// Deliveries in a second, until the last stream had the last event.
    pub delivered_per_s: f64,
    /// From sending an event until a stream had it; not of every delivery, but of the last one in each read.
    pub latency: Latencies,
    /// Processor time of the load itself meanwhile, in seconds: together with the server's it tells whether the machine
    /// was full.
    #[serde(default)]
    pub load_cpu_s: f64,
    /// What the server used, from the open streams on.
    pub server: Option<ServerUse>,
    /// Processor time of the server for one delivery, in microseconds. Publishing is included.
    pub cpu_us_per_delivery: Option<f64>,
    /// Memory of the server for each open stream before the burst, in bytes.
    pub before_bytes_per_stream: Option<f64>,
    /// The same at the peak of the burst.
    pub peak_bytes_per_stream: Option<f64>,
    /// The same when everything was delivered, a little later.
    pub after_bytes_per_stream: Option<f64>,
}

impl BurstOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        let duration_s = self.duration_s.map(|seconds| seconds.min(1));
        Self { streams: self.streams.min(50), events: self.events.min(2_000), duration_s, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run. What was lost is no error here: it stands in the figures.
pub fn run(subject: &Subject, options: &BurstOptions) -> Result<BurstFigures, MeasureError> {
    let stage = Stage::set(subject, &options.load)?;
    let empty = stage.server.process().map(ProcessTree::memory_bytes);
    let plan = Plan::alike(options.streams, &stage.path(CHANNEL), options.publishers, Record::LastOfRead);
    let readers = stage.open(&plan)?;
    // What opening them took for a moment is given back by then.
    stage.pause(SETTLED_AFTER);
    let (since, load_before) = (stage.watch()?, ProcessTree::alone());
    let until = options.duration_s.map(Duration::from_secs).map_or(Until::Events(options.events), Until::Elapsed);
    let publishing = stage.publishing(&[CHANNEL.to_owned()]);
    let published = publishing.as_fast_as_acknowledged(options.publishers, until)?.join()?;
    stage.settle(&readers, published.count());
    let elapsed = readers.last_delivery().saturating_sub(published.first);
    let load_cpu = ProcessTree::alone().saturating_sub(load_before);
    let mut server = since.map(Since::until_now).transpose()?;
    // What was needed for a moment only is given back by then.
    stage.pause(SETTLED_AFTER);
    if let (Some(server), Some(process)) = (&mut server, stage.server.process()) {
        server.memory_after_bytes = process.memory_bytes();
    }
    let latencies = readers.take_latencies();
    let delivery = stage.strike(readers, &published.of_series)?;

    let bytes_per_stream = |bytes: fn(&ServerUse, u64) -> u64| {
        let (server, empty) = (server.as_ref()?, empty?);
        Some(per(bytes(server, empty) as f64, options.streams as u64))
    };
    Ok(BurstFigures {
        delivery,
        publishers: options.publishers as u64,
        publishing_s: published.elapsed().as_secs_f64(),
        acknowledged_per_s: published.per_s(),
        acknowledgement: Latencies::from(&published.waits),
        elapsed_s: elapsed.as_secs_f64(),
        delivered_per_s: delivery.delivered as f64 / elapsed.as_secs_f64().max(1e-9),
        latency: Latencies::from(&latencies),
        load_cpu_s: load_cpu.as_secs_f64(),
        server,
        cpu_us_per_delivery: cpu_us_per(server.as_ref(), delivery.delivered),
        before_bytes_per_stream: bytes_per_stream(|s, empty| s.memory_before_bytes.saturating_sub(empty)),
        peak_bytes_per_stream: bytes_per_stream(|s, empty| s.memory_peak_bytes.saturating_sub(empty)),
        after_bytes_per_stream: bytes_per_stream(|s, empty| s.memory_after_bytes.saturating_sub(empty)),
    })
}
