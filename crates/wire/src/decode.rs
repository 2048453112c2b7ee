//! Decoder: the events of a stream whose bytes arrive in chunks cut anywhere (WHATWG HTML 9.2.6).
//!
//! Bytes enter at [`Decoder::push`], items leave through its [`Iterator`]. Wherever the chunks are cut, the same bytes
//! give the same items. It doesn't know where the bytes come from, and it never reconnects: a new connection needs a
//! new decoder. The end of a stream needs no call: an unfinished event, with its id, is dropped with the decoder.

use std::mem;
use std::time::Duration;

use crate::lines::LineBuffer;

/// The longest reconnection time a decoder reports; a `retry` beyond it counts as this.
///
/// The standard sets no limit. This one (2³¹ − 1 ms, nearly 25 days) is the longest delay that a JavaScript timer
/// holds, so that clients in every language agree, and adding it to a clock can't overflow.
pub const RETRY_MAX: Duration = Duration::from_millis(2_147_483_647);

/// What a stream may cost the decoder in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest line, in bytes as received, without its line end. Comments count too.
    pub line_bytes_max: usize,
    /// The most data one event may gather, in bytes of UTF-8, the LF between its lines included.
    pub event_bytes_max: usize,
}

impl Default for Limits {
    /// Lines of 4 MiB and events of 8 MiB: far more than a well-meant event has, and still bearable for a small client.
    fn default() -> Self {
        Self { line_bytes_max: 4 * 1024 * 1024, event_bytes_max: 8 * 1024 * 1024 }
    }
}

/// Something a stream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event was dispatched.
    Event(Event),
    /// The reconnection time was set. This takes effect with its line, not with the block it stands in.
    Retry(Duration),
}

/// One event, as a listener gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last event id at the time of dispatch; empty if there was none so far.
    pub id: String,
    /// The event's name; `message` where the stream gave none.
    pub event: String,
    /// The data, its lines joined with LF.
    pub data: String,
}

/// Why a stream can't be read any further; the standard knows no such case, as it sets no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A line, complete or not, is over [`Limits::line_bytes_max`].
    #[error("a line is longer than {line_bytes_max} bytes")]
    LineTooLong {
        /// The limit.
        line_bytes_max: usize,
    },
    /// An event's data is over [`Limits::event_bytes_max`].
    #[error("an event has more than {event_bytes_max} bytes of data")]
    EventTooLong {
        /// The limit.
        event_bytes_max: usize,
    },
}

/// Reads one event stream, chunk by chunk.
///
/// [`push`](Self::push) a chunk, then iterate until `None`, which means "more bytes, please" and not the end:
///
/// ```
/// use fanfare_wire::{Decoder, Item};
///
/// let mut decoder = Decoder::new();
/// let mut data = Vec::new();
/// for chunk in [&b"data: a\r"[..], b"\ndata: b\r\n\r", b"\n: the end"] {
///     decoder.push(chunk);
///     for item in &mut decoder {
///         if let Item::Event(event) = item? {
///             data.push(event.data);
///         }
///     }
/// }
/// assert_eq!(data, ["a\nb"]);
/// # Ok::<(), fanfare_wire::DecodeError>(())
/// ```
///
/// After an error the decoder is finished: it yields nothing more and keeps nothing that is pushed.
///
/// What it keeps is at most one unfinished line, one unfinished event and what was pushed since the last `None`.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes whose line is not complete or not read yet.
    lines: LineBuffer,
    /// What the lines so far have amounted to.
    state: StreamState,
    /// The limits this decoder was made with.
    limits: Limits,
    /// Whether a limit was broken; set once, by `next`.
    finished: bool,
}

impl Decoder {
    /// A decoder at the beginning of a stream, with the default [`Limits`].
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// A decoder at the beginning of a stream.
    pub fn with_limits(limits: Limits) -> Self {
        Self { lines: LineBuffer::new(limits.line_bytes_max), state: StreamState::default(), limits, finished: false }
    }

    /// Begins with the last event id of an earlier connection.
    ///
    /// The standard begins every stream with an empty one (9.2.6), so that after a reconnect the first block without an
    /// id of its own makes the listener forget where it was. A client that keeps its place wants this instead.
    pub fn resuming(mut self, last_event_id: &str) -> Self {
        last_event_id.clone_into(&mut self.state.id);
        last_event_id.clone_into(&mut self.state.last_event_id);
        self
    }

