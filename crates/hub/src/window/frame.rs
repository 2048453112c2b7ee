//! An event's bytes on the wire. Encoded once per [`Form`] and shared by all streams that get it.

use std::borrow::Cow;

use bytes::Bytes;
use fanfare_wire::Block;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::window::entry::Entry;

/// How events look on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The publisher's name and data as they are, and a `channel` field that parsers ignore.
    #[default]
    Raw,
    /// The data is a JSON envelope that carries channel, name, data, id and time.
    Json,
}

/// One event encoded for the wire.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The block, its id line first.
    pub(crate) bytes: Bytes,
}

/// What `as=json` puts into `data`.
#[derive(Serialize)]
struct Envelope<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    event: Option<&'a str>,
    data: Data<'a>,
    id: Option<&'a str>,
    time: u64,
}

/// The name of an event that says that a key has no value any more.
pub const DELETE: &str = "fanfare.delete";

/// What a deletion says.
#[derive(Serialize)]
struct Deletion<'a> {
    channel: &'a str,
    key: Option<&'a str>,
    /// Of a message: the id that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

/// An event's data within JSON: as it is where it is JSON, otherwise as a string.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Data<'a> {
    /// JSON, unchanged to the digit.
    Json(&'a RawValue),
    /// Any other text.
    Text(&'a str),
}

impl<'a> Data<'a> {
    /// The data of an event.
    pub fn of(text: &'a str, is_json: bool) -> Self {
        match is_json.then(|| serde_json::from_str(text)) {
            Some(Ok(json)) => Self::Json(json),
            // Not JSON, or declared so by a hub that checked less.
            _ => Self::Text(text),
        }
    }
}

impl Frame {
    /// Encodes an entry as an event of `channel`, one of its channels, under its own id or another one.
    pub(crate) fn of(entry: &Entry, form: Form, channel: &str, other_id: Option<&str>) -> Self {
        let record = &entry.record;
        // Drafts are checked, so this is the text; a damaged record must not take the hub down.
        let text = match std::str::from_utf8(&record.data) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(&record.data),
        };
        let own_id = if other_id.is_some() && form == Form::Raw { None } else { entry.id().map(|id| id.to_text()) };
        let id = other_id.or(own_id.as_deref());
        let envelope;
        let key = record.key.as_deref();
        let fields = [("channel", channel), ("key", key.unwrap_or_default())];
        let fields = fields.split_at(if key.is_some() { 2 } else { 1 }).0;
        let mut block = Block { id, event: record.name.as_deref(), retry: record.retry, ..Block::default() };
        if form == Form::Raw {
            block.fields = fields;
        }
        match form {
            // The same in both forms, as all that the hub itself says.
            _ if record.is_deleted => {
                block.event = Some(DELETE);
                let id = Some(&*text).filter(|id| !id.is_empty());
                envelope = serde_json::to_string(&Deletion { channel, key, id }).unwrap_or_default();
                block.data = Some(&envelope);
            }
            Form::Raw => {
                block.data = Some(&text);
            }
            Form::Json => {
                let data = Data::of(&text, record.is_json());
                let event = record.name.as_deref();
                let parts = Envelope { channel, key, event, data, id: own_id.as_deref(), time: record.time_ms };
                envelope = serde_json::to_string(&parts).unwrap_or_default();
                block.data = Some(&envelope);
            }
        }
        Self::encode(&block)
    }

    /// Encodes a block whose fields are known to be good.
    pub(crate) fn encode(block: &Block<'_>) -> Self {
        let mut bytes = Vec::with_capacity(block.data.map_or(0, str::len) + 160);
        if let Err(error) = fanfare_wire::encode(block, &mut bytes) {
            // Drafts and channel names are checked at the door, so this is a bug; nothing broken goes out.
            tracing::error!(%error, "an event could not be encoded and was left out");
            debug_assert!(false, "unencodable block: {error}");
        }
        // Of the size that it has: a frame lives as long as its event is in the window.
        Self { bytes: bytes.into_boxed_slice().into() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::ChannelName;
    use crate::draft::{Draft, Publisher};
    use crate::event::Event;
    use crate::log::record::Record;
    use crate::position::Position;
    use crate::rule::Durability;

    fn entry(event: Event, durability: Durability) -> Entry {
        let channels = ["news", "more"].map(|name| ChannelName::new(name).unwrap()).to_vec();
        let draft = Draft::new(channels, event, Publisher::Anyone).unwrap();
        Entry::new(Position::new(1, 2), 3, durability, Record::of(draft, 1000))
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_raw_frame_is_the_publishers_event_with_id_and_channel() {
        let entry = entry(Event::text("a\r\nb").named("told").retry(Duration::from_secs(2)), Durability::Durable);
        assert_eq!(
            text(&entry.frame(Form::Raw, 0).bytes),
            "id: 000001-00000003-0000000002\nevent: told\nchannel: news\nretry: 2000\ndata: a\ndata: b\n\n"
        );
        assert!(text(&entry.frame(Form::Raw, 1).bytes).contains("channel: more\n"));
    }

    #[test]
    fn a_json_frame_carries_the_envelope_and_json_data_unchanged() {
        let entry = entry(Event::text(r#"{"n": 1.10}"#).typed("application/json"), Durability::Durable);
        assert_eq!(
            text(&entry.frame(Form::Json, 0).bytes),
            "id: 000001-00000003-0000000002\ndata: {\"channel\":\"news\",\"event\":null,\"data\":{\"n\": 1.10},\
             \"id\":\"000001-00000003-0000000002\",\"time\":1000}\n\n"
        );
    }

    #[test]
    fn a_transient_event_has_no_id_line() {
        let entry = entry(Event::text("x"), Durability::Transient);
        assert_eq!(text(&entry.frame(Form::Raw, 0).bytes), "channel: news\ndata: x\n\n");
    }

    #[test]
    fn another_id_replaces_the_id_line_only() {
        let entry = entry(Event::text("x"), Durability::Durable);
        let raw = Frame::of(&entry, Form::Raw, "news", Some("other"));
        assert_eq!(text(&raw.bytes), "id: other\nchannel: news\ndata: x\n\n");
        let json = Frame::of(&entry, Form::Json, "news", Some("other"));
        assert!(text(&json.bytes).starts_with("id: other\n"));
        assert!(
            text(&json.bytes).contains("\"id\":\"000001-00000003-0000000002\""),
            "the envelope has the event's own"
        );
    }
}
