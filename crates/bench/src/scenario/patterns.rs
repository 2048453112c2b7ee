//! Patterns: streams that all follow one pattern, and events to many channels that match it.

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::scenario::fan_out::{self, FanOutFigures, FanOutOptions};
use crate::scenario::stage::Stage;
use crate::subject::Subject;

/// What all streams follow.
const PATTERN: &str = "bench:*";

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct PatternsOptions {
    /// Channels that match, which get events in turn.
    #[arg(long, default_value_t = 10_000)]
    pub channels: usize,
    /// The same sizes as of streams of one channel.
    #[command(flatten)]
    pub fan_out: FanOutOptions,
}

/// How patterns went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PatternsFigures {
    /// Channels that matched.
    pub channels: u64,
    /// The same figures as of streams of one channel.
    #[serde(flatten)]
    pub fan_out: FanOutFigures,
}

impl PatternsOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { channels: self.channels.min(100), fan_out: self.fan_out.quick() }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server has no patterns, or it or the load couldn't be run.
pub fn run(subject: &Subject, options: &PatternsOptions) -> Result<PatternsFigures, MeasureError> {
    let Some(path) = &subject.subscribe_pattern else { return Err(MeasureError::Unsupported("patterns")) };
    let subject = options.fan_out.ruled(subject, PATTERN)?;
    let stage = Stage::set(&subject, &options.fan_out.load)?;
    let channels: Vec<String> = (0..options.channels).map(|at| format!("bench:{at}")).collect();
    let path = path.replace("{pattern}", PATTERN);
    let fan_out = fan_out::paced(stage, &path, &channels, &options.fan_out)?;
    Ok(PatternsFigures { channels: options.channels as u64, fan_out })
}
