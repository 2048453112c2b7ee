//! Bad peers: beside good readers some read slowly and some never. What do the good ones notice, round by round, and does
//! the server cut the bad ones for the right reason?

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies};
use crate::load::LoadOptions;
use crate::load::ask::ask;
use crate::load::publishing::Publishing;
use crate::load::readers::{Plan, Record};
use crate::load::slow::SlowReaders;
use crate::scenario::stage::{CHANNEL, Since, Stage};
use crate::subject::Subject;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct BadPeersOptions {
    /// Good readers.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// Streams that read 1 kB a second.
    #[arg(long, default_value_t = 50)]
    pub slow: usize,
    /// Streams that never read.
    #[arg(long, default_value_t = 50)]
    pub stopped: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Seconds for which events are published without bad peers, in each round.
    #[arg(long, default_value_t = 20)]
    pub calm_s: u64,
    /// Seconds for which events are published with them: longer than the server bears them.
    #[arg(long, default_value_t = 90)]
    pub duration_s: u64,
    /// Rounds, without and with them in turn.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What became of good and bad peers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BadPeersFigures {
    /// What the good readers got.
    pub delivery: Delivery,
    /// Streams that read slowly, in each round.
    pub slow: u64,
    /// Streams that never read, in each round.
    pub stopped: u64,
    /// Each round.
    pub rounds: Vec<BadPeersRound>,
}

/// One round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BadPeersRound {
    /// From due to delivered to good readers, without bad peers.
    pub latency_without: Latencies,
    /// The same with them.
    pub latency_with: Latencies,
    /// Memory of the server before they came, in bytes.
    pub memory_before_bytes: Option<u64>,
    /// The most memory of the server while they were there, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Streams that the server closed while they were there, by its reasons.
    pub closed: BTreeMap<String, u64>,
}

/// What the scenario reads of the server's own figures.
#[derive(Debug, Default, Deserialize)]
struct Stats {
    streams_closed: BTreeMap<String, u64>,
}

impl BadPeersOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        let (slow, stopped) = (self.slow.min(5), self.stopped.min(5));
        Self { streams: self.streams.min(50), slow, stopped, calm_s: 1, duration_s: 1, rounds: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run.
pub fn run(subject: &Subject, options: &BadPeersOptions) -> Result<BadPeersFigures, MeasureError> {
    let stage = Stage::set(subject, &options.load)?;
    let path = stage.path(CHANNEL);
    let readers = stage.open(&Plan::alike(options.streams, &path, 2 * options.rounds, Record::Every))?;
    let closed = || {
        // For who has no channels every path is a stream.
        if !subject.promises.channels {
            return Ok(BTreeMap::new());
        }
        let stats: Stats = ask(stage.server.address(), "/stats")?.unwrap_or_default();
        Ok::<_, MeasureError>(stats.streams_closed)
    };
    let mut of_series = Vec::new();
    let mut count = 0;
    let mut publish = |seconds| {
        let publishing = Publishing { first_series: of_series.len() as u32, ..stage.publishing(&[CHANNEL.to_owned()]) };
        let published = publishing.paced(options.rate, Duration::from_secs(seconds))?.join()?;
        count += published.count();
        of_series.extend(published.of_series);
        stage.settle(&readers, count);
        Ok::<_, MeasureError>(Latencies::from(&readers.take_latencies()))
    };
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let latency_without = publish(options.calm_s)?;
        let (since, before) = (stage.watch()?, closed()?);
        let amounts = (options.slow, options.stopped);
        let bad = SlowReaders::open(stage.server.address(), &path, subject.dialect, amounts, 1_000)?;
        let latency_with = publish(options.duration_s)?;
        let mut closed = closed()?;
        let used = since.map(Since::until_now).transpose()?;
        bad.close()?;
        for (reason, count) in &mut closed {
            *count -= before.get(reason).copied().unwrap_or_default();
        }
        closed.retain(|_, count| *count > 0);
        rounds.push(BadPeersRound {
            latency_without,
            latency_with,
            memory_before_bytes: used.map(|used| used.memory_before_bytes),
            memory_peak_bytes: used.map(|used| used.memory_peak_bytes),
            closed,
        });
    }
    let delivery = stage.strike(readers, &of_series)?;
    Ok(BadPeersFigures { delivery, slow: options.slow as u64, stopped: options.stopped as u64, rounds })
}
