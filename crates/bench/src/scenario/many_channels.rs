//! Many channels: a million channels with one event each. What does a channel cost, and does the server still start?

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::Latencies;
use crate::load::LoadOptions;
use crate::load::progress::Progress;
use crate::load::random::Random;
use crate::load::readers::{Plan, Record, StreamPlan};
use crate::scenario::stage::{Stage, per};
use crate::subject::Subject;
use crate::usage::ProcessTree;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct ManyChannelsOptions {
    /// Channels, each of which gets one event.
    #[arg(long, default_value_t = 1_000_000)]
    pub channels: usize,
    /// Events in one request.
    #[arg(long, default_value_t = 1_000)]
    pub batch: usize,
    /// Streams that are opened afterwards, each of a channel of its own.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// What all scenarios share. Streams are opened eight at a time here, so that their times tell the server's.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What a channel costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ManyChannelsFigures {
    /// Channels, each of which got one event.
    pub channels: u64,
    /// Events that were published in a second.
    pub published_per_s: f64,
    /// How long a request took.
    pub acknowledgement: Latencies,
    /// Memory of the server before, in bytes.
    pub memory_before_bytes: Option<u64>,
    /// Memory of the server with all channels, in bytes.
    pub memory_after_bytes: Option<u64>,
    /// Memory that each channel added, in bytes.
    pub memory_bytes_per_channel: Option<f64>,
    /// Bytes of the data folder for each channel.
    pub disk_bytes_per_channel: Option<f64>,
    /// Seconds from telling the server to stop until it listened again.
    pub restart_s: f64,
    /// Memory of the server after that, in bytes.
    pub memory_restarted_bytes: Option<u64>,
    /// How long it took to open a stream of a channel that has an event.
    pub opening_known: Latencies,
    /// How long it took to open a stream of a channel that nobody has named before.
    pub opening_fresh: Latencies,
}

impl ManyChannelsOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { channels: self.channels.min(2_000), streams: self.streams.min(50), ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server has no channels, or it or the load couldn't be run.
pub fn run(subject: &Subject, options: &ManyChannelsOptions) -> Result<ManyChannelsFigures, MeasureError> {
    if !subject.promises.channels {
        return Err(MeasureError::Unsupported("channels"));
    }
    let load = LoadOptions { opening_max: options.load.opening_max.min(8), ..options.load.clone() };
    let mut stage = Stage::set(subject, &load)?;
    let memory = |stage: &Stage<'_>| stage.server.process().map(ProcessTree::memory_bytes);
    let before = memory(&stage);
    let groups = (0..options.channels).map(|at| vec![format!("bench:{at}")]).collect();
    let mut spread = stage.spread(groups, options.batch)?;
    let progress = Progress::begin("publishing", options.channels as u64);
    let published = spread.one_each(|count| progress.at(count))?;
    drop(progress);
    let after = memory(&stage);
    let disk = stage.server.data_bytes();
    drop(spread);

    let begun = stage.clock.now();
    stage.server = stage.server.restart()?;
    let restart = stage.clock.now().saturating_sub(begun);
    let restarted = memory(&stage);

    let mut random = Random::default();
    let mut drawn = std::collections::BTreeSet::new();
    while drawn.len() < options.streams.min(options.channels) {
        drawn.insert(random.below(options.channels));
    }
    let known = openings(&stage, drawn.iter().map(|at| format!("bench:{at}")))?;
    let fresh = openings(&stage, (0..options.streams).map(|at| format!("fresh:{at}")))?;
    stage.server.stop()?;

    let channels = options.channels as u64;
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    Ok(ManyChannelsFigures {
        channels,
        published_per_s: published.per_s(),
        acknowledgement: Latencies::from(&published.waits),
        memory_before_bytes: before,
        memory_after_bytes: after,
        memory_bytes_per_channel: grown.map(|bytes| per(bytes as f64, channels)),
        disk_bytes_per_channel: disk.map(|bytes| per(bytes as f64, channels)),
        restart_s: restart.as_secs_f64(),
        memory_restarted_bytes: restarted,
        opening_known: known,
        opening_fresh: fresh,
    })
}

/// Opens a stream of each of these channels, and tells how long that took.
fn openings(stage: &Stage<'_>, channels: impl Iterator<Item = String>) -> Result<Latencies, MeasureError> {
    let stream = |channel: String| StreamPlan { path: stage.path(&channel).into(), first_series: 0 };
    let plan = Plan { streams: channels.map(stream).collect(), width: 1, remembers_ids: false, record: Record::Every };
    let readers = stage.open(&plan)?;
    let openings = readers.take_openings();
    readers.finish(&[])?;
    Ok(Latencies::from(&openings))
}
