//! Soak: a steady load for a long time, with streams that break off and come back. Does anything grow, slow down or get
//! lost?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies};
use crate::load::LoadOptions;
use crate::load::pace::Clock;
use crate::load::random::Random;
use crate::load::readers::{Plan, Readers, Record};
use crate::scenario::stage::{CHANNEL, Stage};
use crate::subject::Subject;
use crate::usage::ProcessTree;

/// How often streams break off or come back.
const TURN: Duration = Duration::from_secs(1);

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct SoakOptions {
    /// Streams.
    #[arg(long, default_value_t = 1_000)]
    pub streams: usize,
    /// Events in a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Seconds for which it goes on.
    #[arg(long, default_value_t = 3_600)]
    pub duration_s: u64,
    /// Streams that break off in each second, to come back in the next. None where the server can't resume them.
    #[arg(long, default_value_t = 10)]
    pub churn: usize,
    /// Seconds between two samples.
    #[arg(long, default_value_t = 10)]
    pub sample_s: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SoakFigures {
    /// What streams got.
    pub delivery: Delivery,
    /// Times that a stream broke off and came back.
    pub resumed: u64,
    /// From the instant at which an event was due until a stream had it, over all the time. What a stream missed while it
    /// was away is not timed.
    pub latency: Latencies,
    /// From the instant at which an event was due until its publisher had the acknowledgement.
    pub acknowledgement: Latencies,
    /// How it was in the course of time.
    pub samples: Vec<Sample>,
}

/// How it was for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from the beginning.
    pub elapsed_s: f64,
    /// Memory of the server, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many processors the server kept busy.
    pub processors: Option<f64>,
    /// Deliveries in a second.
    pub delivered_per_s: f64,
    /// From due to delivered.
    pub latency: Latencies,
}

impl SoakOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { streams: self.streams.min(50), duration_s: self.duration_s.min(4), sample_s: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run.
pub fn run(subject: &Subject, options: &SoakOptions) -> Result<SoakFigures, MeasureError> {
    let stage = Stage::set(subject, &options.load)?;
    let churn = if subject.promises.resume { options.churn } else { 0 };
    let alike = Plan::alike(options.streams, &stage.path(CHANNEL), 1, Record::Every);
    let readers = stage.open(&Plan { remembers_ids: churn > 0, ..alike })?;
    let publishing = stage.publishing(&[CHANNEL.to_owned()]);
    let publishers = publishing.paced(options.rate, Duration::from_secs(options.duration_s))?;

    let mut sampler = Sampler::start(&stage, &readers);
    let (mut random, mut away, mut resumed) = (Random::default(), Vec::new(), 0);
    let mut next_sample = sampler.begun + Duration::from_secs(options.sample_s);
    while !publishers.have_ended() {
        stage.clock.wait_until(stage.clock.now() + TURN);
        for at in away.drain(..) {
            readers.open(at..at + 1)?;
            resumed += 1;
        }
        for _ in 0..churn {
            let at = random.below(options.streams);
            readers.close(at..at + 1)?;
            away.push(at);
        }
        if stage.clock.now() >= next_sample {
            sampler.sample();
            next_sample += Duration::from_secs(options.sample_s);
        }
    }
    let published = publishers.join()?;
    // Those that went in the last turn come back, too.
    readers.open(0..options.streams)?;
    stage.settle(&readers, published.count());
    let Sampler { samples, mut latencies, .. } = sampler;
    // Both record the same range.
    let _ = latencies.add(readers.take_latencies());
    let delivery = stage.strike(readers, &published.of_series)?;
    Ok(SoakFigures {
        delivery,
        resumed: resumed + away.len() as u64,
        latency: Latencies::from(&latencies),
        acknowledgement: Latencies::from(&published.waits),
        samples,
    })
}

/// Looks at the server from time to time.
struct Sampler<'a> {
    readers: &'a Readers,
    process: Option<ProcessTree>,
    clock: Clock,
    begun: Duration,
    /// When it looked last, and what the server and the readers had done by then.
    looked: Duration,
    cpu: Option<Duration>,
    delivered: u64,
    /// All latencies so far.
    latencies: hdrhistogram::Histogram<u64>,
    samples: Vec<Sample>,
}

impl<'a> Sampler<'a> {
    fn start(stage: &Stage<'_>, readers: &'a Readers) -> Self {
        let process = stage.server.process();
        let begun = stage.clock.now();
        Self {
            readers,
            process,
            clock: stage.clock.clone(),
            begun,
            looked: begun,
            cpu: process.map(ProcessTree::cpu),
            delivered: readers.delivered(),
            latencies: readers.take_latencies(),
            samples: Vec::new(),
        }
    }

    fn sample(&mut self) {
        let (now, cpu, delivered) = (self.clock.now(), self.process.map(ProcessTree::cpu), self.readers.delivered());
        let elapsed = now.saturating_sub(self.looked).as_secs_f64().max(1e-9);
        let latencies = self.readers.take_latencies();
        self.samples.push(Sample {
            elapsed_s: now.saturating_sub(self.begun).as_secs_f64(),
            memory_bytes: self.process.map(ProcessTree::memory_bytes),
            processors: cpu.zip(self.cpu).map(|(cpu, before)| cpu.saturating_sub(before).as_secs_f64() / elapsed),
            delivered_per_s: (delivered - self.delivered) as f64 / elapsed,
            latency: Latencies::from(&latencies),
        });
        // Both record the same range.
        let _ = self.latencies.add(latencies);
        (self.looked, self.cpu, self.delivered) = (now, cpu, delivered);
    }
}
