//! One stream's place in the log and what it is sent next. A state machine without I/O or clock: the shard gives it the
//! window, pages of history and the time of a heartbeat, and takes frames.
//!
//! A stream is *live* when it is where its shard is: then it has no place of its own. When its reader doesn't keep up it
//! is *behind*: within the window it goes on from its slot, below the window it asks for pages of history until the window
//! takes over. A stream that begins is one that begins behind. Its cursor never goes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::catchup::{Beginning, Catchup, Gap, GapScope, Page};
use crate::cursor::Cursor;
use crate::entry::Entry;
use crate::epoch::Epochs;
use crate::follows::Follows;
use crate::frame::Form;
use crate::limits::PASS_ENTRIES_MAX;
use crate::notice::{ByeReason, HelloStyle, Notice, Scope};
use crate::position::Position;
use crate::rule::Durability;
use crate::window::{Slots, Window};

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
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// The stream's id.
    pub(crate) stream: String,
    pub(crate) form: Form,
    pub(crate) hello: HelloStyle,
    pub(crate) beat: HeartbeatStyle,
    /// How often it is sent something.
    pub(crate) heartbeat: Duration,
}

/// What the subscription sees of the hub, at one moment.
pub(crate) struct View<'a> {
    pub(crate) window: &'a Window,
    pub(crate) epochs: &'a Epochs,
    /// Where the shard is: its next slot, and the position before it.
    pub(crate) slot: u64,
    pub(crate) position: Position,
}

/// Where a stream is.
#[derive(Debug)]
enum Place {
    /// Somebody is finding out where it begins.
    Beginning,
    /// In history, with a page to send; somebody reads the next one when `catchup` is away.
    History { catchup: Option<Box<Catchup>>, page: VecDeque<(Arc<Entry>, usize)> },
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
    /// What must be sent before anything else: hello, gaps.
    first: VecDeque<Bytes>,
    /// Everything up to here was sent, of what is followed. While live, the shard's position counts where it is higher.
    sent: Position,
    /// Transient events before this slot were published when the stream was not there, and are not for it.
    opened: u64,
    /// Where the live part goes on, while a backfill is sent.
    backfill_upto: Option<Position>,
    /// The last id that the client was sent.
    told: Option<Cursor>,
    /// Set when a rule ends the stream.
    end: Option<ByeReason>,
}

/// Why [`Subscription::pull`] stopped.
#[derive(Debug)]
pub(crate) enum Pull {
    /// Enough for one go; there may be more.
    Enough,
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

/// The id under which a client with a foreign id hears of its gaps. No log ever gives it, so a client that comes back with
/// it hears of them again.
const FOREIGN: Cursor = Cursor { position: Position::ORIGIN, random: 0, backfill: None };

impl Subscription {
    /// A subscription that waits for its beginning.
    pub(crate) fn new(follows: Arc<Follows>, style: Style, opened: u64) -> Self {
        Self {
            follows,
            style,
            place: Place::Beginning,
            first: VecDeque::new(),
            sent: Position::ORIGIN,
            opened,
            backfill_upto: None,
            told: None,
            end: None,
        }
    }

    /// What it follows.
    pub(crate) fn follows(&self) -> &Arc<Follows> {
        &self.follows
    }

    /// How often it is sent something.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.style.heartbeat
    }

