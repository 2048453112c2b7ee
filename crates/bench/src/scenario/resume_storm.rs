//! Resume storm: all streams break off at once, events go on, and all streams come back at once with their last ids.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies, ServerUse};
use crate::load::LoadOptions;
use crate::load::publishing::{Publishers, Publishing, Until};
use crate::load::readers::{Plan, Record};
use crate::scenario::stage::{CHANNEL, Since, Stage};
use crate::subject::Subject;

/// The channel of the publisher whose acknowledgements are watched, and a series that nobody follows.
const ASIDE: &str = "aside";
const ASIDE_SERIES: u32 = 1_000;

/// Longer than any storm: its publisher is told when to stop.
const LONG: Duration = Duration::from_hours(1);

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct ResumeStormOptions {
    /// Streams that break off and come back.
    #[arg(long, default_value_t = 10_000)]
    pub streams: usize,
    /// Events that are published before they break off.
    #[arg(long, default_value_t = 20)]
    pub events: u64,
    /// Events that are published while they are away.
    #[arg(long, default_value_t = 100)]
    pub missed: u64,
    /// Breaks off without waiting until the events have come: then each stream stops elsewhere, many within an event.
    #[arg(long)]
    pub midway: bool,
    /// Events in a second to another channel meanwhile, to see how long publishers wait.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Seconds for which these are watched before the storm.
    #[arg(long, default_value_t = 3)]
    pub calm_s: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// How the storm went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResumeStormFigures {
    /// What streams got, before and after together.
    pub delivery: Delivery,
    /// Events that were published while they were away.
    pub missed: u64,
    /// Seconds from the first connection of the storm until every stream was open.
    pub reopening_s: f64,
    /// From the beginning of a connection until its stream was open.
    pub reopening: Latencies,
    /// Seconds from the first connection of the storm until every stream had everything.
    pub resuming_s: f64,
    /// Deliveries in a second meanwhile.
    pub delivered_per_s: f64,
    /// How long a publisher to another channel waited before the storm.
    pub acknowledgement_before: Latencies,
    /// How long it waited while the storm went on.
    pub acknowledgement_meanwhile: Latencies,
    /// What the server used in the storm; its memory before is that with all streams open.
    pub server: Option<ServerUse>,
}

impl ResumeStormOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { streams: self.streams.min(100), calm_s: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server doesn't promise that streams can be resumed, or it or the load couldn't be run.
pub fn run(subject: &Subject, options: &ResumeStormOptions) -> Result<ResumeStormFigures, MeasureError> {
    if !subject.promises.resume {
        return Err(MeasureError::Unsupported("streams that can be resumed"));
    }
    let stage = Stage::set(subject, &options.load)?;
    let all = 0..options.streams;
    let plan =
        Plan { remembers_ids: true, ..Plan::alike(options.streams, &stage.path(CHANNEL), 2, Record::LastOfRead) };
    let readers = stage.open(&plan)?;
    let publish = |first_series, events| {
        let publishing = Publishing { first_series, ..stage.publishing(&[CHANNEL.to_owned()]) };
        publishing.as_fast_as_acknowledged(1, Until::Events(events))?.join()
    };
    let calm = aside(&stage, options.rate, Duration::from_secs(options.calm_s))?.join()?;
    let before = publish(0, options.events)?;
    if !options.midway {
        stage.settle(&readers, before.count());
    }
    let since = stage.watch()?;
    readers.close(all.clone())?;
    let missed = publish(1, options.missed)?;
    readers.await_open(0, options.load.patience())?;
    let _ = readers.take_openings();

    let meanwhile = aside(&stage, options.rate, LONG)?;
    let (begun, delivered) = (stage.clock.now(), readers.delivered());
    readers.open(all)?;
    readers.await_open(options.streams, options.load.patience())?;
    let reopening = readers.last_opening().saturating_sub(begun);
    stage.settle(&readers, before.count() + missed.count());
    let resuming = readers.last_delivery().saturating_sub(begun);
    let delivered = readers.delivered() - delivered;
    meanwhile.stop();
    let meanwhile = meanwhile.join()?;

    let server = since.map(Since::until_now).transpose()?;
    let openings = readers.take_openings();
    let delivery = stage.strike(readers, &[before.of_series, missed.of_series].concat())?;
    Ok(ResumeStormFigures {
        delivery,
        missed: options.missed,
        reopening_s: reopening.as_secs_f64(),
        reopening: Latencies::from(&openings),
        resuming_s: resuming.as_secs_f64(),
        delivered_per_s: delivered as f64 / resuming.as_secs_f64().max(1e-9),
        acknowledgement_before: Latencies::from(&calm.waits),
        acknowledgement_meanwhile: Latencies::from(&meanwhile.waits),
        server,
    })
}

/// A publisher to another channel. Servers without channels give its events to everybody: they are then left out.
fn aside(stage: &Stage<'_>, rate: f64, duration: Duration) -> Result<Publishers, MeasureError> {
    let duration = if stage.subject.promises.channels { duration } else { Duration::ZERO };
    let publishing = Publishing { first_series: ASIDE_SERIES, ..stage.publishing(&[ASIDE.to_owned()]) };
    publishing.paced(rate, duration)
}
