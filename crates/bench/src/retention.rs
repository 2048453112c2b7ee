//! Retention under full load: does the disk stay bounded while publishers are as fast as they are acknowledged, and what do
//! they notice? Rounds without a limit, with a disk limit and with limits by count take turns.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_hub::{Event, HistoryLimits, Hub, HubConfig, Pattern, Rule};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::error::MeasureError;
use crate::load::random::Random;
use crate::machine::Machine;
use crate::round::{Latency, Spread, Stopwatch};
use crate::server::folder_bytes;
use crate::unit::Unit;

/// Bytes of a MiB.
const MIB: u64 = 1024 * 1024;

/// Bytes of noise that a publisher takes its events' data from.
const NOISE_BYTES: usize = 64 * 1024;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Sizes of the measurement.
#[derive(Clone, Debug, clap::Args)]
pub struct RetentionOptions {
    /// Channels that events are spread over; may be given several times.
    #[arg(long, default_values_t = [1, 10_000])]
    pub channels: Vec<usize>,
    /// Publishers at once.
    #[arg(long, default_value_t = 64)]
    pub publishers: usize,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 300)]
    pub bytes: usize,
    /// The disk limit, in MiB.
    #[arg(long, default_value_t = 128)]
    pub disk_max_mib: u64,
    /// Events that are kept altogether where channels have limits by count; each channel has its part.
    #[arg(long, default_value_t = 100_000)]
    pub count_max: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 20)]
    pub duration_s: u64,
    /// Seconds at the beginning of a round whose waits don't count: until the limit is reached.
    #[arg(long, default_value_t = 8)]
    pub warm_up_s: u64,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Where data folders are made, and removed again; should be on a real disk.
    #[arg(long, value_name = "FOLDER", default_value = "target")]
    pub folder: PathBuf,
}

/// What bounds a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Nothing.
    Nothing,
    /// A limit of the disk.
    Disk,
    /// A limit by count of each channel.
    Count,
}

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct RetentionTable {
    /// On which machine.
    pub machine: Machine,
    /// What.
    pub rows: Vec<RetentionRow>,
}

/// What publishers noticed of one bound, and whether it held. Medians of all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct RetentionRow {
    /// Channels that events were spread over.
    pub channels: usize,
    /// What bounded the hub.
    pub bound: Bound,
    /// Acknowledgements in a second.
    pub events_per_s: f64,
    /// By those of the same round without a bound: median, least, most.
    pub ratio: Spread,
    /// How long publishers waited.
    pub latency: Latency,
    /// The longest that one waited in any round, in microseconds.
    pub max_us: f64,
    /// The most bytes that the data folder had in any round.
    pub disk_peak_bytes: u64,
    /// Bytes of the tables at the end, which the disk limit bounds.
    pub table_bytes: f64,
    /// Events that were removed, of one channel and event each.
    pub removed: f64,
}

/// One round with one bound.
struct Sample {
    events_per_s: f64,
    latency: Latency,
    max_us: f64,
    disk_peak_bytes: u64,
    table_bytes: u64,
    removed: u64,
}

impl RetentionOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        let publishers = self.publishers.min(4);
        Self { channels: vec![2], publishers, duration_s: 1, warm_up_s: 0, rounds: 1, count_max: 20, ..self }
    }
}

/// Measures.
///
/// # Errors
///
/// When a hub failed, or counted other events than were acknowledged.
pub fn measure(options: &RetentionOptions) -> Result<RetentionTable, MeasureError> {
    std::fs::create_dir_all(&options.folder)?;
    let bounds = [Bound::Nothing, Bound::Disk, Bound::Count];
    let mut rows = Vec::new();
    for &channels in &options.channels {
        let mut samples: [Vec<Sample>; 3] = Default::default();
        for _ in 0..options.rounds {
            for (of_bound, bound) in samples.iter_mut().zip(bounds) {
                of_bound.push(round(options, channels.max(1), bound)?);
            }
        }
        let [without, ..] = &samples;
        for (of_bound, bound) in samples.iter().zip(bounds) {
            rows.push(row(channels, bound, of_bound, without));
        }
    }
    Ok(RetentionTable { machine: Machine::here(&options.folder), rows })
}

fn row(channels: usize, bound: Bound, samples: &[Sample], without: &[Sample]) -> RetentionRow {
    let median = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure).collect()).median;
    let ratios = samples.iter().zip(without).map(|(with, without)| with.events_per_s / without.events_per_s.max(1e-9));
    RetentionRow {
        channels,
        bound,
        events_per_s: median(|sample| sample.events_per_s),
        ratio: Spread::of(ratios.collect()),
        latency: Latency {
            p50_us: median(|sample| sample.latency.p50_us),
            p99_us: median(|sample| sample.latency.p99_us),
        },
        max_us: samples.iter().map(|sample| sample.max_us).fold(0.0, f64::max),
        disk_peak_bytes: samples.iter().map(|sample| sample.disk_peak_bytes).max().unwrap_or_default(),
        table_bytes: median(|sample| sample.table_bytes as f64),
        removed: median(|sample| sample.removed as f64),
    }
}

