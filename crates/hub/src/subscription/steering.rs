//! Changes of what a stream follows, while it is open. A change happens at one place of the log: where the stream is. From
//! there on nothing of what was removed is sent, and what was added is *filled in* up to there, before the stream goes on.
//!
//! A change has to wait while somebody reads for the stream: what is being read is of what it followed before.

use std::sync::Arc;

use super::{Place, Subscription, View, Way};
use crate::change::remembered::{Remembered, Token};
use crate::change::{Change, ChangeError, Difference, Followed, GoOn, State};
use crate::cursor::Cursor;
use crate::follows::Follows;
use crate::history::catchup::{Catchup, Fill, Later, Resumed};
use crate::position::Position;
use crate::stream_id::StreamId;
use crate::window::notice::Notice;

/// What a stream has that was named or changed. Others have none.
pub(crate) struct Steering {
    remembered: Arc<Remembered>,
    /// What is known of it, as it is remembered.
    state: Arc<State>,
    /// Its opening, as it is remembered.
    token: Token,
    /// What is filled in when that which is being filled in is done.
    next: Option<Fill>,
    /// The last fill that was sent whole, and up to where it was: until the stream has come further, its ids say so.
    done: Option<(Position, u32)>,
    /// Whether the last change is yet to be told.
    is_news: bool,
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steering").field("state", &self.state).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Steering {
    pub(crate) fn new(remembered: Arc<Remembered>, state: Arc<State>, token: Token, go_on: Option<GoOn>) -> Self {
        let GoOn { next, done, .. } = go_on.unwrap_or_default();
        Self { remembered, state, token, next, done, is_news: false }
    }

    /// Its opening, as it is remembered.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The stream has ended.
    pub(crate) fn closed(&self, id: StreamId) {
        self.remembered.closed(id, self.token);
    }

    /// The cursor of a stream that has come to a position, while the last fill must be told with it.
    fn cursor(&self, position: Position, view: &View<'_>) -> Option<Cursor> {
        let (upto, revision) = self.done.filter(|(upto, _)| position <= *upto)?;
        Some(Cursor { fill: Some(revision), ..view.epochs.cursor(upto, Some(upto)) })
    }

    /// Takes a change over: what waits to be filled in up to `upto` is filled in together. Whether the stream is still the
    /// one that counts.
    fn take(&mut self, id: StreamId, state: &State, upto: Position) -> bool {
        let from = self.next.as_ref().map_or(state.last(), |fill| fill.revision);
        let (state, next) = state.together(|_, revision| revision >= from, upto);
        let state = Arc::new(state);
        let counts = self.remembered.keep(id, self.token, &state);
        if counts {
            (self.state, self.next, self.is_news) = (state, next, true);
        }
        counts
    }
}

/// The way in the window of a stream that was level with the log, where something begins later.
fn beginning_later(follows: &Arc<Follows>, at: Position, later: Option<Later>) -> Option<Box<Catchup>> {
    let mut catchup = Catchup::resume(follows.clone(), at, true);
    catchup.begins_later(Some(later?));
    Some(Box::new(catchup))
}

impl Subscription {
    /// What it has if it was named or changed.
    pub(crate) fn steering(&self) -> Option<&Steering> {
        self.steering.as_deref()
    }

    /// From now on it can be changed.
    pub(crate) fn steer(&mut self, steering: Steering) {
        self.follows = steering.state.follows.clone();
        self.witness.follow(&self.follows);
        self.steering = Some(Box::new(steering));
    }

    /// The hub gave it its id, which says where it is from now on.
    pub(crate) fn is_at(&mut self, shard: usize, place: usize) {
        self.style.stream = self.style.stream.at(shard, place);
    }

    /// Its id.
    pub(crate) fn id(&self) -> StreamId {
        self.style.stream
    }

    /// How often it was changed.
    pub(super) fn revision(&self) -> u32 {
        self.steering().map_or(0, |steering| steering.state.revision())
    }

    /// It beats at least so often, in milliseconds. Never less often than was told.
    pub(crate) fn beat_at_least(&mut self, heartbeat_ms: u32) {
        self.style.heartbeat_ms = self.style.heartbeat_ms.min(heartbeat_ms);
    }

    /// What it follows, for who asks.
    pub(crate) fn followed(&self, view: &View<'_>) -> Followed {
        // Who is told so has not been given what lies before it.
        let id = self.has_begun().then(|| Cursor { device: None, ..self.cursor(view) }.to_text());
        Followed { stream: self.id(), revision: self.revision(), id, follows: self.follows.clone() }
    }

    /// Whether it can be changed now: nobody reads for it.
    pub(crate) fn is_changeable(&self) -> bool {
        match &self.place {
            Place::Beginning(_) => false,
            Place::History(way) => way.catchup.is_some(),
            Place::Window { .. } | Place::Live => true,
        }
    }

