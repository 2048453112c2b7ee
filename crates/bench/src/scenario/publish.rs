//! Publish: publishers that publish as fast as they are acknowledged, and hardly anybody listens. How fast is the way in?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::{Delivery, Latencies, ServerUse};
use crate::load::LoadOptions;
use crate::load::publishing::Until;
use crate::load::readers::{Plan, Record};
use crate::scenario::stage::{CHANNEL, Since, Stage, cpu_us_per};
use crate::subject::Subject;

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishOptions {
    /// Publishers, each of which waits for its acknowledgement before it publishes again.
    #[arg(long, default_value_t = 16)]
    pub publishers: usize,
    /// Streams that listen: one is enough to check that nothing is lost.
    #[arg(long, default_value_t = 1)]
    pub streams: usize,
    /// Seconds for which they publish.
    #[arg(long, default_value_t = 10)]
    pub duration_s: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// How fast the way in is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PublishFigures {
    /// What streams got, if any listened.
    pub delivery: Delivery,
    /// Publishers that there were.
    pub publishers: u64,
    /// Acknowledgements in a second.
    pub acknowledged_per_s: f64,
    /// How long publishers waited for their acknowledgements.
    pub acknowledgement: Latencies,
    /// What the server used.
    pub server: Option<ServerUse>,
    /// Processor time of the server for one event, in microseconds.
    pub cpu_us_per_event: Option<f64>,
}

impl PublishOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { duration_s: 1, ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run.
pub fn run(subject: &Subject, options: &PublishOptions) -> Result<PublishFigures, MeasureError> {
    let stage = Stage::set(subject, &options.load)?;
    let plan = Plan::alike(options.streams, &stage.path(CHANNEL), options.publishers, Record::LastOfRead);
    let readers = stage.open(&plan)?;
    let since = stage.watch()?;
    let until = Until::Elapsed(Duration::from_secs(options.duration_s));
    let publishing = stage.publishing(&[CHANNEL.to_owned()]);
    let published = publishing.as_fast_as_acknowledged(options.publishers, until)?.join()?;
    let server = since.map(Since::until_now).transpose()?;
    stage.settle(&readers, published.count());
    let delivery = stage.strike(readers, &published.of_series)?;
    Ok(PublishFigures {
        delivery,
        publishers: options.publishers as u64,
        acknowledged_per_s: published.per_s(),
        acknowledgement: Latencies::from(&published.waits),
        server,
        cpu_us_per_event: cpu_us_per(server.as_ref(), published.count()),
    })
}
