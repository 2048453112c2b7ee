//! A small mailbox between a shard and a response body. The shard puts bytes in, the body takes all of them at once; when
//! the mailbox is full the stream is behind, and nothing piles up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::index::StreamKey;
use crate::limits::BODY_BYTES_MAX;
use crate::outlet::Written;

/// What a shard and a body share.
#[derive(Debug, Default)]
struct Mailbox {
    bytes: BytesMut,
    /// The shard's stream, once it has one.
    key: Option<StreamKey>,
    /// How often the body took what was there.
    takes: u64,
    /// Since when the body has taken nothing of what is there, and how often it had taken something before.
    waiting: Option<(Duration, u64)>,
    /// Set by the shard: nothing more will come.
    ended: bool,
    /// Set by the shard when a write found no room: the body must tell when there is.
    wants_room: bool,
    /// The body's task, while it waits.
    waker: Option<Waker>,
}

/// A mailbox, as the body's commands name it to its shard.
#[derive(Clone, Debug)]
pub(crate) struct MailboxRef(Arc<Mutex<Mailbox>>);

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

impl MailboxRef {
    /// The stream that it belongs to. Known from when the shard opened it.
    pub(crate) fn key(&self) -> Option<StreamKey> {
        lock(&self.0).key
    }
}

impl BodyOutlet {
    pub(crate) fn belongs_to(&self, key: StreamKey) {
        lock(&self.0).key = Some(key);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Written {
        let mut mailbox = lock(&self.0);
        let room = BODY_BYTES_MAX.saturating_sub(mailbox.bytes.len());
        let (taken, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        mailbox.bytes.extend_from_slice(taken);
        mailbox.wants_room = !rest.is_empty();
        if !taken.is_empty()
            && let Some(waker) = mailbox.waker.take()
        {
            waker.wake();
        }
        if rest.is_empty() { Written::All } else { Written::Part(taken.len()) }
    }

    pub(crate) fn is_stalled(&mut self, now: Duration, stall_max: Duration) -> bool {
        let mut mailbox = lock(&self.0);
        let waits_after = (!mailbox.bytes.is_empty()).then_some(mailbox.takes);
        let same = mailbox.waiting.filter(|(_, takes)| waits_after == Some(*takes));
        mailbox.waiting = same.or(waits_after.map(|takes| (now, takes)));
        same.is_some_and(|(since, _)| now.saturating_sub(since) >= stall_max)
    }

    pub(crate) fn end(&mut self) {
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
    /// How the body names itself to its shard.
    pub(crate) fn mailbox(&self) -> MailboxRef {
        MailboxRef(self.0.clone())
    }

    /// Takes everything that is there, in one piece; `None` when the stream has ended.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut mailbox = lock(&self.0);
        if mailbox.bytes.is_empty() {
            if mailbox.ended {
                return Poll::Ready(None);
            }
            mailbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mailbox.takes += 1;
        let tell_room = std::mem::take(&mut mailbox.wants_room);
        Poll::Ready(Some(Taken { bytes: std::mem::take(&mut mailbox.bytes).freeze(), tell_room }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_leaves_the_rest_and_tells_when_there_is_room() {
        let (mut outlet, mut inlet) = mailbox();
        let bytes = vec![b'x'; BODY_BYTES_MAX + 100];
        assert_eq!(outlet.write(&bytes), Written::Part(BODY_BYTES_MAX));
        assert_eq!(outlet.write(b"more"), Written::Part(0));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(taken)) = inlet.poll_take(&mut cx) else { panic!("there is something") };
        assert!(taken.tell_room && taken.bytes.len() == BODY_BYTES_MAX);
        assert!(inlet.poll_take(&mut cx).is_pending());
        assert_eq!(outlet.write(b"more"), Written::All);
        outlet.end();
        assert!(matches!(inlet.poll_take(&mut cx), Poll::Ready(Some(Taken { tell_room: false, .. }))));
        assert_eq!(inlet.poll_take(&mut cx), Poll::Ready(None), "what is there is taken before the end");
    }

    #[test]
    fn a_body_that_takes_nothing_is_stalled_in_time() {
        let (mut outlet, mut inlet) = mailbox();
        let second = Duration::from_secs(1);
        let mut cx = Context::from_waker(Waker::noop());
        outlet.write(b"a");
        assert!(!outlet.is_stalled(second, second));
        assert!(inlet.poll_take(&mut cx).is_ready());
        outlet.write(b"b");
        assert!(!outlet.is_stalled(2 * second, second), "something was taken meanwhile");
        assert!(outlet.is_stalled(3 * second, second));
        assert!(inlet.poll_take(&mut cx).is_ready());
        assert!(!outlet.is_stalled(4 * second, second), "nothing waits");
    }
}
