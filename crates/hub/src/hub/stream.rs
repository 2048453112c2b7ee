//! One open delivery to one listener: what a response body reads.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::outlet::mailbox::BodyInlet;
use crate::shard::commands::{Command, Commands};

/// An open stream. Dropping it closes it. Its id is told in its hello frame.
#[derive(Debug)]
pub struct Stream {
    inlet: BodyInlet,
    /// `None` only in a hub without shards, which can't be made.
    shard: Option<Arc<Commands>>,
}

impl Stream {
    pub(crate) fn new(inlet: BodyInlet, shard: Option<Arc<Commands>>) -> Self {
        Self { inlet, shard }
    }

    /// Takes the next bytes of the event stream, all that are there; they may end within an event. `None` when the stream
    /// has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.inlet.poll_take(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(taken)) => {
                if taken.tell_room
                    && let Some(shard) = &self.shard
                {
                    shard.send(Command::Ready(self.inlet.mailbox()));
                }
                Poll::Ready(Some(taken.bytes))
            }
        }
    }

    /// The next bytes of the event stream; `None` when it has ended.
    pub async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(shard) = &self.shard {
            shard.send(Command::Left(self.inlet.mailbox()));
        }
    }
}
