//! Fan-out: events at a steady pace, each to all streams. How long after it was due does an event arrive, and what does
//! a delivery cost?

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies, ServerUse};
use crate::load::LoadOptions;
use crate::load::readers::{Plan, Record};
use crate::scenario::stage::{CHANNEL, Since, Stage, cpu_us_per};
use crate::subject::Subject;
use crate::usage::ProcessTree;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct FanOutOptions {
    /// Streams that are open, all following the same.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Seconds for which events are published.
    #[arg(long, default_value_t = 20)]
    pub duration_s: u64,
    /// Has the server gather what streams get for so many milliseconds, by a rule for the channels.
    #[arg(long, value_name = "MS")]
    pub flush: Option<u64>,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// How fan-out went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FanOutFigures {
    /// What streams got.
    pub delivery: Delivery,
    /// Events that were to be published in a second.
    pub rate: f64,
    /// For how long the server gathered what streams got, if it did, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush_us: Option<u64>,
    /// From the instant at which an event was due to be published until a stream had it.
    pub latency: Latencies,
    /// From the instant at which an event was due until its publisher had the acknowledgement.
    pub acknowledgement: Latencies,
    /// Seconds from the first event until the last delivery.
    pub elapsed_s: f64,
    /// Processor time of the load itself meanwhile, in seconds: together with the server's it tells whether the machine
    /// was full.
    #[serde(default)]
    pub load_cpu_s: f64,
    /// What the server used.
    pub server: Option<ServerUse>,
    /// Processor time of the server for one delivery, in microseconds.
    pub cpu_us_per_delivery: Option<f64>,
}

impl FanOutOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { streams: self.streams.min(50), duration_s: self.duration_s.min(2), ..self }
    }

    /// The server with the rule that is asked for, for these channels.
    pub(super) fn ruled<'a>(&self, subject: &'a Subject, pattern: &str) -> Result<Cow<'a, Subject>, MeasureError> {
        let Some(flush_ms) = self.flush else { return Ok(Cow::Borrowed(subject)) };
        let rule = format!("[[rule]]\npattern = \"{pattern}\"\nflush = \"{flush_ms}ms\"\n");
        subject.clone().configured(rule).map(Cow::Owned)
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run. What was lost is no error here: it stands in the figures.
pub fn run(subject: &Subject, options: &FanOutOptions) -> Result<FanOutFigures, MeasureError> {
    let subject = options.ruled(subject, CHANNEL)?;
    let stage = Stage::set(&subject, &options.load)?;
    let path = stage.path(CHANNEL);
    paced(stage, &path, &[CHANNEL.to_owned()], options)
}

/// Publishes to channels in turn, at a pace, to streams that follow all of them; then takes everything down.
pub(super) fn paced(
    stage: Stage<'_>,
    path: &str,
    channels: &[String],
    options: &FanOutOptions,
) -> Result<FanOutFigures, MeasureError> {
    let (rate, duration) = (options.rate, Duration::from_secs(options.duration_s));
    let readers = stage.open(&Plan::alike(options.streams, path, 1, Record::Every))?;
    let (since, load_before) = (stage.watch()?, ProcessTree::alone());
    let published = stage.publishing(channels).paced(rate, duration)?.join()?;
    stage.settle(&readers, published.count());
    let load_cpu = ProcessTree::alone().saturating_sub(load_before);
    let server = since.map(Since::until_now).transpose()?;
    let elapsed = readers.last_delivery().saturating_sub(published.first);
    let latencies = readers.take_latencies();
    let delivery = stage.strike(readers, &published.of_series)?;
    Ok(FanOutFigures {
        delivery,
        rate,
        flush_us: options.flush.map(|ms| 1_000 * ms),
        latency: Latencies::from(&latencies),
        acknowledgement: Latencies::from(&published.waits),
        elapsed_s: elapsed.as_secs_f64(),
        load_cpu_s: load_cpu.as_secs_f64(),
        server,
        cpu_us_per_delivery: cpu_us_per(server.as_ref(), delivery.delivered),
    })
}
