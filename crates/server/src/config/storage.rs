//! `[storage]`: where events are kept, and how much memory their newest part gets.

use std::path::PathBuf;

use fanfare_hub::limits::{CURSOR_AGE_MAX, WINDOW_BYTES};
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
    /// The folder of the data; made, for its owner alone, if it isn't there.
    #[schemars(extend("x-restart" = true))]
    pub folder: PathBuf,
    /// Threads that read history for streams that are behind.
    #[schemars(extend("x-restart" = true))]
    pub readers: usize,
    /// Memory for the newest events, shared by all streams.
    #[schemars(extend("x-restart" = true))]
    pub window: ByteSize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            cursor_age_max: Span::new(CURSOR_AGE_MAX),
            folder: "fanfare-data".into(),
            readers: 2,
            window: ByteSize::new(WINDOW_BYTES as u64),
        }
    }
}
