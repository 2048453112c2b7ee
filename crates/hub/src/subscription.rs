//! One stream's place in the log and what it is sent next. A state machine without I/O or clock: the shard gives it the
//! window, pages of history and the time of a heartbeat, and takes frames.
//!
//! A stream is *live* when it is where its shard is: then it has no place of its own. When its reader doesn't keep up it
//! is *behind*: within the window it goes on from its slot, below the window it asks for pages of history until the window
//! takes over. A stream that begins is one that begins behind. Its cursor never goes back.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::cursor::Cursor;
use crate::ending::witness::Witness;
use crate::follows::Follows;
use crate::history::beginning::LastEventId;
use crate::history::catchup::{Catchup, Page};
use crate::limits::{PULL_BYTES_MAX, PULL_ENTRIES_MAX};
use crate::log::epoch::Epochs;
use crate::position::Position;
use crate::rule::Durability;
use crate::shard::portion::{Mark, Portion};
use crate::stats::PageBytes;
use crate::stream_id::StreamId;
use crate::window::entry::Entry;
use crate::window::frame::Form;
use crate::window::notice::{ByeReason, HelloStyle};
use crate::window::recent::Recent;
use crate::window::{Slots, Window};

mod steering;
mod way;
mod words;

pub(crate) use self::steering::Steering;
use self::way::Way;

/// How heartbeats look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeartbeatStyle {
    /// A comment, which pages don't see.
    #[default]
    Comment,
    /// An event `fanfare.ping`, for pages that watch for signs of life.
    Event,
}

/// What a stream wants beside events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// The stream's id.
    pub(crate) stream: StreamId,
    pub(crate) form: Form,
    pub(crate) hello: HelloStyle,
    pub(crate) beat: HeartbeatStyle,
    /// How often it is sent something, in milliseconds.
    pub(crate) heartbeat_ms: u32,
    /// The mark of the device whose stream it is, where that acknowledges by coming back: its ids say so.
    pub(crate) device: Option<NonZeroU32>,
}

/// What the subscription sees of the hub, at one moment.
pub(crate) struct View<'a> {
    pub(crate) window: &'a Window,
    pub(crate) epochs: &'a Epochs,
    /// What the shard has passed over last.
    pub(crate) recent: &'a Recent,
    /// Where the shard is: its next slot, and the position before it.
    pub(crate) slot: u64,
    pub(crate) position: Position,
    /// Milliseconds since the Unix epoch: what is out of time is not sent.
    pub(crate) time_ms: u64,
}

/// Where a stream is.
#[derive(Debug)]
enum Place {
    /// Somebody is finding out where it begins. Until then its client's id stays what it was.
    Beginning(Option<Box<Cursor>>),
    /// In history.
    History(Box<Way>),
    /// Behind, within the window. What gaps were told of on the way here is not sent any more, even if the window has it.
    Window { slot: u64, buried: Option<Box<Catchup>> },
    /// Where the shard is.
    Live,
}

/// One stream's place in the log.
#[derive(Debug)]
pub(crate) struct Subscription {
    follows: Arc<Follows>,
    style: Style,
    place: Place,
    /// What must be sent before anything else: opening, hello, gaps.
    first: Box<[u8]>,
    /// Everything up to here was sent, of what is followed. While live, the shard's position counts where it is higher.
    sent: Position,
    /// Transient events before this slot were published when the stream was not there, and are not for it.
    opened: u64,
    /// The cursor of the last id that the client was sent; `ORIGIN` where that is not known.
    told: Position,
    /// When its stream was opened, in seconds of the hub's clock, for its age. Written by the shard.
    pub(crate) opened_s: u32,
    /// The day of the last heartbeat, counted from the Unix epoch; 0 before the first.
    beat_day: u16,
    /// Set when a rule ends the stream.
    end: Option<ByeReason>,
    /// Whether its channels have ended, as far as it knows.
    pub(crate) witness: Witness,
    /// Of a stream that was named or changed.
    steering: Option<Box<Steering>>,
}

