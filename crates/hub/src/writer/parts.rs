//! What the log's writer is given when it is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::rule::Rules;
use crate::space::Space;
use crate::store::Store;

/// What a writer is made of.
pub(crate) struct WriterParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Box<dyn FnMut() -> u32 + Send>,
    pub(crate) window_bytes: usize,
    pub(crate) channels_max: usize,
    pub(crate) cursor_age_max: Duration,
    pub(crate) space: Arc<Space>,
}
