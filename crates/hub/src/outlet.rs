//! Where a stream's bytes go: a small mailbox between a shard and a response body. The shard puts frames in, the body takes
//! all of them at once; when the mailbox is full the stream is behind, and nothing piles up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::limits::BODY_BYTES_MAX;

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All frames were taken, and there is room for more.
    All,
    /// The outlet is full; it tells when it has room again. What was not taken is left where it was.
    Full,
}

/// What takes a stream's frames.
pub(crate) trait Outlet: Send {
    /// Takes frames off the front of `frames`, as many as there is room for.
    fn write(&mut self, frames: &mut VecDeque<Bytes>) -> Written;

    /// While frames wait to be taken: how often the reader has taken some so far. `None` while nothing waits.
    fn waits_after(&self) -> Option<u64>;

    /// Lets the reader take what is there, then ends.
    fn end(&mut self);
}

/// What a shard and a body share.
#[derive(Debug, Default)]
struct Mailbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// How often the body took what was there.
    takes: u64,
    /// Set by the shard: nothing more will come.
    ended: bool,
    /// Set by the shard when a write found no room: the body must tell when there is.
    wants_room: bool,
    /// The body's task, while it waits.
    waker: Option<Waker>,
}

/// The shard's side of a mailbox.
#[derive(Debug)]
pub(crate) struct BodyOutlet(Arc<Mutex<Mailbox>>);

/// The body's side of a mailbox.
#[derive(Debug)]
pub(crate) struct BodyInlet(Arc<Mutex<Mailbox>>);

/// What a body takes out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    /// Whether the shard waits to hear of the room.
    pub(crate) tell_room: bool,
}

/// A mailbox.
pub(crate) fn mailbox() -> (BodyOutlet, BodyInlet) {
    let shared = Arc::new(Mutex::new(Mailbox::default()));
    (BodyOutlet(shared.clone()), BodyInlet(shared))
}

fn lock(shared: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlet for BodyOutlet {
    fn write(&mut self, frames: &mut VecDeque<Bytes>) -> Written {
        let mut mailbox = lock(&self.0);
        let before = mailbox.frames.len();
        while mailbox.bytes < BODY_BYTES_MAX
            && let Some(frame) = frames.pop_front()
        {
            mailbox.bytes += frame.len();
            mailbox.frames.push_back(frame);
        }
        let written = if mailbox.bytes < BODY_BYTES_MAX { Written::All } else { Written::Full };
        mailbox.wants_room = written == Written::Full;
        if mailbox.frames.len() > before
            && let Some(waker) = mailbox.waker.take()
        {
            waker.wake();
        }
        written
    }

    fn waits_after(&self) -> Option<u64> {
        let mailbox = lock(&self.0);
        (!mailbox.frames.is_empty()).then_some(mailbox.takes)
    }

    fn end(&mut self) {
        let mut mailbox = lock(&self.0);
        mailbox.ended = true;
        if let Some(waker) = mailbox.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for BodyOutlet {
    /// Nothing comes from a shard that is gone; who reads must not wait for it.
    fn drop(&mut self) {
        self.end();
    }
}

impl BodyInlet {
    /// Takes everything that is there, in one piece; `None` when the stream has ended.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut mailbox = lock(&self.0);
        if mailbox.frames.is_empty() {
            if mailbox.ended {
                return Poll::Ready(None);
            }
            mailbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mailbox.takes += 1;
        let frames = std::mem::take(&mut mailbox.frames);
        let size = std::mem::take(&mut mailbox.bytes);
        let tell_room = std::mem::take(&mut mailbox.wants_room);
        drop(mailbox);
        Poll::Ready(Some(Taken { bytes: join(frames, size), tell_room }))
    }
}

/// The frames as one run of bytes. A single frame, which may be large, is not copied.
fn join(mut frames: VecDeque<Bytes>, size: usize) -> Bytes {
    if frames.len() == 1
        && let Some(frame) = frames.pop_front()
    {
        return frame;
    }
    let mut bytes = BytesMut::with_capacity(size);
    for frame in frames {
        bytes.extend_from_slice(&frame);
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_leaves_the_rest_and_tells_when_there_is_room() {
        let (mut outlet, mut inlet) = mailbox();
        let frame = Bytes::from(vec![b'x'; BODY_BYTES_MAX / 2]);
        let mut frames: VecDeque<Bytes> = std::iter::repeat_n(frame, 3).collect();
        assert_eq!(outlet.write(&mut frames), Written::Full);
        assert_eq!(frames.len(), 1);
        assert_eq!(outlet.waits_after(), Some(0));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(taken)) = inlet.poll_take(&mut cx) else { panic!("there is something") };
        assert!(taken.tell_room && taken.bytes.len() == BODY_BYTES_MAX);
        assert!(inlet.poll_take(&mut cx).is_pending());
        assert_eq!(outlet.waits_after(), None);
        assert_eq!(outlet.write(&mut frames), Written::All);
        outlet.end();
        assert!(matches!(inlet.poll_take(&mut cx), Poll::Ready(Some(Taken { tell_room: false, .. }))));
        assert_eq!(inlet.poll_take(&mut cx), Poll::Ready(None), "what is there is taken before the end");
    }
}
