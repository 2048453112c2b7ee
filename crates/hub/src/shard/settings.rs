//! What can be set of a shard, also while it runs.

use std::time::Duration;

use super::Shard;
use crate::hub::config::HubConfig;
use crate::outlet::line::Lines;

/// The settings of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardSettings {
    /// How long a reader may take nothing before its stream is cut.
    pub(crate) stall_max: Duration,
    /// Bytes a second that a reader which is behind must take.
    pub(crate) rate_min: u64,
    /// How long a reader may stay below that.
    pub(crate) slow_max: Duration,
    /// How old a stream may become.
    pub(crate) age_max: Option<Duration>,
    /// The shortest and longest `retry:` of a stream that has become too old.
    pub(crate) retry: (Duration, Duration),
    /// The shortest and longest `retry:` of a bye; each stream gets one of its own in between.
    pub(crate) bye_retry: (Duration, Duration),
}

impl ShardSettings {
    /// The part of a hub's settings that is the shards'.
    pub(crate) fn of(config: &HubConfig) -> Self {
        Self {
            stall_max: config.stall_max,
            rate_min: config.rate_min,
            slow_max: config.slow_max,
            age_max: config.age_max,
            retry: config.retry,
            bye_retry: config.bye_retry,
        }
    }
}

impl Shard {
    /// The same, asking the system how connections stand.
    pub(crate) fn asking(self, lines: Lines) -> Self {
        Self { lines: Some(lines), ..self }
    }

    /// Has other settings count from now on. Deadlines that are set already stay: a stream keeps its age.
    pub(crate) fn reload(&mut self, settings: ShardSettings) {
        self.settings = settings;
    }
}
