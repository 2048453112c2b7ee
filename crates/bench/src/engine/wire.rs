//! A stretch of an event stream, for encoder and decoder: what a hub sends, with ids and channels as it gives them.

use std::ops::Range;

use fanfare_wire::{Block, EncodeError, encode};

use crate::engine::Bench;
use crate::error::MeasureError;

/// Data of one event, in bytes.
const DATA_BYTES: usize = 300;

/// One event's parts.
struct Parts {
    id: String,
    channel: String,
    data: String,
}

/// Events, and the stream that they make.
pub(super) struct Stretch {
    events: Vec<Parts>,
    /// The events encoded, one after the other.
    pub(super) bytes: Vec<u8>,
    /// Where in `bytes` each event is.
    pub(super) blocks: Vec<Range<usize>>,
    /// How often a round goes through all events.
    pub(super) passes: usize,
}

impl Stretch {
    /// A stretch that a round goes through several times. Some hundred kilobytes: it fits the cache of a core, as what
    /// is published or received just now does.
    pub(super) fn new(bench: &Bench) -> Result<Self, MeasureError> {
        let (count, passes) = bench.quick_or_full((100, 2), (1_000, 300));
        let parts = |number: usize| Parts {
            id: format!("000001-1a2b3c4d-{number:010x}"),
            channel: format!("orders:{:02}", number % 100),
            data: bench.payloads.json(DATA_BYTES, 0, number),
        };
        let mut stretch =
            Self { events: (0..count).map(parts).collect(), bytes: Vec::new(), blocks: Vec::new(), passes };
        let mut bytes = Vec::new();
        for event in &stretch.events {
            let from = bytes.len();
            event.encode(&mut bytes)?;
            stretch.blocks.push(from..bytes.len());
        }
        stretch.bytes = bytes;
        Ok(stretch)
    }

    /// Encodes all events.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.events.iter().try_for_each(|event| event.encode(out))
    }

    /// How many events a round works on.
    pub(super) fn events_of_round(&self) -> u64 {
        (self.events.len() * self.passes) as u64
    }

    /// How many bytes these have on the wire.
    pub(super) fn bytes_of_round(&self) -> u64 {
        (self.bytes.len() * self.passes) as u64
    }
}

impl Parts {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let fields = [("channel", self.channel.as_str())];
        let block = Block {
            id: Some(&self.id),
            event: Some("updated"),
            fields: &fields,
            data: Some(&self.data),
            ..Block::default()
        };
        encode(&block, out)
    }
}