    /// Changes what it follows. `None` where it is not the stream of that id any more.
    ///
    /// # Errors
    ///
    /// When it would follow too much.
    pub(crate) fn change(&mut self, change: &Change, view: &View<'_>) -> Result<Option<Difference>, ChangeError> {
        let upto = self.stands(view);
        let id = self.id();
        let Some(steering) = &mut self.steering else { return Ok(None) };
        let (state, difference) = steering.state.changed(change, upto)?;
        if difference.is_empty() {
            // Who was opened anew has no say in what is so.
            let counts = steering.remembered.keep(id, steering.token, &steering.state);
            return Ok(counts.then_some(difference));
        }
        if !steering.take(id, &state, upto) {
            return Ok(None);
        }
        self.follows = steering.state.follows.clone();
        self.witness.follow(&self.follows);
        self.put_down();
        let later = self.later(upto);
        match &mut self.place {
            Place::Beginning(_) => {}
            Place::History(way) => {
                if let Some(catchup) = &mut way.catchup {
                    catchup.follow(self.follows.clone(), &difference, upto);
                    catchup.begins_later(later);
                }
            }
            Place::Window { buried: Some(catchup), .. } => {
                catchup.follow(self.follows.clone(), &difference, upto);
                catchup.begins_later(later);
            }
            Place::Window { slot, buried: None } => {
                self.place = Place::Window { slot: *slot, buried: beginning_later(&self.follows, upto, later) };
            }
            Place::Live => {
                self.sent = upto;
                let buried = beginning_later(&self.follows, upto, later);
                self.place = Place::Window { slot: view.slot, buried };
            }
        }
        self.fill_in();
        Ok(Some(difference))
    }

    /// What of it begins later than a position where it is.
    pub(super) fn later(&self, at: Position) -> Option<Later> {
        self.steering().and_then(|steering| steering.state.later(at))
    }

    /// Where it is, as far as what is added from now on is concerned.
    fn stands(&mut self, view: &View<'_>) -> Position {
        match &self.place {
            Place::History(way) => {
                if let Some(catchup) = way.catchup.as_ref().filter(|_| way.next >= way.page.len()) {
                    self.sent = self.sent.max(catchup.at);
                }
                way.backfill_upto.unwrap_or(self.sent)
            }
            Place::Live => {
                // What retention did since the last event is before the change, too.
                let (head, end) = view.window.head();
                view.position.max(self.sent).max(if end == view.slot { head } else { Position::ORIGIN })
            }
            Place::Beginning(_) | Place::Window { .. } => self.sent,
        }
    }

    /// Begins to fill in what waits for that, unless something is filled in already.
    pub(super) fn fill_in(&mut self) {
        let Some(steering) = &mut self.steering else { return };
        if matches!(&self.place, Place::History(way) if way.backfill_upto.is_some() || way.catchup.is_none()) {
            return;
        }
        let Some(Fill { revision, of }) = steering.next.take() else { return };
        let upto = self.sent;
        if let Place::Window { slot, .. } = &self.place {
            // It comes back to the window where it left it.
            self.opened = self.opened.max(*slot);
        }
        let mut catchup = match &mut self.place {
            Place::History(way) => way.catchup.take(),
            Place::Beginning(_) | Place::Window { .. } | Place::Live => None,
        };
        let mut catchup = catchup.take().unwrap_or_else(|| self.leave_window());
        let resumed = Resumed { at: Position::ORIGIN, revision: Some(revision), of, is_unsaid: false };
        catchup.fill_in(resumed, upto, None);
        self.sent = catchup.at;
        self.place = Place::History(Box::new(Way::new(catchup)));
    }

    /// A backfill was sent whole: the fill of a change is told with the cursor for as long as that says nothing of it.
    pub(super) fn filled_in(&mut self, upto: Position, revision: Option<u32>) {
        if let (Some(steering), Some(revision)) = (&mut self.steering, revision) {
            steering.done = Some((upto, revision));
        }
    }

    /// The cursor at a position of the log.
    pub(super) fn plain_cursor(&self, position: Position, view: &View<'_>) -> Cursor {
        let told = self.steering().and_then(|steering| steering.cursor(position, view));
        told.unwrap_or_else(|| view.epochs.cursor(position, None))
    }

    /// Tells what it follows since the last change, unless that was told.
    pub(super) fn news(&mut self, view: &View<'_>) -> Option<bytes::Bytes> {
        let steering = self.steering.as_mut().filter(|steering| steering.is_news)?;
        steering.is_news = false;
        let revision = steering.state.revision();
        let cursor = self.cursor(view);
        self.has_told(&cursor);
        Some(Notice::Subscription { revision, follows: &self.follows }.encode(Some(cursor)))
    }
}
