//! What the log keeps of an event, and its bytes: a format version, tagged fields, a checksum.
//!
//! The checksum is of all bytes before it and of the record's position, so that neither a flipped bit nor a record in
//! another one's place is ever taken for an event, whatever lies between here and the disk.
//!
//! A field is a tag, a length and that many bytes. Fields that this version doesn't know are kept and written again, so
//! that a newer hub's records survive an older one. A format version that this hub doesn't know is refused by name.

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::channel::ChannelName;
use crate::draft::{Draft, Publisher};
use crate::event::is_json;
use crate::log::varint;
use crate::position::Position;
use crate::user::UserName;

/// The version that this hub writes, and the newest that it reads.
pub const FORMAT: u8 = 1;

/// Bytes of the checksum, at the record's end: XXH3 with the position as its seed, little endian.
const CHECKSUM_BYTES: usize = 8;

/// The tags of format 1. A number is never used for something else.
mod tag {
    pub(super) const CHANNEL: u64 = 1;
    pub(super) const NAME: u64 = 2;
    pub(super) const DATA: u64 = 3;
    pub(super) const CONTENT_TYPE: u64 = 4;
    pub(super) const TIME_MS: u64 = 5;
    pub(super) const PUBLISHER: u64 = 6;
    pub(super) const EXPIRES_MS: u64 = 7;
    pub(super) const RETRY_MS: u64 = 8;
    pub(super) const KEY: u64 = 9;
    pub(super) const DELETED: u64 = 10;
    pub(super) const EXCEPT_USER: u64 = 11;
}

/// An event as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The channels it was published to; the first is the canonical one.
    pub channels: Vec<ChannelName>,
    /// SSE's `event:`.
    pub name: Option<String>,
    /// The payload, UTF-8.
    pub data: Bytes,
    /// What the data is, as a media type.
    pub content_type: Option<String>,
    /// When the log took it, in milliseconds since the Unix epoch; never decreasing within a log.
    pub time_ms: u64,
    /// Who published it, where they said so.
    pub publisher: Option<String>,
    /// From when on it isn't delivered any more, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// A reconnection time for browsers.
    pub retry: Option<Duration>,
    /// What it is the value of, in a channel that has keys.
    pub key: Option<String>,
    /// Whether it says that its key has no value any more.
    pub is_deleted: bool,
    /// The user it isn't for.
    pub except_user: Option<UserName>,
    /// Fields of newer hubs: tag and bytes.
    pub(crate) unknown: Vec<(u64, Bytes)>,
}

/// Why stored bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record was written by a newer hub.
    #[error("record format {0} is newer than this hub, which reads up to format {FORMAT}")]
    NewerFormat(u8),
    /// The bytes are no record.
    #[error("record is damaged")]
    Damaged,
}

impl Record {
    /// A record with what all have, and nothing else.
    pub fn new(channels: Vec<ChannelName>, data: Bytes, time_ms: u64) -> Self {
        Self {
            channels,
            name: None,
            data,
            content_type: None,
            time_ms,
            publisher: None,
            expires_ms: None,
            retry: None,
            key: None,
            is_deleted: false,
            except_user: None,
            unknown: Vec::new(),
        }
    }

    /// What the log keeps of a draft that it takes at `time_ms`.
    pub(crate) fn of(draft: Draft, time_ms: u64) -> Self {
        let Draft { channels, event, publisher, except_user, .. } = draft;
        Self {
            name: event.name,
            content_type: event.content_type,
            publisher: match publisher {
                Publisher::Named(name) => Some(name),
                Publisher::Anyone | Publisher::Hub => None,
            },
            expires_ms: event.ttl.map(|ttl| time_ms.saturating_add(ttl.as_millis() as u64)),
            retry: event.retry,
            key: event.key,
            is_deleted: event.is_deleted,
            except_user,
            ..Self::new(channels, event.data, time_ms)
        }
    }

    /// Whether the data is JSON.
    pub fn is_json(&self) -> bool {
        self.content_type.as_deref().is_some_and(is_json)
    }

    /// Whether its time to live has run out.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }

