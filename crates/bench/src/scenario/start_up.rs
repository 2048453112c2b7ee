//! Start-up: a store is filled, then the server starts on it, after it was closed in order and after it was killed. How long
//! until it listens again, and is everything there?

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::load::LoadOptions;
use crate::load::ask::ask;
use crate::load::progress::Progress;
use crate::scenario::stage::Stage;
use crate::server::End;
use crate::subject::Subject;

/// Bytes of a GB.
const GB: f64 = 1e9;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct StartUpOptions {
    /// Megabytes of events' data that the store is filled with.
    #[arg(long, default_value_t = 1_000)]
    pub megabytes: u64,
    /// Channels that events are spread over. Each keeps 100,000 events at most, and 64 MiB.
    #[arg(long, default_value_t = 1_000)]
    pub channels: usize,
    /// Events in one request.
    #[arg(long, default_value_t = 1_000)]
    pub batch: usize,
    /// Starts of each kind.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Megabytes of events' data that are published before each end, so that there is something in the journal.
    #[arg(long, default_value_t = 50)]
    pub more_megabytes: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// How long starts took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartUpFigures {
    /// Events that were published, and found again after every start.
    pub events: u64,
    /// Bytes of the data folder before the first start.
    pub data_bytes: u64,
    /// Seconds from the start to listening, after the server was closed in order: first of all rounds, then the last.
    pub start_clean_s: Vec<f64>,
    /// The same after it was killed.
    pub start_killed_s: Vec<f64>,
    /// The median of the former, for each GB of the data folder.
    pub clean_s_per_gb: f64,
    /// The median of the latter.
    pub killed_s_per_gb: f64,
    /// Memory of the server after the last start, in bytes.
    pub memory_bytes: Option<u64>,
}

/// What the scenario reads of what the server tells of a channel.
#[derive(Debug, Default, Deserialize)]
struct Channel {
    events: u64,
}

impl StartUpOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { megabytes: 1, channels: 10, batch: 100, rounds: 1, more_megabytes: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server has no channels, lost events, or it or the load couldn't be run.
pub fn run(subject: &Subject, options: &StartUpOptions) -> Result<StartUpFigures, MeasureError> {
    if !subject.promises.channels {
        return Err(MeasureError::Unsupported("channels"));
    }
    let mut stage = Stage::set(subject, &options.load)?;
    let mut events = fill(&stage, options, options.megabytes)?;
    let data_bytes = stage.server.data_bytes().unwrap_or_default();
    let (mut clean, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for (end, times) in [(End::InOrder, &mut clean), (End::Kill, &mut killed)] {
            events += fill(&stage, options, options.more_megabytes)?;
            let (server, took) = stage.server.start_after(end)?;
            stage.server = server;
            times.push(took.as_secs_f64());
            check(&stage, options.channels, events)?;
        }
    }
    let memory_bytes = stage.server.process().map(crate::usage::ProcessTree::memory_bytes);
    stage.server.stop()?;
    let per_gb = |times: &[f64]| crate::round::Spread::of(times.to_vec()).median / (data_bytes as f64 / GB).max(1e-9);
    Ok(StartUpFigures {
        events,
        data_bytes,
        clean_s_per_gb: per_gb(&clean),
        killed_s_per_gb: per_gb(&killed),
        start_clean_s: clean,
        start_killed_s: killed,
        memory_bytes,
    })
}

/// Publishes so much data; gives how many events that were.
fn fill(stage: &Stage<'_>, options: &StartUpOptions, megabytes: u64) -> Result<u64, MeasureError> {
    let events = megabytes as usize * 1_000_000 / options.load.bytes.max(1);
    let groups = (0..events).map(|at| vec![format!("bench:{}", at % options.channels)]).collect();
    let mut spread = stage.spread(groups, options.batch)?;
    let progress = Progress::begin("publishing", events as u64);
    spread.one_each(|count| progress.at(count))?;
    Ok(events as u64)
}

/// Fails unless all channels together have so many events.
fn check(stage: &Stage<'_>, channels: usize, expected: u64) -> Result<(), MeasureError> {
    let mut found = 0;
    for at in 0..channels {
        let channel: Option<Channel> = ask(stage.server.address(), &format!("/channels/bench:{at}"))?;
        found += channel.unwrap_or_default().events;
    }
    if found == expected { Ok(()) } else { Err(MeasureError::Lost(format!("{found} of {expected} events were found"))) }
}
