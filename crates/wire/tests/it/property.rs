//! The decoder's property: how the bytes are cut never matters, and what was read can be written and read again.
//!
//! Kept apart from what drives it, as both the tests beside it and the fuzz target do.

use std::time::Duration;

use fanfare_wire::{Block, DecodeError, Decoder, EncodeError, Event, Forbidden, Item, Limits, RETRY_MAX, encode};

/// Limits small enough for short inputs to reach them.
const SMALL: Limits = Limits { line_bytes_max: 12, event_bytes_max: 16 };

/// All that a stream amounted to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) items: Vec<Item>,
    pub(crate) last_event_id: String,
    pub(crate) error: Option<DecodeError>,
}

/// Panics unless `bytes` mean the same in one chunk as in chunks of the given sizes (what is left is the last chunk),
/// the same as to the naive decoder, and every event survives being encoded and decoded again.
pub(crate) fn holds(bytes: &[u8], sizes: &[u8]) {
    let whole = read([bytes], Limits::default());
    assert_eq!(whole, read_naively(bytes), "the naive decoder disagrees");
    for limits in [Limits::default(), SMALL] {
        let whole = read([bytes], limits);
        assert_eq!(whole, read(cut(bytes, sizes), limits), "chunks change the meaning");
        assert_eq!(whole, read_late(cut(bytes, sizes), limits), "reading late changes the meaning");
    }
    for item in &whole.items {
        survives_encoding(item, &whole.last_event_id);
    }
}

/// Reads what `chunks` say, each as soon as it is there.
pub(crate) fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Reading {
    let mut decoder = Decoder::with_limits(limits);
    let (mut items, mut error) = (Vec::new(), None);
    for chunk in chunks {
        decoder.push(chunk);
        take(&mut decoder, &mut items, &mut error);
    }
    Reading { items, last_event_id: decoder.last_event_id().to_owned(), error }
}

/// Reads what `chunks` say, one item at most after each chunk and the rest at the end.
fn read_late<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Reading {
    let mut decoder = Decoder::with_limits(limits);
    let (mut items, mut error) = (Vec::new(), None);
    for chunk in chunks {
        decoder.push(chunk);
        take(decoder.by_ref().take(1), &mut items, &mut error);
    }
    take(&mut decoder, &mut items, &mut error);
    Reading { items, last_event_id: decoder.last_event_id().to_owned(), error }
}

/// Sorts results into items and the one error after which nothing comes.
fn take(
    results: impl Iterator<Item = Result<Item, DecodeError>>,
    items: &mut Vec<Item>,
    error: &mut Option<DecodeError>,
) {
    for result in results {
        assert_eq!(*error, None, "a finished decoder goes on");
        match result {
            Ok(item) => items.push(item),
            Err(found) => *error = Some(found),
        }
    }
}

/// Cuts `bytes` into chunks of the given sizes, as far as they reach; the last chunk is what is left.
fn cut<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::with_capacity(sizes.len() + 1);
    for &size in sizes {
        let (chunk, rest) = bytes.split_at(usize::from(size).min(bytes.len()));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks.push(bytes);
    chunks
}

/// Encodes an item and decodes it again; only a NUL in an event's name, which can be read but not written, is refused.
fn survives_encoding(item: &Item, last_event_id: &str) {
    let block = match item {
        Item::Event(Event { id, event, data }) => {
            Block { id: Some(id), event: Some(event), data: Some(data), ..Block::default() }
        }
        Item::Retry(retry) => Block { id: Some(last_event_id), retry: Some(*retry), ..Block::default() },
    };
    let mut bytes = Vec::new();
    match encode(&block, &mut bytes) {
        Ok(()) => {
            let again = read([bytes.as_slice()], Limits::default());
            assert_eq!(again.items, std::slice::from_ref(item));
            assert_eq!(Some(again.last_event_id.as_str()), block.id);
        }
        Err(error) => {
            assert_eq!(error, EncodeError::EventName(Forbidden::Nul));
            assert!(block.event.is_some_and(|event| event.contains('\0')));
        }
    }
}

/// The standard's text, word for word, over a stream that is already complete and for which memory is no matter.
fn read_naively(bytes: &[u8]) -> Reading {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text).replace("\r\n", "\n").replace('\r', "\n");
    let (mut event, mut data, mut id, mut last_event_id) = (String::new(), String::new(), String::new(), String::new());
    let mut items = Vec::new();
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else { break };
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                last_event_id.clone_from(&id);
                if let Some(data) = data.strip_suffix('\n') {
                    let name = if event.is_empty() { "message" } else { &event };
                    items.push(Item::Event(Event { id: id.clone(), event: name.into(), data: data.into() }));
                }
                (event, data) = (String::new(), String::new());
            }
            "event" => event = value.into(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => id = value.into(),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                items.push(Item::Retry(value.parse().map_or(RETRY_MAX, |ms| RETRY_MAX.min(Duration::from_millis(ms)))));
            }
            _ => {}
        }
    }
    Reading { items, last_event_id, error: None }
}
