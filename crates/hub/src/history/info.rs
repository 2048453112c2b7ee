//! What can be asked about channels: their state, their history, their names.

use std::sync::Arc;

use crate::channel::ChannelName;
use crate::cursor::Cursor;
use crate::follows::Since;
use crate::history::{Known, Run, Source, Unread};
use crate::hub::Hub;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX, STORE_WAIT_MAX};
use crate::log::channel_row::{EndReason, Kind};
use crate::position::Position;
use crate::rule::Rule;
use crate::store::{Order, StoreError};
use crate::window::entry::Entry;

/// A channel's state.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    /// Its name.
    pub channel: ChannelName,
    /// The id of its newest event that is kept.
    pub head: Option<String>,
    /// Where the hub's log ended before anything else here was read: whoever follows the channel from this id on misses
    /// nothing that comes after what is told here.
    pub cursor: String,
    /// The id of the highest position that retention removed.
    pub floor: Option<String>,
    /// Events kept, expired ones included until they are swept.
    pub events: u64,
    /// Bytes kept.
    pub bytes: u64,
    /// What it holds; none as long as nothing is there that decides it.
    pub kind: Option<Kind>,
    /// How many keys have a value, where it holds values of keys.
    pub keys: Option<u64>,
    /// Which of its producers may publish; none where anybody may.
    pub fence: Option<u64>,
    /// Where it ended, if it did, and why.
    pub ended: Option<EndInfo>,
    /// Open streams that follow it.
    pub streams: usize,
    /// Its settings.
    pub rule: Arc<Rule>,
}

/// A channel's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndInfo {
    /// The id of the event that ended it.
    pub id: String,
    /// Why.
    pub reason: EndReason,
}

/// A part of a channel's history.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// In the order asked for.
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<String>,
    /// The id up to which retention removed what was asked for.
    pub gap: Option<String>,
    /// What of it can't be read as its place on disk is damaged: above the one id, not above the other.
    pub damaged: Vec<(String, String)>,
}

/// Values of a channel's keys.
#[derive(Clone, Debug)]
pub struct KeysPage {
    /// In the order of the keys.
    pub entries: Vec<Arc<Entry>>,
    /// The key after which the next page begins; none where this is the last.
    pub next: Option<String>,
    /// Where the hub's log ended before they were read: whoever follows the channel from this id on misses no change.
    pub cursor: String,
}

/// Entries of a channel, where the next ones are, and what can't be read.
struct Part {
    entries: Vec<Arc<Entry>>,
    next: Option<Position>,
    damaged: Vec<Unread>,
}

/// Which part of a channel's history.
#[derive(Clone, Copy, Debug)]
pub struct HistoryQuery {
    /// From when on.
    pub since: Since,
    /// Only what was before this cursor's event.
    pub before: Option<Cursor>,
    /// Which way.
    pub order: Order,
    /// How many events.
    pub limit: usize,
}