    /// About how much memory it holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + self.channels.iter().map(|c| c.as_str().len() + 32).sum::<usize>() + 160
    }

    /// The record as bytes, for this position.
    pub(crate) fn encode(&self, position: Position) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.weight() + CHECKSUM_BYTES);
        out.push(FORMAT);
        let mut field = |tag, bytes: &[u8]| {
            varint::write(tag, &mut out);
            varint::write(bytes.len() as u64, &mut out);
            out.extend_from_slice(bytes);
        };
        let mut number = Vec::with_capacity(10);
        let mut digits = |value: u64| {
            number.clear();
            varint::write(value, &mut number);
            number.clone()
        };
        for channel in &self.channels {
            field(tag::CHANNEL, channel.as_str().as_bytes());
        }
        field(tag::TIME_MS, &digits(self.time_ms));
        for (tag, text) in
            [(tag::NAME, &self.name), (tag::CONTENT_TYPE, &self.content_type), (tag::PUBLISHER, &self.publisher)]
        {
            if let Some(text) = text {
                field(tag, text.as_bytes());
            }
        }
        if let Some(at) = self.expires_ms {
            field(tag::EXPIRES_MS, &digits(at));
        }
        if let Some(retry) = self.retry {
            field(tag::RETRY_MS, &digits(retry.as_millis() as u64));
        }
        if let Some(key) = &self.key {
            field(tag::KEY, key.as_bytes());
        }
        if self.is_deleted {
            field(tag::DELETED, &[]);
        }
        if let Some(user) = &self.except_user {
            field(tag::EXCEPT_USER, user.as_str().as_bytes());
        }
        field(tag::DATA, &self.data);
        for (tag, bytes) in &self.unknown {
            field(*tag, bytes);
        }
        let checksum = checksum(&out, position);
        out.extend_from_slice(&checksum);
        out
    }

    /// Reads the record of this position. The data shares the memory of `bytes`.
    ///
    /// # Errors
    ///
    /// When the bytes are of a newer format or damaged.
    pub(crate) fn decode(bytes: &Bytes, position: Position) -> Result<Self, RecordError> {
        let (input, found) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(RecordError::Damaged)?;
        // First, and in newer formats too: a flipped version is no newer hub.
        if *found != checksum(input, position) {
            return Err(RecordError::Damaged);
        }
        let (&format, mut input) = input.split_first().ok_or(RecordError::Damaged)?;
        if format > FORMAT {
            return Err(RecordError::NewerFormat(format));
        }
        let mut record = Self::new(Vec::with_capacity(1), Bytes::new(), 0);
        while !input.is_empty() {
            let tag = varint::read(&mut input).ok_or(RecordError::Damaged)?;
            let length = varint::read(&mut input).ok_or(RecordError::Damaged)?;
            let (value, rest) = usize::try_from(length)
                .ok()
                .and_then(|length| input.split_at_checked(length))
                .ok_or(RecordError::Damaged)?;
            input = rest;
            record.set(tag, bytes.slice_ref(value)).ok_or(RecordError::Damaged)?;
        }
        if record.channels.is_empty() { Err(RecordError::Damaged) } else { Ok(record) }
    }

    /// Sets the field with this tag; `None` where the bytes don't fit it.
    fn set(&mut self, tag: u64, bytes: Bytes) -> Option<()> {
        let text = || std::str::from_utf8(&bytes).ok();
        let number = || varint::read(&mut &bytes[..]);
        match tag {
            tag::CHANNEL => self.channels.push(ChannelName::new(text()?).ok()?),
            tag::NAME => self.name = Some(text()?.to_owned()),
            tag::CONTENT_TYPE => self.content_type = Some(text()?.to_owned()),
            tag::PUBLISHER => self.publisher = Some(text()?.to_owned()),
            tag::TIME_MS => self.time_ms = number()?,
            tag::EXPIRES_MS => self.expires_ms = Some(number()?),
            tag::RETRY_MS => self.retry = Some(Duration::from_millis(number()?)),
            tag::KEY => self.key = Some(text()?.to_owned()),
            tag::DELETED => self.is_deleted = true,
            tag::EXCEPT_USER => self.except_user = Some(UserName::new(text()?).ok()?),
            tag::DATA => self.data = bytes,
            _ => self.unknown.push((tag, bytes)),
        }
        Some(())
    }
}

/// The checksum of a record's other bytes, at this position.
fn checksum(bytes: &[u8], position: Position) -> [u8; CHECKSUM_BYTES] {
    xxh3_64_with_seed(bytes, u64::from_be_bytes(position.to_key())).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Format 1 as this hub writes it. If this changes, the format has changed: give it a new number instead.
    const SAMPLE: &str = "0101046e657773010362656505029a050204746f6c64040a746578742f706c61696e0603616461\
                          0702e8070802f40303026869e3010178d2d3d7abcba22bac";

    const AT: Position = Position::LAST;

    fn sample() -> Record {
        Record {
            channels: vec![ChannelName::new("news").unwrap(), ChannelName::new("bee").unwrap()],
            name: Some("told".into()),
            data: "hi".into(),
            content_type: Some("text/plain".into()),
            time_ms: 666,
            publisher: Some("ada".into()),
            expires_ms: Some(1000),
            retry: Some(Duration::from_millis(500)),
            key: None,
            is_deleted: false,
            except_user: None,
            unknown: vec![(227, "x".into())],
        }
    }

    #[test]
    fn a_record_survives_its_bytes_and_keeps_what_it_does_not_know() {
        let record = sample();
        assert_eq!(Record::decode(&record.encode(AT).into(), AT).unwrap(), record);
    }

    #[test]
    fn a_deleted_key_and_whom_it_is_not_for_survive_too() {
        let except_user = Some(UserName::new("ada").unwrap());
        let record = Record { key: Some("k".into()), is_deleted: true, except_user, ..sample() };
        assert_eq!(Record::decode(&record.encode(AT).into(), AT).unwrap(), record);
    }

    #[test]
    fn a_record_in_another_ones_place_is_damaged() {
        let bytes: Bytes = sample().encode(AT).into();
        assert_eq!(Record::decode(&bytes, AT.before()), Err(RecordError::Damaged));
    }

    #[test]
    fn format_1_stays_as_it_was_released() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        let released: Vec<u8> = SAMPLE.as_bytes().chunks(2).map(hex).collect();
        assert_eq!(sample().encode(AT), released);
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut bytes = sample().encode(AT);
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        bytes[0] = FORMAT + 1;
        bytes.extend(checksum(&bytes, AT));
        let error = Record::decode(&bytes.into(), AT).unwrap_err();
        assert_eq!(error.to_string(), "record format 2 is newer than this hub, which reads up to format 1");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_but_never_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes.into(), AT);
        }

        #[test]
        fn a_cut_record_is_never_read(cut in 0usize..63) {
            let bytes = sample().encode(AT);
            prop_assert!(cut < bytes.len());
            prop_assert!(Record::decode(&bytes[..cut].to_vec().into(), AT).is_err());
        }

        #[test]
        fn a_record_with_a_flipped_bit_is_never_read(bit in 0usize..63 * 8) {
            let mut bytes = sample().encode(AT);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Record::decode(&bytes.into(), AT).is_err());
        }
    }
}