/// What [`Subscription::pull`] has done.
#[derive(Debug)]
pub(crate) enum Pull {
    /// Given something, or come further; there may be more.
    Some,
    /// A page of history is needed.
    Page(Box<Catchup>),
    /// A page or a beginning is on its way.
    Waiting,
    /// The stream is live.
    Live,
    /// The stream has come further than its shard, which must pass over the window first.
    Ahead,
    /// The stream must end.
    End(ByeReason),
}

impl Subscription {
    /// A subscription that waits for its beginning. `opening` is sent before that.
    pub(crate) fn new(follows: Arc<Follows>, style: Style, opened: u64, opening: &[u8]) -> Self {
        Self {
            witness: Witness::of(&follows),
            follows,
            style,
            place: Place::Beginning(None),
            first: opening.into(),
            sent: Position::ORIGIN,
            opened,
            told: Position::ORIGIN,
            opened_s: 0,
            beat_day: 0,
            end: None,
            steering: None,
        }
    }

    /// The same for a client that was somewhere before.
    pub(crate) fn of_client_at(self, last: LastEventId) -> Self {
        Self { place: Place::Beginning(last.kept().map(Box::new)), ..self }
    }

    /// The same for a device that acknowledges by coming back, with its mark.
    #[cfg(test)]
    pub(crate) fn of_device(mut self, device: Option<NonZeroU32>) -> Self {
        self.style.device = device;
        self
    }

    /// What it follows.
    pub(crate) fn follows(&self) -> &Arc<Follows> {
        &self.follows
    }

    /// Whether an entry is for it, if it follows one of its channels.
    pub(crate) fn is_for(&self, entry: &Entry) -> bool {
        entry.is_for(&self.follows, self.style.stream)
    }

    /// How its events look.
    pub(crate) fn form(&self) -> Form {
        self.style.form
    }

    /// The mark that its ids end with, if they do. Its frames have none: others may get the same.
    pub(crate) fn device(&self) -> Option<NonZeroU32> {
        self.style.device
    }

