//! One open delivery to one listener: what a response body reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::index::StreamKey;
use crate::outlet::BodyInlet;
use crate::shard_thread::{Command, Inbox};

/// An open stream. Dropping it closes it.
#[derive(Debug)]
pub struct Stream {
    /// Unguessable; also told in the hello frame.
    id: String,
    key: StreamKey,
    inlet: BodyInlet,
    shard: Arc<Inbox>,
    /// The hub's count of open streams.
    open: Arc<AtomicUsize>,
}

impl Stream {
    pub(crate) fn new(id: String, key: StreamKey, inlet: BodyInlet, shard: Arc<Inbox>, open: Arc<AtomicUsize>) -> Self {
        Self { id, key, inlet, shard, open }
    }

    /// The stream's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes the next bytes of the event stream: whole blocks, all that are there. `None` when the stream has ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.inlet.poll_take(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(taken)) => {
                if taken.tell_room {
                    self.shard.send(Command::Ready(self.key));
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
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.shard.send(Command::Left(self.key));
    }
}