    /// Takes the next bytes of the stream, of any length. Ignored once the decoder is finished.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.finished {
            self.lines.push(bytes);
        }
    }

    /// What to send as `Last-Event-ID` when reconnecting now (9.2.4); empty if there is none.
    ///
    /// It changes only where a blank line ends a block, also one that makes no event, so it never runs ahead of an
    /// event that was cut off.
    pub fn last_event_id(&self) -> &str {
        &self.state.last_event_id
    }

    /// Reads lines until one amounts to an item.
    fn read(&mut self) -> Result<Option<Item>, DecodeError> {
        let Limits { line_bytes_max, event_bytes_max } = self.limits;
        while let Some(line) = self.lines.next_line().map_err(|_| DecodeError::LineTooLong { line_bytes_max })? {
            let item = self.state.interpret(line);
            if self.state.data_len() > event_bytes_max {
                return Err(DecodeError::EventTooLong { event_bytes_max });
            }
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    /// Lets go of everything but the last event id.
    fn finish(&mut self) {
        self.finished = true;
        self.lines = LineBuffer::new(0);
        self.state = StreamState { last_event_id: mem::take(&mut self.state.last_event_id), ..StreamState::default() };
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Yields what the bytes pushed so far say; `None` until more are pushed.
impl Iterator for Decoder {
    type Item = Result<Item, DecodeError>;

    fn next(&mut self) -> Option<Result<Item, DecodeError>> {
        if self.finished {
            return None;
        }
        self.read().inspect_err(|_| self.finish()).transpose()
    }
}

/// The buffers that the standard associates with a stream.
#[derive(Debug, Default)]
struct StreamState {
    /// The "event type buffer"; written by `event` lines, emptied at every dispatch.
    event: String,
    /// The "data buffer": every data line with an LF behind it; emptied at every dispatch.
    data: String,
    /// The "last event ID buffer"; written by `id` lines, never emptied.
    id: String,
    /// The "last event ID string": what a reconnect would send; follows `id` at every dispatch.
    last_event_id: String,
}

impl StreamState {
    /// The length of the data as it would be dispatched now, without the last LF.
    fn data_len(&self) -> usize {
        self.data.len().saturating_sub(1)
    }

    /// Takes one line without its line end.
    fn interpret(&mut self, line: &[u8]) -> Option<Item> {
        if line.is_empty() {
            return self.dispatch().map(Item::Event);
        }
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => replace(&mut self.event, value),
            b"data" => {
                push_text(&mut self.data, value);
                self.data.push('\n');
            }
            b"id" if !value.contains(&0) => replace(&mut self.id, value),
            b"retry" => return parse_retry(value).map(Item::Retry),
            // A comment (its name is empty), an id with NUL or a field unknown to the standard.
            _ => {}
        }
        None
    }

    /// "Dispatch the event": the id counts even where there is no event.
    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id);
        let event = mem::take(&mut self.event);
        let mut data = mem::take(&mut self.data);
        data.pop()?; // The LF behind the last line; without a data line there is none and no event either.
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Event { id: self.last_event_id.clone(), event, data })
    }
}

/// Puts a field's value in the place of an earlier one, keeping the buffer.
fn replace(buffer: &mut String, value: &[u8]) {
    buffer.clear();
    push_text(buffer, value);
}

/// Appends bytes as text, with replacement characters for what is not UTF-8.
fn push_text(buffer: &mut String, value: &[u8]) {
    // Nearly always it is, and telling so is much faster than replacing.
    match std::str::from_utf8(value) {
        Ok(text) => buffer.push_str(text),
        Err(_) => buffer.push_str(&String::from_utf8_lossy(value)),
    }
}

/// The value of a `retry` line, if it is made of ASCII digits alone; at most [`RETRY_MAX`].
fn parse_retry(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    let millis = digits.fold(0_u64, |millis, digit| millis.saturating_mul(10).saturating_add(digit));
    Some(Duration::from_millis(millis).min(RETRY_MAX))
}