    /// How often it is sent something.
    pub(crate) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.style.heartbeat_ms.into())
    }

    /// Whether it is where the shard is.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.place, Place::Live)
    }

    /// Takes a page of history, with the way on from there.
    pub(crate) fn page(&mut self, page: Page, catchup: Box<Catchup>, held: PageBytes, view: &View<'_>) {
        if !page.gaps.is_empty() {
            let cursor = self.cursor(view);
            let mut words = Vec::new();
            self.tell_gaps(&page.gaps, cursor, cursor, view, &mut words);
            self.say(&words);
            // What is missing may be an end.
            self.witness.doubt();
        }
        self.end = page.end;
        if let Place::History(way) = &mut self.place {
            (way.catchup, way.page, way.next, way.held) = (Some(catchup), page.entries, 0, Some(held));
        }
    }

    /// How far the stream has come.
    pub(crate) fn cursor(&self, view: &View<'_>) -> Cursor {
        let cursor = match &self.place {
            Place::History(way) => way.cursor(self.sent, view).unwrap_or_else(|| self.plain_cursor(self.sent, view)),
            Place::Live => self.plain_cursor(view.position.max(self.sent), view),
            Place::Beginning(_) | Place::Window { .. } => self.plain_cursor(self.sent, view),
        };
        Cursor { device: self.style.device, ..cursor }
    }

    /// Puts into `portion`, which is empty, what is to be sent next.
    pub(crate) fn pull(&mut self, view: &View<'_>, portion: &mut Portion) -> Pull {
        if !self.first.is_empty() {
            portion.push_words(&std::mem::take(&mut self.first));
            return Pull::Some;
        }
        if let Some(words) = self.news(view) {
            portion.push_words(&words);
            return Pull::Some;
        }
        if let Some(reason) = self.end {
            return Pull::End(reason);
        }
        match &mut self.place {
            Place::Beginning(_) => Pull::Waiting,
            Place::Live => Pull::Live,
            Place::History(way) if way.next < way.page.len() => {
                let style = self.style;
                while portion.len() < PULL_BYTES_MAX
                    && let Some((entry, channel)) = way.page.get(way.next)
                {
                    way.next += 1;
                    self.sent = entry.position;
                    if entry.is_gone(view.time_ms) {
                        continue;
                    }
                    if entry.is_end() {
                        self.witness.doubt();
                    }
                    let mark = Mark { next: way.next as u64, sent: self.sent };
                    if let Some(cursor) = way.cursor(self.sent, view) {
                        let id = cursor.to_text();
                        portion.push_frame(&entry.frame_as(&id, style.form, *channel).bytes, mark, false);
                    } else {
                        portion.push_frame(&entry.frame(style.form, *channel).bytes, mark, entry.id().is_some());
                    }
                }
                self.told = portion.told().unwrap_or_default();
                Pull::Some
            }
            Place::History(_) => self.page_done(view),
            Place::Window { slot, .. } => {
                let slot = *slot;
                if slot < view.slot { self.pull_window(slot, view, portion) } else { self.level(slot, view) }
            }
        }
    }

    /// A page is sent: on to the window if it reaches back to here, otherwise to the next page.
    fn page_done(&mut self, view: &View<'_>) -> Pull {
        let Place::History(way) = &mut self.place else { return Pull::Some };
        let Some(mut catchup) = way.catchup.take() else { return Pull::Waiting };
        (way.page, way.next, way.held) = (Vec::new(), 0, None);
        self.sent = self.sent.max(catchup.at);
        if catchup.go_on() {
            return Pull::Page(catchup);
        }
        let (upto, fill) = (way.backfill_upto.take(), way.fill.take());
        if let Some(upto) = upto {
            way.catchup = Some(catchup);
            self.filled_in(upto, fill);
            self.fill_in();
            return Pull::Some;
        }
        match view.window.slot_after(self.sent, self.opened) {
            Some(slot) if slot > view.slot => {
                way.catchup = Some(catchup);
                Pull::Ahead
            }
            Some(slot) => {
                let buried = catchup.counts_from(self.sent).then_some(catchup);
                self.place = Place::Window { slot, buried };
                Pull::Some
            }
            None => Pull::Page(catchup),
        }
    }

    /// Goes on in the window, at most to where the shard is.
    fn pull_window(&mut self, slot: u64, view: &View<'_>, portion: &mut Portion) -> Pull {
        let count = view.slot.saturating_sub(slot).min(PULL_ENTRIES_MAX as u64) as usize;
        if let Some(entries) = view.recent.from(slot) {
            self.take((slot, view.time_ms), entries.take(count), portion);
        } else if let Slots::Entries(entries) = view.window.entries(slot, count, PULL_BYTES_MAX) {
            self.take((slot, view.time_ms), entries.iter(), portion);
        } else {
            return Pull::Page(self.leave_window());
        }
        Pull::Some
    }

    /// Takes what is for it from entries of the window, of which the first is at this slot, as of a time.
    fn take<'a>(
        &mut self,
        (mut slot, time_ms): (u64, u64),
        entries: impl Iterator<Item = &'a Arc<Entry>>,
        portion: &mut Portion,
    ) {
        let Place::Window { slot: place, buried } = &mut self.place else { return };
        for entry in entries {
            slot += 1;
            let is_for_it = entry.durability != Durability::Transient || slot > self.opened;
            let is_new = entry.position > self.sent || entry.durability == Durability::Transient;
            self.sent = self.sent.max(entry.position);
            if is_for_it
                && is_new
                && entry.is_for(&self.follows, self.style.stream)
                && !entry.is_spared(time_ms)
                && let Some(channel) = match buried {
                    Some(catchup) => catchup.channel_of(&entry.record, entry.position),
                    None => self.follows.channel_of(&entry.record),
                }
            {
                if entry.is_end() {
                    self.witness.doubt();
                }
                let mark = Mark { next: slot, sent: self.sent };
                portion.push_frame(&entry.frame(self.style.form, channel).bytes, mark, entry.id().is_some());
                if portion.len() >= PULL_BYTES_MAX {
                    break;
                }
            }
        }
        *place = slot;
        self.told = portion.told().unwrap_or(self.told);
    }

    /// It is where its shard is.
    fn level(&mut self, slot: u64, view: &View<'_>) -> Pull {
        let Place::Window { buried, .. } = &mut self.place else { return Pull::Some };
        // At the window's end nothing can be buried: what comes later is above every floor.
        let is_clear =
            buried.as_ref().is_none_or(|catchup| catchup.buried_upto() <= self.sent) || view.window.head().1 <= slot;
        if !is_clear {
            return Pull::Ahead;
        }
        self.place = Place::Live;
        self.sent = self.sent.max(view.position);
        Pull::Live
    }

    /// Of the last portion, only what lies before `mark` was taken, or is about to be; a live stream is behind from there on.
    pub(crate) fn go_back(&mut self, mark: Mark) {
        match &mut self.place {
            Place::Beginning(_) => {}
            Place::History(way) => {
                way.next = mark.next as usize;
                self.sent = mark.sent;
            }
            Place::Window { slot, .. } => {
                *slot = mark.next;
                self.sent = mark.sent;
            }
            Place::Live => self.fall_behind(mark),
        }
        self.told = Position::ORIGIN;
    }

    /// Lets go of what is left of a page, to read it again from where its reader is.
    pub(crate) fn put_down(&mut self) {
        if let Place::History(way) = &mut self.place
            && let Some(catchup) = &mut way.catchup
            && way.next < way.page.len()
        {
            catchup.go_back(self.sent);
            (way.page, way.next, way.held) = (Vec::new(), 0, None);
        }
    }

    /// A live stream is behind from `mark` on.
    pub(crate) fn fall_behind(&mut self, mark: Mark) {
        self.sent = self.sent.max(mark.sent);
        self.place = Place::Window { slot: mark.next, buried: None };
    }

    /// Whether all entries from `slot` on are for this stream, if it follows their channel: transient ones are only if it
    /// was there.
    pub(crate) fn was_there(&self, slot: u64) -> bool {
        slot >= self.opened
    }

    /// A live stream was sent the frames of a portion, all that it gets up to where its shard is: up to `position`. Where it
    /// gathered them, its place was before them until now.
    pub(crate) fn was_sent(&mut self, portion: &Portion, position: Position) {
        self.told = portion.told().unwrap_or(self.told);
        if !self.is_live() {
            self.place = Place::Live;
            self.sent = self.sent.max(position);
        }
    }

    /// The shard itself fell out of the window: a live stream goes on from history, from `position` on.
    pub(crate) fn fall_below(&mut self, position: Position) -> Option<Box<Catchup>> {
        if !self.is_live() {
            return None;
        }
        self.sent = self.sent.max(position);
        Some(self.leave_window())
    }

    /// The window doesn't reach back to here: on from history. What gaps were told of is not told again.
    fn leave_window(&mut self) -> Box<Catchup> {
        let resume = || Box::new(Catchup::resume(self.follows.clone(), self.sent, true));
        match std::mem::replace(&mut self.place, Place::History(Box::new(Way::waiting()))) {
            Place::Window { buried: Some(catchup), .. } => catchup.resumed(self.sent),
            Place::Beginning(_) | Place::History(_) | Place::Window { buried: None, .. } | Place::Live => resume(),
        }
    }

    /// Whether it has said hello; before that it must not be sent anything else.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.place, Place::Beginning(_))
    }

    /// How many events of history it holds.
    #[cfg(test)]
    pub(crate) fn page_len(&self) -> usize {
        match &self.place {
            Place::History(way) => way.page.len(),
            Place::Beginning(_) | Place::Window { .. } | Place::Live => 0,
        }
    }
}
