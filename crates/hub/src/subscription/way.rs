//! A stream's way through history: the page that is being sent, and what comes after it.

use std::sync::Arc;

use super::View;
use crate::cursor::Cursor;
use crate::history::catchup::Catchup;
use crate::position::Position;
use crate::stats::PageBytes;
use crate::window::entry::Entry;

/// A stream's way through history.
#[derive(Debug)]
pub(super) struct Way {
    /// Away while somebody reads the next page.
    pub(super) catchup: Option<Box<Catchup>>,
    /// The page that is being sent: each event with the channel by which it is followed.
    pub(super) page: Vec<(Arc<Entry>, usize)>,
    /// The next event of the page.
    pub(super) next: usize,
    /// What the page weighs.
    pub(super) held: Option<PageBytes>,
    /// Where the live part goes on, while a backfill is sent.
    pub(super) backfill_upto: Option<Position>,
    /// Of which change that is; `None` for the request's own.
    pub(super) fill: Option<u32>,
}

impl Way {
    /// A way whose first page is yet to be asked for.
    pub(super) fn new(catchup: Box<Catchup>) -> Self {
        let backfill_upto = catchup.backfill.as_ref().map(|backfill| backfill.upto);
        let fill = catchup.backfill.as_ref().and_then(|backfill| backfill.revision);
        Self { catchup: Some(catchup), page: Vec::new(), next: 0, held: None, backfill_upto, fill }
    }

    /// A way of which somebody reads the first page.
    pub(super) fn waiting() -> Self {
        Self { catchup: None, page: Vec::new(), next: 0, held: None, backfill_upto: None, fill: None }
    }

    /// The cursor of a stream on this way, while there is a backfill.
    pub(super) fn cursor(&self, sent: Position, view: &View<'_>) -> Option<Cursor> {
        let upto = self.backfill_upto?;
        Some(Cursor { fill: self.fill, ..view.epochs.cursor(upto, Some(sent.min(upto))) })
    }
}