    /// Whether it is where the shard is.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.place, Place::Live)
    }

    /// Takes its beginning: hello, and the gaps that are known before anything is read.
    pub(crate) fn begin(&mut self, beginning: Beginning, view: &View<'_>) {
        let Beginning { catchup, gaps, resumed, known } = beginning;
        self.sent = catchup.at;
        self.backfill_upto = catchup.backfill.as_ref().map(|backfill| backfill.upto);
        let cursor = self.cursor(view);
        let hello_id = if known { cursor } else { FOREIGN };
        let hello = Notice::Hello {
            stream: &self.style.stream,
            epoch: &view.epochs.current().to_string(),
            resumed,
            heartbeat: self.style.heartbeat,
            style: self.style.hello,
        };
        self.first.push_back(hello.encode(Some(hello_id)));
        self.tell_gaps(&gaps, hello_id, cursor, view);
        self.place = Place::History { catchup: Some(Box::new(catchup)), page: VecDeque::new() };
    }

    /// Queues gaps, all with the id `meanwhile` but for the last, which has `finally`.
    fn tell_gaps(&mut self, gaps: &[Gap], meanwhile: Cursor, finally: Cursor, view: &View<'_>) {
        for (at, gap) in gaps.iter().enumerate() {
            let text = |position| view.epochs.cursor(position, None).to_text();
            let (from, to) = (gap.from.map(text), text(gap.to));
            let scope = match &gap.scope {
                GapScope::Channel(name) => Scope::Channel(name.as_str()),
                GapScope::Pattern(pattern) => Scope::Pattern(pattern.as_str()),
            };
            let notice = Notice::Gap { scope, reason: gap.reason, from: from.as_deref(), to: &to };
            let id = if at + 1 == gaps.len() { finally } else { meanwhile };
            self.first.push_back(notice.encode(Some(id)));
        }
        self.told = Some(finally);
    }

    /// Takes a page of history, with the way on from there.
    pub(crate) fn page(&mut self, page: Page, catchup: Box<Catchup>, view: &View<'_>) {
        let cursor = self.cursor(view);
        if !page.gaps.is_empty() {
            self.tell_gaps(&page.gaps, cursor, cursor, view);
        }
        self.end = page.end;
        self.place = Place::History { catchup: Some(catchup), page: page.entries.into() };
    }

    /// How far the stream has come.
    pub(crate) fn cursor(&self, view: &View<'_>) -> Cursor {
        match self.backfill_upto {
            Some(upto) => view.epochs.cursor(upto, Some(self.sent.min(upto))),
            None if self.is_live() => view.epochs.cursor(view.position.max(self.sent), None),
            None => view.epochs.cursor(self.sent, None),
        }
    }

    /// Gives frames to send, about `budget` bytes of them (at least one), until there is a reason to stop.
    pub(crate) fn pull(&mut self, view: &View<'_>, mut budget: usize, out: &mut Vec<Bytes>) -> Pull {
        loop {
            while let Some(frame) = self.first.pop_front() {
                budget = budget.saturating_sub(frame.len());
                out.push(frame);
                if budget == 0 {
                    return Pull::Enough;
                }
            }
            if let Some(reason) = self.end {
                return Pull::End(reason);
            }
            match &mut self.place {
                Place::Beginning => return Pull::Waiting,
                Place::Live => return Pull::Live,
                Place::History { page, .. } => match page.pop_front() {
                    Some((entry, channel)) => {
                        let frame = self.frame(&entry, channel, view);
                        budget = budget.saturating_sub(frame.len());
                        out.push(frame);
                    }
                    None => {
                        if let Some(stop) = self.page_done(view) {
                            return stop;
                        }
                    }
                },
                Place::Window { slot, buried } => {
                    let (slot, buried) = (*slot, buried.take());
                    if let Some(stop) = self.pull_window(slot, buried, view, &mut budget, out) {
                        return stop;
                    }
                }
            }
            if budget == 0 {
                return Pull::Enough;
            }
        }
    }

    /// The frame of an entry from history; moves the cursor.
    fn frame(&mut self, entry: &Entry, channel: usize, view: &View<'_>) -> Bytes {
        self.sent = entry.position;
        let cursor = self.cursor(view);
        self.told = Some(cursor);
        match self.backfill_upto {
            Some(_) => entry.frame_as(&cursor.to_text(), self.style.form, channel).bytes,
            None => entry.frame(self.style.form, channel).bytes,
        }
    }

    /// A page is sent: on to the window if it reaches back to here, otherwise to the next page.
    fn page_done(&mut self, view: &View<'_>) -> Option<Pull> {
        let Place::History { catchup, .. } = &mut self.place else { return None };
        let Some(catchup) = catchup.take() else { return Some(Pull::Waiting) };
        self.sent = self.sent.max(catchup.at);
        self.backfill_upto = catchup.backfill.as_ref().map(|backfill| backfill.upto);
        if self.backfill_upto.is_some() {
            return Some(Pull::Page(catchup));
        }
        match view.window.slot_after(self.sent, self.opened) {
            Some(slot) if slot > view.slot => {
                self.place = Place::History { catchup: Some(catchup), page: VecDeque::new() };
                Some(Pull::Ahead)
            }
            Some(slot) => {
                let buried = (catchup.buried_upto() > self.sent).then_some(catchup);
                self.place = Place::Window { slot, buried };
                None
            }
            None => Some(Pull::Page(catchup)),
        }
    }

    /// Goes on in the window, at most to where the shard is.
    fn pull_window(
        &mut self,
        mut slot: u64,
        mut buried: Option<Box<Catchup>>,
        view: &View<'_>,
        budget: &mut usize,
        out: &mut Vec<Bytes>,
    ) -> Option<Pull> {
        let count = view.slot.saturating_sub(slot).min(PASS_ENTRIES_MAX as u64);
        let Slots::Entries(entries) = view.window.entries(slot, count as usize) else {
            let catchup = Catchup::resume(self.follows.clone(), self.sent, true);
            self.place = Place::History { catchup: None, page: VecDeque::new() };
            return Some(Pull::Page(Box::new(catchup)));
        };
        for entry in entries {
            slot += 1;
            if self.is_for_it(entry.durability, slot - 1)
                && (entry.position > self.sent || entry.durability == Durability::Transient)
                && let Some(channel) = self.follows.channel_of(&entry.record)
                && !buried.as_ref().is_some_and(|catchup| catchup.is_buried(&entry.record, entry.position))
            {
                let frame = entry.frame(self.style.form, channel).bytes;
                *budget = budget.saturating_sub(frame.len());
                out.push(frame);
                self.told = entry.id().or(self.told);
            }
            self.sent = self.sent.max(entry.position);
            if *budget == 0 {
                break;
            }
        }
        buried = buried.filter(|catchup| catchup.buried_upto() > self.sent);
        // At the window's end nothing can be buried: what comes later is above every floor.
        let (is_level, is_clear) = (slot >= view.slot, buried.is_none() || view.window.head().1 <= slot);
        self.place = if is_level && is_clear { Place::Live } else { Place::Window { slot, buried } };
        if is_level {
            self.sent = self.sent.max(view.position);
        }
        (is_level && !is_clear).then_some(Pull::Ahead)
    }

    /// Whether an entry at `slot` is for this stream at all: transient ones only if it was there.
    pub(crate) fn is_for_it(&self, durability: Durability, slot: u64) -> bool {
        durability != Durability::Transient || slot >= self.opened
    }

    /// The frame of an entry that the shard brings to a live stream.
    pub(crate) fn offer(&mut self, entry: &Entry, channel: usize) -> Bytes {
        self.told = entry.id().or(self.told);
        entry.frame(self.style.form, channel).bytes
    }

    /// The reader of a live stream didn't take `entry`, at `slot`, and what follows: the stream is behind from there on.
    pub(crate) fn fall_behind(&mut self, slot: u64, entry: &Entry) {
        let sent = match entry.durability {
            Durability::Transient => entry.position,
            Durability::Memory | Durability::Durable => entry.position.before(),
        };
        self.sent = self.sent.max(sent);
        self.told = None;
        self.place = Place::Window { slot, buried: None };
    }

    /// The shard itself fell out of the window: a live stream goes on from history, from `position` on.
    pub(crate) fn fall_below(&mut self, position: Position) -> Option<Box<Catchup>> {
        if !self.is_live() {
            return None;
        }
        self.sent = self.sent.max(position);
        self.place = Place::History { catchup: None, page: VecDeque::new() };
        Some(Box::new(Catchup::resume(self.follows.clone(), self.sent, true)))
    }

    /// A sign of life. In its plain form a comment, or, where the cursor has moved since the client last heard of it, a
    /// silent frame that tells it: a quiet stream's client then never comes back with an old cursor.
    pub(crate) fn ping(&mut self, time_ms: u64, view: &View<'_>) -> Bytes {
        let cursor = self.cursor(view);
        let moved = self.told.replace(cursor) != Some(cursor);
        match self.style.beat {
            HeartbeatStyle::Event => Notice::Ping { time_ms }.encode(Some(cursor)),
            HeartbeatStyle::Comment if moved => Notice::Cursor.encode(Some(cursor)),
            HeartbeatStyle::Comment => Bytes::from_static(b":\n\n"),
        }
    }

    /// Whether it has said hello; before that it must not be sent anything else.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.place, Place::Beginning)
    }

    /// How many events of history it holds.
    #[cfg(test)]
    pub(crate) fn page_len(&self) -> usize {
        match &self.place {
            Place::History { page, .. } => page.len(),
            Place::Beginning | Place::Window { .. } | Place::Live => 0,
        }
    }

    /// The last frame of a stream that ends.
    pub(crate) fn bye(&self, reason: ByeReason, retry: Duration, view: &View<'_>) -> Bytes {
        // Before the hello, or while gaps wait, the client's own cursor is the right one.
        let cursor = (self.has_begun() && self.first.is_empty()).then(|| self.cursor(view));
        Notice::Bye { reason, retry: Some(retry) }.encode(cursor)
    }
}
