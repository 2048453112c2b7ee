//! A channel's row: what the store knows of it beside its events.

use bytes::Bytes;

use crate::channel::ChannelName;
use crate::log::record::RecordError;
use crate::log::varint;
use crate::position::Position;
use crate::store::{Batch, KeyRange, Store, StoreError, Table, keys_with_prefix};

/// The version of rows that this hub writes.
const FORMAT: u8 = 1;

/// What keys of copies begin with, in the table `meta`; the channel's name follows. Of rows that say what the log may not there
/// is a copy, so that a damaged table `channels` doesn't let producers in that were kept out.
const COPY: &[u8] = b"row/";

/// A channel as its row in the store has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelRow {
    /// The channel's key in the index. Never used for another channel.
    pub(crate) id: u64,
    /// The highest position that retention removed.
    pub(crate) floor: Position,
    /// A position that was given to nobody when the floor was moved: streams that began before it knew a lower floor.
    pub(crate) moved: Position,
    /// What it holds. Its first event decides.
    pub(crate) kind: Kind,
    /// Which of its producers may publish; 0 where anybody may.
    pub(crate) fence: u64,
    /// The log's head when the fence was given: what nobody published to since is forgotten only after that.
    pub(crate) fenced: Position,
    /// When the fence was given, in milliseconds since the Unix epoch: its producer was heard of then.
    pub(crate) fenced_ms: u64,
    /// Where it ended, if it did, and why.
    pub(crate) end: Option<(Position, EndReason)>,
}

/// What a channel holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Events, each of which is kept.
    #[default]
    Events,
    /// Values of keys, of which the last is kept: a state channel, or an inbox.
    Keys,
}

impl Kind {
    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Keys => "state",
        }
    }
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// All of it is there.
    Done,
    /// What was to come can't be had.
    Failed,
    /// Whoever published it stopped, or was heard no more.
    Aborted,
}

impl EndReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Aborted];

    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

