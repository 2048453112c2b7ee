//! Encoder: one block of an event stream as bytes (WHATWG HTML 9.2.5).
//!
//! It writes LF only, never a byte order mark, and only whole blocks: all of a block is appended to the output, or
//! nothing. It doesn't know what an id means, which extra fields there are, or where the bytes go.
//!
//! The format can't carry everything. A CR in the data can't survive, as the receiver takes it for a line end: data is
//! split at CRLF, CR and LF and arrives with LF. Everywhere else what can't be carried is refused, never stripped.

use std::fmt;
use std::time::Duration;

use crate::lines::Lines;

/// One block of an event stream: the lines up to and including a blank line.
///
/// A block without `data` makes no event: it may still move the receiver's last event id or set its reconnection time
/// (9.2.6, "dispatch the event", step 2). `data: Some("")` does make an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block<'a> {
    /// The id line, always the first line of a block. `Some("")` resets the receiver's last event id; `None` leaves it.
    pub id: Option<&'a str>,
    /// The event's name. `None` and `"message"` are the same event and write no line.
    pub event: Option<&'a str>,
    /// Fields, as names and values, that every parser ignores; for readers of the raw stream.
    pub fields: &'a [(&'a str, &'a str)],
    /// How long the receiver shall wait before it reconnects; written in whole milliseconds, rounded down.
    pub retry: Option<Duration>,
    /// The event's data, one `data` line for each of its lines.
    pub data: Option<&'a str>,
}

/// Why a block can't be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The id would break its line, or would be ignored by the receiver (NUL).
    #[error("the id contains {0}")]
    Id(Forbidden),
    /// The event's name would break its line.
    #[error("the event name contains {0}")]
    EventName(Forbidden),
    /// An empty event name means `message` to the receiver, which is said by leaving the name out.
    #[error("the event name is empty")]
    EventNameEmpty,
    /// An extra field's name would end early or be taken for something else.
    #[error("the name of extra field {index} contains {found}")]
    FieldName {
        /// Which of [`Block::fields`], counted from 0.
        index: usize,
        /// What was found in the name.
        found: Forbidden,
    },
    /// An extra field without a name would be a comment.
    #[error("the name of extra field {index} is empty")]
    FieldNameEmpty {
        /// Which of [`Block::fields`], counted from 0.
        index: usize,
    },
    /// An extra field is called `id`, `event`, `data` or `retry`, so that the receiver would act on it.
    #[error("the name of extra field {index} is one that receivers act on")]
    FieldNameReserved {
        /// Which of [`Block::fields`], counted from 0.
        index: usize,
    },
    /// An extra field's value would break its line.
    #[error("the value of extra field {index} contains {found}")]
    FieldValue {
        /// Which of [`Block::fields`], counted from 0.
        index: usize,
        /// What was found in the value.
        found: Forbidden,
    },
}

/// A character that can't stand where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// U+000D: it ends a line.
    CarriageReturn,
    /// U+000A: it ends a line.
    LineFeed,
    /// U+0000: an id that has one is ignored; elsewhere many receivers cut the text there.
    Nul,
    /// U+003A, in a field's name: it ends the name.
    Colon,
    /// U+FEFF, at the beginning of a field's name: stripped where the block is the first of a stream.
    ByteOrderMark,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CarriageReturn => "a carriage return (U+000D)",
            Self::LineFeed => "a line feed (U+000A)",
            Self::Nul => "a NUL (U+0000)",
            Self::Colon => "a colon (U+003A)",
            Self::ByteOrderMark => "a leading byte order mark (U+FEFF)",
        })
    }
}