/// Publishes to a new hub for the time of a round.
fn round(options: &RetentionOptions, channels: usize, bound: Bound) -> Result<Sample, MeasureError> {
    let folder = tempfile::Builder::new().prefix("fanfare-bench-").tempdir_in(&options.folder)?;
    let history = match bound {
        Bound::Count => {
            HistoryLimits { count_max: (options.count_max / channels).max(1) as u64, ..HistoryLimits::default() }
        }
        Bound::Nothing | Bound::Disk => {
            HistoryLimits { count_max: u64::MAX, bytes_max: u64::MAX, ..HistoryLimits::default() }
        }
    };
    let hub = Hub::open_with(
        folder.path(),
        HubConfig {
            rules: vec![Rule::new(Pattern::new("*")?).history(history)],
            disk_bytes_max: (bound == Bound::Disk).then_some(options.disk_max_mib * MIB),
            ..HubConfig::default()
        },
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    let names: Arc<Vec<String>> = Arc::new((0..channels).map(|at| format!("orders:{at}")).collect());
    let sample = runtime.block_on(async {
        let over = Arc::new(AtomicBool::new(false));
        let watch = Arc::new(Stopwatch::start());
        let mut publishers = JoinSet::new();
        for from in 0..options.publishers {
            let publisher = Publisher {
                names: names.clone(),
                from,
                bytes: options.bytes,
                warm_up: Duration::from_secs(options.warm_up_s),
            };
            publishers.spawn(publisher.publish(hub.clone(), watch.clone(), over.clone()));
        }
        let mut disk_peak_bytes = 0;
        while watch.elapsed() < Duration::from_secs(options.duration_s) {
            tokio::time::sleep(LOOK).await;
            disk_peak_bytes = disk_peak_bytes.max(folder_bytes(folder.path()));
        }
        over.store(true, Ordering::Release);
        let mut waits = Vec::new();
        let mut acknowledged = 0;
        while let Some(done) = publishers.join_next().await {
            let (count, of_one) = done??;
            acknowledged += count;
            waits.extend(of_one);
        }
        let counted = watch.elapsed().saturating_sub(Duration::from_secs(options.warm_up_s));
        let stats = hub.stats();
        let published: u64 = stats.published.values().sum();
        if published != acknowledged {
            return Err(MeasureError::Lost(format!("{published} of {acknowledged} events were counted")));
        }
        hub.close().await;
        let events_per_s = waits.len() as f64 / counted.as_secs_f64().max(1e-9);
        let max_us = waits.iter().max().map_or(0.0, |wait| wait.as_secs_f64() * 1e6);
        let latency = Latency::of(waits).ok_or_else(|| MeasureError::Lost("nobody waited".into()))?;
        let (table_bytes, removed) = (stats.disk_table_bytes, stats.removed_by_reason.values().sum());
        Ok(Sample { events_per_s, latency, max_us, disk_peak_bytes, table_bytes, removed })
    })?;
    Ok(sample)
}

/// One publisher, which waits for each acknowledgement.
struct Publisher {
    names: Arc<Vec<String>>,
    from: usize,
    bytes: usize,
    warm_up: Duration,
}

impl Publisher {
    /// Publishes until it is over. Gives how many events, and the waits for those after the warm-up.
    async fn publish(
        self,
        hub: Hub,
        watch: Arc<Stopwatch>,
        over: Arc<AtomicBool>,
    ) -> Result<(u64, Vec<Duration>), MeasureError> {
        // Each publisher has draws of its own.
        let mut random = Random::default();
        (0..self.from * 1_000).for_each(|_| {
            random.below(2);
        });
        let letter = |random: &mut Random| char::from(b'0' + random.below(75) as u8);
        let text: String = (0..NOISE_BYTES + self.bytes).map(|_| letter(&mut random)).collect();
        let (mut count, mut waits) = (0, Vec::new());
        while !over.load(Ordering::Acquire) {
            // Another piece each time, so that the store finds little to compress.
            let at = random.below(NOISE_BYTES);
            let data = text.get(at..at + self.bytes).unwrap_or_default().to_owned();
            let channel = self.names.get(random.below(self.names.len())).map_or("orders", String::as_str);
            let began = watch.elapsed();
            hub.publish(channel, Event::text(data)).await?;
            count += 1;
            if began >= self.warm_up {
                waits.push(watch.elapsed().saturating_sub(began));
            }
        }
        Ok((count, waits))
    }
}

impl Display for RetentionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "retention ({})", self.machine)?;
        for row in &self.rows {
            let bound = match row.bound {
                Bound::Nothing => "without a limit",
                Bound::Disk => "disk limit",
                Bound::Count => "limit by count",
            };
            writeln!(
                f,
                "  {} channels, {bound}: {}/s, ratio {:.2} ({:.2}–{:.2}), p50 {}, p99 {}, longest {}, \
                 disk at most {}, tables {}, removed {}",
                row.channels,
                Unit::Amount.show(row.events_per_s.round()),
                row.ratio.median,
                row.ratio.min,
                row.ratio.max,
                Unit::Time.show(row.latency.p50_us),
                Unit::Time.show(row.latency.p99_us),
                Unit::Time.show(row.max_us),
                Unit::Bytes.show(row.disk_peak_bytes as f64),
                Unit::Bytes.show(row.table_bytes),
                Unit::Amount.show(row.removed),
            )?;
        }
        Ok(())
    }
}