impl ChannelRow {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = vec![FORMAT];
        varint::write(self.id, &mut value);
        value.extend_from_slice(&self.floor.to_key());
        value.extend_from_slice(&self.moved.to_key());
        // Most channels have no more than that, and older hubs knew no more.
        if (self.kind, self.fence, self.end) != (Kind::Events, 0, None) {
            value.push(u8::from(self.kind == Kind::Keys));
            varint::write(self.fence, &mut value);
            if self.fence > 0 {
                value.extend_from_slice(&self.fenced.to_key());
                varint::write(self.fenced_ms, &mut value);
            }
            if let Some((position, reason)) = self.end {
                value.push(reason as u8);
                value.extend_from_slice(&position.to_key());
            }
        }
        value
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (&FORMAT, mut rest) = value.split_first()? else { return None };
        let id = varint::read(&mut rest)?;
        let (floor, rest) = rest.split_first_chunk::<8>()?;
        let (moved, mut rest) = rest.split_first_chunk::<8>()?;
        let (floor, moved) = (Position::from_key(*floor), Position::from_key(*moved));
        let mut row = Self { id, floor, moved, ..Self::default() };
        if let Some((kind, more)) = rest.split_first() {
            rest = more;
            row.kind = if *kind == 1 { Kind::Keys } else { Kind::Events };
            row.fence = varint::read(&mut rest)?;
            if row.fence > 0 {
                let (fenced, more) = rest.split_first_chunk::<8>()?;
                rest = more;
                row.fenced = Position::from_key(*fenced);
                row.fenced_ms = varint::read(&mut rest)?;
            }
            if let Some((reason, position)) = rest.split_first() {
                let reason = *EndReason::ALL.get(usize::from(*reason))?;
                row.end = Some((Position::from_key(*position.first_chunk()?), reason));
            }
        }
        Some(row)
    }

    /// Whether it says what the log may not: of an end only until retention removes it, of a fence never.
    pub(crate) fn has_copy(&self) -> bool {
        self.fence > 0 || self.end.is_some()
    }

    /// Has a batch write it down.
    pub(crate) fn put(self, name: &ChannelName, batch: &mut Batch) {
        let row = Bytes::from(self.encode());
        if self.has_copy() {
            batch.put(Table::Meta, copy_of(name), row.clone());
        }
        batch.put(Table::Channels, Bytes::copy_from_slice(name.as_str().as_bytes()), row);
    }

    /// Has a batch remove the row of a channel.
    pub(crate) fn remove(name: &ChannelName, batch: &mut Batch) {
        batch.remove(Table::Channels, Bytes::copy_from_slice(name.as_str().as_bytes()));
        Self::remove_copy(name, batch);
    }

    /// Has a batch remove the copy of a row that has none any more.
    pub(crate) fn remove_copy(name: &ChannelName, batch: &mut Batch) {
        batch.remove(Table::Meta, copy_of(name));
    }

    /// The keys of all copies, in the table `meta`.
    pub(crate) fn copies() -> KeyRange {
        keys_with_prefix(COPY)
    }

    /// Whose copy has this key.
    pub(crate) fn is_copy_of(key: &[u8]) -> Option<ChannelName> {
        ChannelName::new(std::str::from_utf8(key.strip_prefix(COPY)?).ok()?).ok()
    }

    /// The newest position that it remembers. As long as cursors may be older, so may those who ask. A stream that began
    /// before the floor moved asks for what lies below it, however old that is.
    pub(crate) fn newest(&self) -> Position {
        self.floor.max(self.moved).max(self.fenced).max(self.end.map_or(Position::ORIGIN, |(position, _)| position))
    }

    /// What the rows of a channel in both tiers say together. What it is the one on disk knows: what was done to the channel is
    /// there at once or not at all. Floors move in each tier by themselves.
    pub(crate) fn together(durable: Option<Self>, memory: Option<Self>) -> Option<Self> {
        match (durable, memory) {
            (Some(durable), Some(Self { floor, moved, .. })) if floor > durable.floor => {
                Some(Self { floor, moved, ..durable })
            }
            (durable, memory) => durable.or(memory),
        }
    }

    /// What is left of it when no store has it any more: its number, which is nobody else's, and its floor.
    pub(crate) fn forgotten(self) -> Self {
        Self { id: self.id, floor: self.floor, moved: self.moved, ..Self::default() }
    }

    /// Reads the row of a channel from one store.
    pub(crate) fn read(store: &dyn Store, name: &ChannelName) -> Result<Option<Self>, StoreError> {
        let value = store.get(Table::Channels, name.as_str().as_bytes())?;
        value
            .map(|value| Self::decode(&value).ok_or_else(|| StoreError::Damaged(Box::new(RecordError::Damaged))))
            .transpose()
    }
}

/// The key of the copy of a channel's row.
fn copy_of(name: &ChannelName) -> Vec<u8> {
    [COPY, name.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_its_bytes_and_older_rows_are_read() {
        let plain =
            ChannelRow { id: 300, floor: Position::new(1, 2), moved: Position::new(1, 3), ..ChannelRow::default() };
        assert_eq!(plain.encode().len(), 1 + 2 + 16, "as older hubs wrote it");
        let fenced =
            ChannelRow { kind: Kind::Keys, fence: 700, fenced: Position::new(1, 8), fenced_ms: 1_700, ..plain };
        let both = ChannelRow { end: Some((Position::new(2, 9), EndReason::Done)), ..fenced };
        let ended = ChannelRow { end: Some((Position::new(2, 9), EndReason::Aborted)), ..plain };
        for row in [plain, fenced, both, ended] {
            assert_eq!(ChannelRow::decode(&row.encode()), Some(row));
        }
        let mut bytes = ended.encode();
        bytes.pop();
        assert_eq!(ChannelRow::decode(&bytes), None);
    }

    #[test]
    fn what_is_on_disk_says_what_a_channel_is_and_the_higher_floor_counts() {
        let row = |floor, fence| ChannelRow { floor: Position::new(1, floor), fence, ..ChannelRow::default() };
        assert_eq!(ChannelRow::together(Some(row(2, 7)), Some(row(2, 6))), Some(row(2, 7)));
        assert_eq!(ChannelRow::together(Some(row(2, 7)), Some(row(3, 6))), Some(row(3, 7)));
        assert_eq!(ChannelRow::together(None, Some(row(3, 6))), Some(row(3, 6)));
    }
}
