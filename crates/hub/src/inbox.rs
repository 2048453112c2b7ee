//! Inboxes: what waits for a user until it is acknowledged, on whichever of the user's devices.
//!
//! An inbox is a channel of keys, `@inbox/` and the user's name. Each message has its own id for a key, so an acknowledgement is
//! a deletion, and all that holds for those holds here: devices that are open hear of it at once, those that are away when they
//! come back. The data of such a deletion is the id of its message, for those who know it by that.
//!
//! What an acknowledgement means is found out by whoever asks, and the log takes the deletions in one commit. Nothing new can
//! come to lie at or below an id, so nobody waits for the other.

use std::sync::Arc;

use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::draft::{Draft, DraftError, Publisher};
use crate::event::Event;
use crate::history::info::HistoryError;
use crate::history::{History, Known, Source};
use crate::hub::Hub;
use crate::limits::{BATCH_EVENTS_MAX, HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::log::append_error::AppendError;
use crate::position::Position;
use crate::stats::bump;
use crate::store::StoreError;
use crate::user::{DEVICES_PREFIX, INBOX_PREFIX, UserName};
use crate::window::entry::Entry;

pub mod device;

/// A part of an inbox.
#[derive(Clone, Debug)]
pub struct InboxPage {
    /// Messages that are not acknowledged, oldest first.
    pub entries: Vec<Arc<Entry>>,
    /// The id after which the next page begins; none where this is the last.
    pub next: Option<String>,
    /// Messages that are not acknowledged, those included whose time ran out until they are swept.
    pub unread: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where the hub's log ended before they were read: whoever listens from this id on misses nothing.
    pub cursor: String,
}

/// Which messages are acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// All at or below the one with this id. Of a backfill's id, the backfill's position counts.
    Upto(Cursor),
    /// Those with these ids.
    Ids(Vec<Cursor>),
    /// Those with these keys.
    Keys(Vec<String>),
    /// All that are there.
    All,
}

/// How a message was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckReason {
    /// Somebody said so.
    Asked,
    /// A device came back from behind it.
    Cursor,
    /// The inbox was emptied.
    Emptied,
}

impl AckReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Asked, Self::Cursor, Self::Emptied];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Cursor => "cursor",
            Self::Emptied => "emptied",
        }
    }
}

impl Draft {
    /// Checks an event for a user's inbox.
    ///
    /// # Errors
    ///
    /// When the name, the data or an option is not as it must be; the error names it.
    pub fn to_user(user: &UserName, event: Event, publisher: Publisher) -> Result<Self, DraftError> {
        if event.key.is_some() {
            return Err(DraftError::KeyOfMessage);
        }
        let draft = Self::of(vec![user.inbox().clone()], event, publisher)?;
        Ok(Self { is_message: true, ..draft })
    }
}

/// Whether a channel is somebody's own, which is reached by its user's name alone.
pub fn is_private(channel: &ChannelName) -> bool {
    [INBOX_PREFIX, DEVICES_PREFIX].iter().any(|prefix| channel.as_str().starts_with(prefix))
}

impl History {
    /// Messages of an inbox above one position, up to another, a page at most; and up to where they were read.
    pub(crate) fn messages(
        &self,
        known: Known,
        above: Position,
        upto: Position,
    ) -> Result<(Vec<Arc<Entry>>, Position), StoreError> {
        let run = self.merge(&[Source { ids: known.ids, above }], upto)?;
        let is_message = |entry: &Arc<Entry>| !entry.record.is_deleted && !entry.is_withdrawn();
        Ok((run.entries.into_iter().filter(is_message).collect(), run.covered))
    }

    /// The deletions that acknowledge messages of an inbox.
    pub(crate) fn acknowledged(&self, user: &UserName, what: &Acknowledge) -> Result<Vec<Draft>, HistoryError> {
        let known = self.row(user.inbox())?;
        let (head, _) = self.window.head();
        let place = |cursor: &Cursor, what| match self.epochs.place(cursor, head) {
            Ok(()) => Ok(cursor.event()),
            Err(_) => Err(HistoryError::Unknown(what)),
        };
        let mut drafts = Vec::new();
        match what {
            Acknowledge::Upto(cursor) => {
                self.acknowledge_between(user, known, (Position::ORIGIN, place(cursor, "`upto`")?), &mut drafts)?;
            }
            Acknowledge::All => self.acknowledge_between(user, known, (Position::ORIGIN, head), &mut drafts)?,
            Acknowledge::Ids(cursors) => {
                for cursor in cursors {
                    let position = place(cursor, "`ids`")?;
                    self.acknowledge_between(user, known, (position.before(), position), &mut drafts)?;
                }
            }
            Acknowledge::Keys(keys) => {
                drafts.extend(keys.iter().filter_map(|key| deletion(user, key, key)));
            }
        }
        Ok(drafts)
    }

