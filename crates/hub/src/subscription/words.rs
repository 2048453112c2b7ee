//! What the hub itself says on a stream: hello, gaps, signs of life, the last words. Each with the stream's cursor.

use std::time::Duration;

use bytes::Bytes;

use super::{HeartbeatStyle, Place, Subscription, View, Way};
use crate::cursor::Cursor;
use crate::history::beginning::Beginning;
use crate::history::catchup::{Gap, GapScope};
use crate::limits::CURSOR_LAG_MAX;
use crate::position::Position;
use crate::window::notice::{ByeReason, Notice, Scope};

impl Subscription {
    /// Takes its beginning: hello, and the gaps that are known before anything is read.
    pub(crate) fn begin(&mut self, beginning: Beginning, view: &View<'_>) {
        let Beginning { mut catchup, gaps, resumed, known } = beginning;
        self.sent = catchup.at;
        catchup.begins_later(self.later(catchup.at));
        self.place = Place::History(Box::new(Way::new(Box::new(catchup))));
        self.fill_in();
        let cursor = self.cursor(view);
        let hello_id = if known { cursor } else { Cursor::FOREIGN };
        let hello = Notice::Hello {
            stream: &self.style.stream.to_string(),
            epoch: &view.epochs.current().to_string(),
            resumed,
            revision: self.revision(),
            heartbeat: self.heartbeat(),
            style: self.style.hello,
        };
        let mut words = hello.encode(Some(hello_id)).to_vec();
        self.tell_gaps(&gaps, hello_id, cursor, view, &mut words);
        self.say(&words);
    }

    /// Adds to what is sent first.
    pub(super) fn say(&mut self, words: &[u8]) {
        if !words.is_empty() {
            self.first = [&self.first, words].concat().into();
        }
    }

    /// Writes gaps down, all with the id `meanwhile` but for the last, which has `finally`.
    pub(super) fn tell_gaps(
        &mut self,
        gaps: &[Gap],
        meanwhile: Cursor,
        finally: Cursor,
        view: &View<'_>,
        words: &mut Vec<u8>,
    ) {
        for (at, gap) in gaps.iter().enumerate() {
            let text = |position| view.epochs.cursor(position, None).to_text();
            let (from, to) = (gap.from.map(text), text(gap.to));
            let scope = match &gap.scope {
                GapScope::Channel(name) => Scope::Channel(name.as_str()),
                GapScope::Pattern(pattern) => Scope::Pattern(pattern.as_str()),
            };
            let notice = Notice::Gap { scope, reason: gap.reason, from: from.as_deref(), to: &to };
            let id = if at + 1 == gaps.len() { finally } else { meanwhile };
            words.extend_from_slice(&notice.encode(Some(id)));
        }
        self.has_told(&finally);
    }

    /// The client was sent this id. One of a backfill is not worth keeping: what comes after it is told as soon as it can be.
    pub(super) fn has_told(&mut self, cursor: &Cursor) {
        self.told = if cursor.backfill.is_none() { cursor.position } else { Position::ORIGIN };
    }

    /// A sign of life. In its plain form a comment, or, where the cursor has moved far since the client last heard of it, or
    /// a day is over, a silent frame that tells it: a quiet stream's client then never comes back with a very old cursor.
    pub(crate) fn ping(&mut self, view: &View<'_>) -> Bytes {
        let time_ms = view.time_ms;
        let cursor = self.cursor(view);
        let moved = cursor.position.ordinal() != self.told.ordinal()
            || cursor.position.sequence().saturating_sub(self.told.sequence()) >= CURSOR_LAG_MAX;
        let day = (time_ms / 86_400_000) as u16;
        let before = std::mem::replace(&mut self.beat_day, day);
        let is_new_day = before != 0 && before != day && cursor.position != self.told;
        let notice = match self.style.beat {
            HeartbeatStyle::Event => Notice::Ping { time_ms },
            HeartbeatStyle::Comment if moved || is_new_day => Notice::Cursor,
            HeartbeatStyle::Comment => return Bytes::from_static(b":\n\n"),
        };
        self.has_told(&cursor);
        notice.encode(Some(cursor))
    }

    /// The last words of a stream that ends: what was to be sent first, or else the cursor would pass over gaps that are yet
    /// to be told, and the bye.
    pub(crate) fn bye(&mut self, reason: ByeReason, retry: Duration, view: &View<'_>) -> Bytes {
        let cursor = match &self.place {
            Place::Beginning(kept) => kept.as_deref().copied(),
            Place::History(_) | Place::Window { .. } | Place::Live => Some(self.cursor(view)),
        };
        let bye = Notice::Bye { reason, retry: Some(retry) }.encode(cursor);
        if self.first.is_empty() { bye } else { [&std::mem::take(&mut self.first)[..], &bye].concat().into() }
    }
}

#[cfg(test)]
mod tests;
