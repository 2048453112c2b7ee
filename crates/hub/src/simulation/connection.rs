//! A listener's end of a stream: bytes that come bit by bit, and the events in them. What they mean, the listener knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fanfare_wire::{Decoder, Event, Item};

use crate::follows::Follows;
use crate::history::beginning::LastEventId;
use crate::index::StreamKey;
use crate::outlet::Outlet;
use crate::outlet::mailbox::{BodyInlet, mailbox};
use crate::stream_id::StreamId;
use crate::subscription::{HeartbeatStyle, Style, Subscription};
use crate::window::frame::Form;
use crate::window::notice::HelloStyle;

/// A listener's end of a stream.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Where it ends in the hub: its shard, and the stream there. None while there is no connection.
    pub(super) at: Option<(usize, StreamKey)>,
    inlet: Option<BodyInlet>,
    /// What is on its way.
    wire: VecDeque<u8>,
    /// The hub waits to hear that there is room again.
    room: bool,
    /// Nothing comes any more.
    ended: bool,
    decoder: Decoder,
    /// How many bytes have come.
    received: u64,
    /// Where the next event begins, at the earliest.
    next_began: u64,
}

/// An event that came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) event: Event,
    /// How many bytes came before it, at least.
    pub(super) began: u64,
}

impl Connection {
    /// Asks for a stream, as who saw `last_id` last. The hub's window ends at `slot`.
    pub(super) fn ask(
        &mut self,
        follows: Arc<Follows>,
        (stream, form): (StreamId, Form),
        last_id: &str,
        slot: u64,
    ) -> (Subscription, Outlet, LastEventId) {
        let (outlet, inlet) = mailbox();
        *self = Self { inlet: Some(inlet), ..Self::default() };
        let hello = HelloStyle::Event;
        let style = Style { stream, form, hello, beat: HeartbeatStyle::Comment, heartbeat_ms: 15_000, device: None };
        let last = LastEventId::of(Some(last_id));
        let opening = b": fanfare\nretry: 3000\n";
        (Subscription::new(follows, style, slot, opening).of_client_at(last), Outlet::Body(outlet), last)
    }

    /// It is gone, with what was on its way.
    pub(super) fn cut(&mut self) {
        (self.at, self.inlet) = (None, None);
        self.wire.clear();
    }

    pub(super) fn is_open(&self) -> bool {
        self.at.is_some()
    }

    /// Whether the hub has ended it, and all has come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.wire.is_empty()
    }

    /// Whether something is on its way.
    pub(super) fn has_bytes(&mut self) -> bool {
        self.take();
        !self.wire.is_empty()
    }

    /// How many bytes have come or are on their way.
    pub(super) fn sent(&mut self) -> u64 {
        self.take();
        self.received + self.wire.len() as u64
    }

    /// Whether the hub waits to hear that there is room again.
    pub(super) fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.room)
    }

    /// Moves what the hub wrote on to the wire.
    fn take(&mut self) {
        let Some(inlet) = &mut self.inlet else { return };
        while !self.ended {
            match inlet.poll_take(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => break,
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(taken)) => {
                    self.room |= taken.tell_room;
                    self.wire.extend(&taken.bytes);
                }
            }
        }
    }

    /// Up to `count` bytes come through: the events that are whole by then.
    pub(super) fn receive(&mut self, count: usize) -> Vec<Heard> {
        let mut heard = Vec::new();
        if !self.is_open() {
            return heard;
        }
        // At most one mailbox is ever on the wire: the kernel's buffers, so to speak.
        if self.wire.is_empty() {
            self.take();
        }
        let bytes: Vec<u8> = self.wire.drain(..count.min(self.wire.len())).collect();
        // An event ends with a line.
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.received += line.len() as u64;
            self.decoder.push(line);
            for item in self.decoder.by_ref() {
                if let Item::Event(event) = item.expect("the hub's stream is well formed") {
                    heard.push(Heard { event, began: self.next_began });
                }
                self.next_began = self.received;
            }
        }
        heard
    }
}