/// Appends `block` to `out`: id, event, extra fields, retry, data, blank line.
///
/// A block encoded without an id, behind a line written by [`encode_id_line`], is byte for byte the block encoded with
/// that id; so one encoded block can serve receivers that need different ids.
///
/// # Errors
///
/// [`EncodeError`] if something in the block can't be carried by the format; `out` is then as it was before.
pub fn encode(block: &Block<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    check(block)?;
    out.reserve(size_hint(block));
    if let Some(id) = block.id {
        write_line("id", id.as_bytes(), out);
    }
    if let Some(event) = block.event.filter(|&event| event != "message") {
        write_line("event", event.as_bytes(), out);
    }
    for (name, value) in block.fields {
        write_line(name, value.as_bytes(), out);
    }
    if let Some(retry) = block.retry {
        write_line("retry", retry.as_millis().to_string().as_bytes(), out);
    }
    for line in block.data.into_iter().flat_map(Lines::new) {
        write_line("data", line, out);
    }
    out.push(b'\n');
    Ok(())
}

/// Appends only the id line of a block to `out`, for a block that was encoded without one.
///
/// # Errors
///
/// [`EncodeError::Id`] if `id` contains CR, LF or NUL; `out` is then as it was before.
pub fn encode_id_line(id: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Some(found) = find_forbidden(id) {
        return Err(EncodeError::Id(found));
    }
    write_line("id", id.as_bytes(), out);
    Ok(())
}

/// Appends `text` to `out` as a comment, one comment line for each of its lines, and a blank line.
///
/// Receivers ignore comments; an empty one is the smallest sign of life (9.2.7). Don't write one inside a block: its
/// blank line would end that block.
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    for line in Lines::new(text) {
        write_line("", line, out);
    }
    out.push(b'\n');
}

/// Appends `name: value`, or `name:` if the value is empty. The space is always written, as the receiver removes one:
/// a value that begins with a space keeps it.
fn write_line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if !value.is_empty() {
        out.push(b' ');
        out.extend_from_slice(value);
    }
    out.push(b'\n');
}

/// Refuses what can't be carried, before anything is written.
fn check(block: &Block<'_>) -> Result<(), EncodeError> {
    if let Some(found) = block.id.and_then(find_forbidden) {
        return Err(EncodeError::Id(found));
    }
    if block.event == Some("") {
        return Err(EncodeError::EventNameEmpty);
    }
    if let Some(found) = block.event.and_then(find_forbidden) {
        return Err(EncodeError::EventName(found));
    }
    for (index, (name, value)) in block.fields.iter().enumerate() {
        check_field(index, name, value)?;
    }
    Ok(())
}

/// Refuses an extra field that would break its line or mean something to a receiver.
fn check_field(index: usize, name: &str, value: &str) -> Result<(), EncodeError> {
    let mark = name.starts_with('\u{FEFF}').then_some(Forbidden::ByteOrderMark);
    let colon = name.contains(':').then_some(Forbidden::Colon);
    if let Some(found) = find_forbidden(name).or(mark).or(colon) {
        return Err(EncodeError::FieldName { index, found });
    }
    match name {
        "" => return Err(EncodeError::FieldNameEmpty { index }),
        "id" | "event" | "data" | "retry" => return Err(EncodeError::FieldNameReserved { index }),
        _ => {}
    }
    match find_forbidden(value) {
        Some(found) => Err(EncodeError::FieldValue { index, found }),
        None => Ok(()),
    }
}

/// The first CR, LF or NUL in a text that has to stay on one line.
fn find_forbidden(text: &str) -> Option<Forbidden> {
    // Nearly all texts are clean, which a pass without an early way out tells fastest.
    if !text.bytes().fold(false, |found, byte| found | matches!(byte, b'\r' | b'\n' | 0)) {
        return None;
    }
    text.bytes().find_map(|byte| match byte {
        b'\r' => Some(Forbidden::CarriageReturn),
        b'\n' => Some(Forbidden::LineFeed),
        0 => Some(Forbidden::Nul),
        _ => None,
    })
}

/// About how many bytes a block takes: exact for one line of data, less where it has many.
fn size_hint(block: &Block<'_>) -> usize {
    let line = |name: usize, value: Option<&str>| value.map_or(0, |value| name + value.len() + ": \n".len());
    let fields: usize = block.fields.iter().map(|(name, value)| line(name.len(), Some(value))).sum();
    let retry = block.retry.map_or(0, |_| "retry: 1234567890\n".len());
    line(2, block.id) + line(5, block.event) + fields + retry + line(4, block.data) + 1
}