/// Why history can't be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The cursor isn't of this log.
    #[error("the id given as {0} is not one of this log")]
    Unknown(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hub {
    /// A channel's state. A channel that nobody published to has one too: it is empty.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn channel(&self, name: &ChannelName) -> Result<ChannelInfo, StoreError> {
        self.patiently(|| self.channel_now(name))
    }

    fn channel_now(&self, name: &ChannelName) -> Result<ChannelInfo, StoreError> {
        let history = self.history();
        let (cursor, _) = history.window.head();
        let known = history.row(name)?;
        let (events, bytes, head) = history.tally(known)?;
        let kind = self.kind_now(known)?;
        let id = |position: Position| history.epochs.cursor(position, None).to_text();
        Ok(ChannelInfo {
            channel: name.clone(),
            head: head.map(id),
            cursor: id(cursor),
            floor: (known.row.floor > Position::ORIGIN).then(|| id(known.row.floor)),
            events,
            bytes,
            kind,
            keys: (kind == Some(Kind::Keys)).then_some(events),
            fence: (known.row.fence > 0).then_some(known.row.fence),
            ended: known.row.end.map(|(position, reason)| EndInfo { id: id(position), reason }),
            streams: self.streams_of(std::slice::from_ref(name)),
            rule: self.rules().of(name),
        })
    }

    /// What a channel holds; none as long as nothing is there that decides it.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn kind_of(&self, name: &ChannelName) -> Result<Option<Kind>, StoreError> {
        self.patiently(|| self.kind_now(self.history().row(name)?))
    }

    fn kind_now(&self, known: Known) -> Result<Option<Kind>, StoreError> {
        let is_decided =
            known.row.kind == Kind::Keys || self.history().has_any(known.ids, Position::ORIGIN, Position::LAST)?;
        Ok(is_decided.then_some(known.row.kind))
    }

    /// Values of a channel's keys after the key `after`, at most `limit`. A channel without keys has none.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn keys_of(&self, name: &ChannelName, after: &str, limit: usize) -> Result<KeysPage, StoreError> {
        self.patiently(|| {
            let history = self.history();
            let (head, _) = history.window.head();
            let known = history.row(name)?;
            let (entries, next) = history.values(known, after, limit.min(HISTORY_EVENTS_MAX))?;
            Ok(KeysPage { entries, next, cursor: history.epochs.cursor(head, None).to_text() })
        })
    }

    /// The value of one key of a channel, if it has one.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn value_of(&self, name: &ChannelName, key: &str) -> Result<KeysPage, StoreError> {
        self.patiently(|| {
            let history = self.history();
            let (head, _) = history.window.head();
            let entry = history.value(history.row(name)?, key)?;
            let cursor = history.epochs.cursor(head, None).to_text();
            Ok(KeysPage { entries: entry.into_iter().collect(), next: None, cursor })
        })
    }

    /// The names of channels that have history or had it lately, in bytewise order, beginning with `prefix` and after
    /// `after`; at most `limit`.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub fn channels(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ChannelName>, StoreError> {
        self.patiently(|| self.history().names(prefix, after, limit))
    }

    /// A part of a channel's history.
    ///
    /// # Errors
    ///
    /// When a cursor isn't of this log, or the store failed.
    pub fn history_of(&self, name: &ChannelName, query: HistoryQuery) -> Result<HistoryPage, HistoryError> {
        self.patiently(|| match self.history_now(name, query) {
            Err(HistoryError::Store(error)) => Err(error),
            outcome => Ok(outcome),
        })?
    }

    /// Reads; once more, after waiting for it a while, if the store is being reopened.
    pub(crate) fn patiently<T>(&self, read: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        match read() {
            Err(StoreError::Reopening) if self.0.store.wait(STORE_WAIT_MAX) => read(),
            outcome => outcome,
        }
    }

    fn history_now(&self, name: &ChannelName, query: HistoryQuery) -> Result<HistoryPage, HistoryError> {
        let history = self.history();
        let (head, _) = history.window.head();
        let place = |cursor: Cursor, what| match history.epochs.place(&cursor, head) {
            Ok(()) => Ok(cursor.event()),
            Err(_) => Err(HistoryError::Unknown(what)),
        };
        let known = history.row(name)?;
        let above = match query.since {
            Since::Unsaid | Since::Now | Since::Start => Position::ORIGIN,
            Since::Last(count) => history.start_of_last(known, count, head)?.unwrap_or(known.bottom()),
            Since::After(cursor) => place(cursor, "`since`")?,
            Since::Ago(ago) => history.position_ago(ago)?,
        };
        let below = query.before.map(|cursor| place(cursor, "`before`")).transpose()?.map_or(head, Position::before);
        let limit = query.limit.min(HISTORY_EVENTS_MAX);
        let Part { entries, next, damaged } = self.entries(name, known, above, below, query.order, limit)?;
        // Floors are read after events; see `history`.
        let floor = history.row(name)?.row.floor;
        let asked_for_all = matches!(query.since, Since::After(_) | Since::Ago(_));
        // Values of keys are good as long as they are there.
        let is_kept = |entry: &Arc<Entry>| entry.position > floor || entry.record.key.is_some();
        let entries: Vec<_> = entries.into_iter().filter(is_kept).collect();
        let id = |position: Position| history.epochs.cursor(position, None).to_text();
        let damaged = damaged.iter().filter(|unread| unread.to > floor).map(|unread| (id(unread.from), id(unread.to)));
        let gap = (asked_for_all && floor > above).then(|| id(floor));
        Ok(HistoryPage { entries, next: next.map(id), gap, damaged: damaged.collect() })
    }

    /// Up to `limit` entries of a channel, and the position where the next page begins.
    fn entries(
        &self,
        name: &ChannelName,
        known: Known,
        above: Position,
        below: Position,
        order: Order,
        limit: usize,
    ) -> Result<Part, StoreError> {
        let history = self.history();
        let source = |above| Source { ids: known.ids, above };
        let (mut entries, mut damaged): (Vec<Arc<Entry>>, Vec<Unread>) = Default::default();
        match order {
            Order::Descending => {
                let Run { entries, covered: next, damaged } = history.newest_first(&source(above), below, limit)?;
                let more = next > above && history.has_any(known.ids, above, next.before())?;
                Ok(Part { entries, next: more.then_some(next), damaged })
            }
            Order::Ascending => {
                let (mut at, mut bytes) = (above, 0);
                while entries.len() < limit && at < below && bytes < HISTORY_BYTES_MAX {
                    let run = match history.merge(&[source(at)], below) {
                        // Its index is damaged; the log may still be whole.
                        Err(error) if error.is_damage() => {
                            history.scan(at, below, |record, _| record.channels.contains(name))?
                        }
                        run => run?,
                    };
                    at = run.covered;
                    damaged.extend(run.damaged);
                    bytes += run.entries.iter().map(|entry| entry.record.data.len()).sum::<usize>();
                    entries.extend(run.entries);
                }
                let next = if entries.len() > limit {
                    entries.truncate(limit);
                    entries.last().map_or(at, |entry| entry.position)
                } else {
                    at
                };
                damaged.retain(|unread| unread.from < next);
                let more = history.has_any(known.ids, next, below)?;
                Ok(Part { entries, next: more.then_some(next), damaged })
            }
        }
    }
}
