//! An event with its place: what the window holds and streams get. Its wire forms are encoded once, on first use, and
//! shared by all streams.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::ending::{END, REOPEN};
use crate::follows::Follows;
use crate::keys::lineage::{Lineage, Succession};
use crate::log::record::Record;
use crate::position::Position;
use crate::rule::Durability;
use crate::stream_id::StreamId;
use crate::window::frame::{Form, Frame};

/// Bytes of data, over all channels of an event, up to which its wire forms as channels after the first are kept.
const SHARED_COPIES_BYTES_MAX: usize = 16 * 1024;

/// About how much memory an event's wire forms as a channel after the first take, in bytes, its data aside.
const OTHER_WEIGHT: usize = 256;

/// An event with its place in the log.
#[derive(Debug)]
pub struct Entry {
    /// Its position; of a transient event, which has none, the position of the event before it.
    pub position: Position,
    /// The random part of its position's epoch.
    pub random: u32,
    /// How it is kept.
    pub durability: Durability,
    /// What was published.
    pub record: Record,
    /// The stream it isn't for. Known as long as it is in the window; most events have none, so it has a place of its own.
    except_stream: Option<Box<StreamId>>,
    /// What came after it, where it is the value of a key.
    lineage: Option<Arc<Lineage>>,
    /// Whether streams that are behind do without it once its key has a later value.
    is_conflated: bool,
    /// How long live streams may gather it, in milliseconds; 0 for not at all.
    pub(crate) flush_ms: u32,
    /// Per [`Form`], as the first of its channels.
    frames: [OnceLock<Frame>; 2],
    /// Per [`Form`] and channel after the first, for streams that follow the event by that channel only.
    others: OnceLock<Box<[[OnceLock<Frame>; 2]]>>,
}

impl Entry {
    /// An entry whose wire forms are yet to be encoded.
    pub(crate) fn new(position: Position, random: u32, durability: Durability, record: Record) -> Self {
        let (frames, others) = Default::default();
        let (except_stream, lineage, flush_ms, is_conflated) = (None, None, 0, false);
        Self { position, random, durability, record, except_stream, lineage, is_conflated, flush_ms, frames, others }
    }

    /// The same entry, but not for this stream.
    pub(crate) fn except(mut self, stream: Option<StreamId>) -> Self {
        self.except_stream = stream.map(Box::new);
        self
    }

    /// The same entry, which live streams may gather for so long.
    pub(crate) fn flushed_after(mut self, flush_ms: u32) -> Self {
        // Whoever hears of an end may have nothing more to wait for.
        self.flush_ms = if self.is_end() { 0 } else { flush_ms };
        self
    }

    /// Whether it is for all who follow it.
    pub(crate) fn is_for_all(&self) -> bool {
        self.record.except_user.is_none() && self.except_stream.is_none()
    }

    /// Whether it is for a stream, if that follows it.
    pub(crate) fn is_for(&self, follows: &Follows, stream: StreamId) -> bool {
        follows.is_for(&self.record) && self.except_stream.as_deref() != Some(&stream)
    }

    /// Whether it is for the same streams as another one, whatever those may be, and as urgent. Only what never changes
    /// counts here: what the writer sets meanwhile would be one thing now and another when the group is passed on.
    pub(crate) fn is_for_the_same(&self, other: &Self) -> bool {
        self.record.channels == other.record.channels
            && self.record.except_user == other.record.except_user
            && self.except_stream == other.except_stream
            && self.flush_ms == other.flush_ms
    }

    /// The same, as a value that hears what comes after it. `is_conflated`: streams that are behind do without it then.
    pub(crate) fn with_lineage(mut self, lineage: Option<Arc<Lineage>>, is_conflated: bool) -> Self {
        (self.lineage, self.is_conflated) = (lineage, is_conflated);
        self
    }

    /// What comes after what with it, where it is the value of a key.
    pub(crate) fn succession(&self) -> Option<Succession> {
        let (lineage, is_deleted) = (self.lineage.clone()?, self.record.is_deleted);
        Some(Succession { lineage, position: self.position, is_deleted })
    }

    /// Whether its key was deleted since.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.lineage.as_ref().is_some_and(|lineage| lineage.is_withdrawn(self.position))
    }

    /// Whether it is there no more, as of a time in milliseconds since the Unix epoch: its key was deleted since, or its
    /// time to live has run out. Nobody gets it any more.
    pub(crate) fn is_gone(&self, time_ms: u64) -> bool {
        self.is_withdrawn() || self.record.is_expired(time_ms)
    }

    /// Whether a stream that is behind does without it: it is gone, or its key has a later value that will do.
    pub(crate) fn is_spared(&self, time_ms: u64) -> bool {
        let is_superseded = || self.lineage.as_ref().is_some_and(|lineage| lineage.is_superseded(self.position));
        self.is_gone(time_ms) || self.is_conflated && is_superseded()
    }

    /// The event's own id, or `None` for a transient event.
    pub fn id(&self) -> Option<Cursor> {
        let cursor = Cursor::at(self.position, self.random);
        (self.durability != Durability::Transient).then_some(cursor)
    }

    /// The event on the wire, as one of its channels: the one at `channel` in the record.
    pub(crate) fn frame(&self, form: Form, channel: usize) -> Cow<'_, Frame> {
        let copies = self.record.data.len() * self.record.channels.len();
        let forms = match channel.checked_sub(1) {
            None => &self.frames,
            // Large data in many channels would fill memory with its copies.
            Some(_) if copies > SHARED_COPIES_BYTES_MAX => {
                return Cow::Owned(Frame::of(self, form, self.channel(channel), None));
            }
            Some(other) => {
                let count = self.record.channels.len().saturating_sub(1);
                let others = self.others.get_or_init(|| (0..count).map(|_| Default::default()).collect());
                others.get(other).unwrap_or(&self.frames)
            }
        };
        let [raw, json] = forms;
        let frame = match form {
            Form::Raw => raw,
            Form::Json => json,
        };
        Cow::Borrowed(frame.get_or_init(|| Frame::of(self, form, self.channel(channel), None)))
    }

    /// The event on the wire under another id, for one stream alone.
    pub(crate) fn frame_as(&self, id: &str, form: Form, channel: usize) -> Frame {
        Frame::of(self, form, self.channel(channel), Some(id))
    }

    /// Whether it ends its channel.
    pub(crate) fn is_end(&self) -> bool {
        self.record.name.as_deref() == Some(END)
    }

    /// Whether it ends its channel or opens it again.
    pub(crate) fn is_deed(&self) -> bool {
        self.is_end() || self.record.name.as_deref() == Some(REOPEN)
    }

    /// One of its channels.
    fn channel(&self, at: usize) -> &str {
        self.record.channels.get(at).map_or("", ChannelName::as_str)
    }

    /// About how much memory it holds while it is in the window, in bytes: the record and both wire forms.
    pub(crate) fn weight(&self) -> usize {
        let others = self.record.channels.len().saturating_sub(1);
        self.record.weight() + 2 * self.record.data.len() + 512 + others * OTHER_WEIGHT
    }
}
