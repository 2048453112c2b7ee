//! `[storage]`: where events are kept, and how much memory their newest part gets.

use std::path::PathBuf;

use fanfare_hub::limits::{CURSOR_AGE_MAX, DISK_BYTES_MAX_MIN, DISK_RESERVE_BYTES_MIN, WINDOW_BYTES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Span};

/// Where events are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// How old an id may be that a stream comes back with; an older one is told a gap. What is known of channels that fell
    /// silent is kept as long.
    #[schemars(extend("x-restart" = true))]
    pub cursor_age_max: Span,
    /// What events and their indexes may take on disk; beyond it the oldest events of all channels are removed, whatever
    /// their channels would keep. The journal comes on top, up to 192 MiB. At least 64 MiB; without it there is no such
    /// limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_max: Option<ByteSize>,
    /// The folder of the data; made, for its owner alone, if it isn't there.
    #[schemars(extend("x-restart" = true))]
    pub folder: PathBuf,
    /// Threads that read history for streams that are behind.
    #[schemars(extend("x-restart" = true))]
    pub readers: usize,
    /// Free space of the folder's disk below which durable events are refused, with 507 `disk_full`; everything else goes
    /// on. At least 64 MiB. Without it 256 MiB, on a disk smaller than 4 GiB a sixteenth of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<ByteSize>,
    /// Memory for the newest events, shared by all streams.
    #[schemars(extend("x-restart" = true))]
    pub window: ByteSize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            cursor_age_max: Span::new(CURSOR_AGE_MAX),
            disk_max: None,
            folder: "fanfare-data".into(),
            readers: 2,
            reserve: None,
            window: ByteSize::new(WINDOW_BYTES as u64),
        }
    }
}

impl StorageConfig {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let least = ByteSize::new(DISK_RESERVE_BYTES_MIN);
        if let Some(reserve) = self.reserve.filter(|reserve| *reserve < least) {
            return Err(("storage.reserve", format!("is {reserve}; the store itself may need {least}")));
        }
        let least = ByteSize::new(DISK_BYTES_MAX_MIN);
        if let Some(max) = self.disk_max.filter(|max| *max < least) {
            return Err(("storage.disk_max", format!("is {max}; below {least} there is no history to speak of")));
        }
        Ok(())
    }
}
