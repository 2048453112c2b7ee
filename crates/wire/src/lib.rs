//! `text/event-stream`, written and read to the letter of the [WHATWG HTML standard, section 9.2][standard].
//!
//! This room turns blocks into bytes and bytes into events. It deliberately knows nothing of sockets, HTTP, clocks,
//! runtimes or of what an id means: bytes and text go in, bytes and text come out, and the only state is that of one
//! stream's grammar.
//!
//! - `encode.rs`: [`encode()`] writes one [`Block`], [`encode_id_line`] only its first line, [`encode_comment`] a
//!   comment (the heartbeat). What can't be said in the format is refused, never stripped.
//! - `decode.rs`: [`Decoder`] takes chunks cut anywhere and yields [`Item`]s, within [`Limits`].
//! - `lines.rs`: where a line ends; shared by both.
//!
//! # Example
//!
//! ```
//! use fanfare_wire::{Block, Decoder, Event, Item, encode};
//!
//! let mut bytes = Vec::new();
//! let block = Block { id: Some("7"), event: Some("order"), data: Some("two\nlines"), ..Block::default() };
//! encode(&block, &mut bytes)?;
//! assert_eq!(bytes, b"id: 7\nevent: order\ndata: two\ndata: lines\n\n");
//!
//! let mut decoder = Decoder::new();
//! for chunk in bytes.chunks(5) {
//!     decoder.push(chunk);
//!     for item in &mut decoder {
//!         let expected = Event { id: "7".into(), event: "order".into(), data: "two\nlines".into() };
//!         assert_eq!(item?, Item::Event(expected));
//!     }
//! }
//! assert_eq!(decoder.last_event_id(), "7");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html

mod decode;
mod encode;
mod lines;

pub use decode::{DecodeError, Decoder, Event, Item, Limits, RETRY_MAX};
pub use encode::{Block, EncodeError, Forbidden, encode, encode_comment, encode_id_line};