    /// Adds the deletions of messages above one position, up to another.
    pub(crate) fn acknowledge_between(
        &self,
        user: &UserName,
        known: Known,
        (above, upto): (Position, Position),
        drafts: &mut Vec<Draft>,
    ) -> Result<(), StoreError> {
        let mut at = above;
        while at < upto {
            let (entries, covered) = self.messages(known, at, upto)?;
            for entry in entries {
                let id = self.epochs.cursor(entry.position, None).to_text();
                drafts.extend(entry.record.key.as_deref().and_then(|key| deletion(user, key, &id)));
            }
            at = covered;
        }
        Ok(())
    }
}

impl Draft {
    /// Whether it acknowledges a message, or else has the hub remember a device.
    pub fn is_acknowledgement(&self) -> bool {
        self.event.is_deleted
    }
}

/// What acknowledges a message; nothing where its key is none.
fn deletion(user: &UserName, key: &str, id: &str) -> Option<Draft> {
    let event = Event { data: id.to_owned().into(), ..Event::deletion(key) };
    Draft::of(vec![user.inbox().clone()], event, Publisher::Hub).ok()
}

impl Hub {
    /// Messages of a user that are not acknowledged, after the one with the id `after`; at most `limit`.
    ///
    /// # Errors
    ///
    /// When the id isn't of this log, or the store failed.
    pub fn inbox(&self, user: &UserName, after: Option<Cursor>, limit: usize) -> Result<InboxPage, HistoryError> {
        self.patiently(|| match self.inbox_now(user, after, limit) {
            Err(HistoryError::Store(error)) => Err(error),
            outcome => Ok(outcome),
        })?
    }

    fn inbox_now(&self, user: &UserName, after: Option<Cursor>, limit: usize) -> Result<InboxPage, HistoryError> {
        let history = self.history();
        let (head, _) = history.window.head();
        let mut at = match after {
            None => Position::ORIGIN,
            Some(cursor) if history.epochs.place(&cursor, head).is_ok() => cursor.event(),
            Some(_) => return Err(HistoryError::Unknown("`after`")),
        };
        let known = history.row(user.inbox())?;
        let limit = limit.min(HISTORY_EVENTS_MAX);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while at < head && entries.len() <= limit && bytes < HISTORY_BYTES_MAX {
            let (more, covered) = history.messages(known, at, head)?;
            at = covered;
            bytes += more.iter().map(|entry| entry.record.data.len()).sum::<usize>();
            entries.extend(more);
        }
        let has_more = entries.len() > limit || at < head;
        entries.truncate(limit);
        let next = entries.last().filter(|_| has_more).and_then(|entry| entry.id()).map(|id| id.to_text());
        let (unread, bytes, _) = history.tally(known)?;
        Ok(InboxPage { entries, next, unread, bytes, cursor: history.epochs.cursor(head, None).to_text() })
    }

    /// How many messages of a user are not acknowledged.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn unread(&self, user: &UserName) -> Result<u64, StoreError> {
        self.patiently(|| {
            let history = self.history();
            let (unread, _, _) = history.tally(history.row(user.inbox())?)?;
            Ok(unread)
        })
    }

    /// Finds the messages that are to be acknowledged. What comes of it goes to [`Hub::acknowledge`].
    ///
    /// # Errors
    ///
    /// When an id isn't of this log, or the store failed.
    pub fn to_acknowledge(&self, user: &UserName, what: &Acknowledge) -> Result<Vec<Draft>, HistoryError> {
        self.patiently(|| match self.history().acknowledged(user, what) {
            Err(HistoryError::Store(error)) => Err(error),
            outcome => Ok(outcome),
        })?
    }

    /// Acknowledges messages and waits until that is as durable as they were; a thousand in one commit. What is acknowledged
    /// already, or gone, is left as it is. Gives how many messages this acknowledged.
    ///
    /// # Errors
    ///
    /// When the log did not take it. What was acknowledged before stays so.
    pub async fn acknowledge(&self, drafts: Vec<Draft>, reason: AckReason) -> Result<usize, AppendError> {
        let mut drafts = drafts.into_iter().peekable();
        let mut count = 0;
        while drafts.peek().is_some() {
            let group: Vec<Draft> = drafts.by_ref().take(BATCH_EVENTS_MAX).collect();
            let is_ack: Vec<bool> = group.iter().map(Draft::is_acknowledgement).collect();
            let outcome = self.0.log.append(group, false).await;
            let mut failed = None;
            for (placed, is_ack) in outcome.into_iter().zip(is_ack) {
                match placed {
                    Ok(_) => count += usize::from(is_ack),
                    // A user without messages, or one that somebody else acknowledged.
                    Err(AppendError::UnknownKey | AppendError::NoState) => {}
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                self.0.counters.acknowledged(reason, count);
                if reason == AckReason::Cursor {
                    bump(&self.0.counters.acknowledgements_failed);
                }
                return Err(error);
            }
        }
        self.0.counters.acknowledged(reason, count);
        Ok(count)
    }
}
