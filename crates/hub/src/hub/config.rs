//! What a hub is made of, and why it can't be.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::limits::{CURSOR_AGE_MAX, WINDOW_BYTES};
use crate::rule::Rule;
use crate::space::SpaceError;
use crate::store::StoreError;

/// What a hub is made of.
#[derive(Clone)]
pub struct HubConfig {
    /// The rules of channels, the first that matches counting.
    pub rules: Vec<Rule>,
    /// How many streams there may be; further ones are refused.
    pub streams_max: usize,
    /// Threads that serve streams; one per core if 0.
    pub shards: usize,
    /// Threads that read history for streams that are behind.
    pub readers: usize,
    /// Memory of the window, in bytes.
    pub window_bytes: usize,
    /// Free bytes on the data folder's disk below which `durable` events are refused. By default 256 MiB, on a disk
    /// smaller than 4 GiB a sixteenth of it; at least 64 MiB.
    pub disk_reserve_bytes: Option<u64>,
    /// Bytes that events and their indexes may take on disk. Beyond it the oldest events of all channels are removed,
    /// whatever their channels would keep. The journal comes on top (up to 192 MiB). No limit by default: then history
    /// limits alone count, and the disk's reserve. At least 64 MiB.
    pub disk_bytes_max: Option<u64>,
    /// How old a cursor may be.
    pub cursor_age_max: Duration,
    /// How long a reader may take nothing before its stream is cut.
    pub stall_max: Duration,
    /// Bytes a second that a reader which is behind must take, so that it comes forward at all; 0 for any.
    pub rate_min: u64,
    /// How long a reader may stay below that.
    pub slow_max: Duration,
    /// How old a stream may become; none where that doesn't matter. Each stream ends in the last tenth of it.
    pub age_max: Option<Duration>,
    /// The shortest and longest reconnection time that streams are told on opening; each gets one of its own in between.
    pub retry: (Duration, Duration),
    /// The same when the hub stops: longer than a restart takes.
    pub bye_retry: (Duration, Duration),
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            streams_max: 10_000,
            shards: 0,
            readers: 2,
            window_bytes: WINDOW_BYTES,
            disk_reserve_bytes: None,
            disk_bytes_max: None,
            cursor_age_max: CURSOR_AGE_MAX,
            stall_max: Duration::from_secs(25),
            rate_min: 2 * 1024,
            slow_max: Duration::from_mins(1),
            age_max: None,
            retry: (Duration::from_secs(2), Duration::from_secs(4)),
            bye_retry: (Duration::from_secs(3), Duration::from_secs(6)),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl std::fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Why a hub can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reserve or the limit of the disk is too small.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A thread can't be started.
    #[error("a thread could not be started")]
    Thread(#[from] std::io::Error),
}
