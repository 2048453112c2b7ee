//! What is read from history for a stream, and what comes of it.

use std::sync::Arc;

use crate::ending::witness::Look;
use crate::follows::Follows;
use crate::history::beginning::{Beginning, LastEventId};
use crate::history::catchup::{Catchup, CatchupError, Page, Resumed};
use crate::hub::subscribe::OpenPlace;
use crate::index::StreamKey;
use crate::position::Position;

/// Something to be read from history for a stream.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) key: StreamKey,
    pub(crate) work: Work,
    /// The stream's place: it is taken until nothing is read for it any more, so the places bound what is to be read.
    pub(crate) place: Option<Arc<OpenPlace>>,
}

impl Job {
    /// Whether the stream has gone meanwhile.
    pub(crate) fn is_needless(&self) -> bool {
        self.place.as_ref().is_some_and(|place| Arc::strong_count(place) == 1)
    }
}

/// What is to be read.
#[derive(Debug)]
pub(crate) enum Work {
    /// Where a stream begins, what the head was when it was opened, and the backfill that goes on.
    Begin(Arc<Follows>, LastEventId, Position, Option<Box<Resumed>>),
    /// The next page.
    Page(Box<Catchup>),
    /// Whether a stream's channels have ended, beginning at one of them.
    Look(Arc<Follows>, usize),
}

/// What was read.
pub(crate) enum Answer {
    Begin(Result<Box<Beginning>, CatchupError>),
    Page(Result<(Page, Box<Catchup>), CatchupError>),
    /// Nothing where the store failed; the stream goes on.
    Look(Option<Look>),
}
