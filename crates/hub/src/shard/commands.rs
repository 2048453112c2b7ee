//! What is said to a shard, and what wakes it.

use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::Waker;

use super::change::Order;
use super::{Answer, Opening, ShardSettings};
use crate::index::StreamKey;
use crate::outlet::mailbox::MailboxRef;

/// What is said to a shard. Bounded by the number of streams, as each has at most one of each kind on its way, and by how
/// often people reload.
pub(crate) enum Command {
    Open(Box<Opening>),
    /// A reader has read what a stream asked for.
    Answer(StreamKey, Box<Answer>),
    /// A body has taken what was there.
    Ready(MailboxRef),
    /// A body is gone.
    Left(MailboxRef),
    /// Somebody wants something of a stream. Each is a request that waits for its answer, or a stream that is opened.
    Order(Box<Order>),
    /// Other settings count from now on.
    Settings(ShardSettings),
    /// The hub stops: all streams end within this time.
    Drain(Duration),
    Stop,
}

/// What a shard does, for those who might wake it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It looks at everything anyway.
    Work,
    /// It sleeps until it is woken.
    Sleep,
    /// It sleeps and has no streams: what is published concerns it not.
    Rest,
}

/// What was said and not yet heard.
#[derive(Default)]
struct Said {
    commands: Vec<Command>,
    /// Whether the shard has ended: what is said now is dropped, and with it the streams that were to be opened.
    is_closed: bool,
}

/// A shard's queue of commands, and what wakes it.
pub(crate) struct Commands {
    said: Mutex<Said>,
    /// A [`Doing`].
    doing: AtomicU8,
    waker: Waker,
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}

impl Commands {
    pub(super) fn new(waker: Waker) -> Self {
        Self { said: Mutex::default(), doing: AtomicU8::new(Doing::Work as u8), waker }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something to the shard.
    pub(crate) fn send(&self, command: Command) {
        {
            let mut said = self.lock();
            if said.is_closed {
                return;
            }
            said.commands.push(command);
        }
        self.wake_if(|doing| doing != Doing::Work as u8);
    }

    /// Tells the shard that the window has something new.
    pub(crate) fn wake(&self) {
        self.wake_if(|doing| doing == Doing::Sleep as u8);
    }

    fn wake_if(&self, sleeps: impl FnOnce(u8) -> bool) {
        // Pairs with the one in `doing`: either the shard sees what there is to do, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if sleeps(self.doing.load(Ordering::Relaxed)) {
            // Of many who wake it one is enough.
            let was = self.doing.swap(Doing::Work as u8, Ordering::Relaxed);
            if was != Doing::Work as u8
                && let Err(error) = self.waker.wake()
            {
                tracing::error!(%error, "a shard could not be woken");
            }
        }
    }

    /// The shard says what it is about to do. Before it sleeps it must look once more whether there is something to do.
    pub(super) fn doing(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// What was said.
    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut self.lock().commands)
    }

    /// Whether the shard has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// The shard has ended.
    pub(super) fn close(&self) {
        let mut said = self.lock();
        said.is_closed = true;
        let commands = std::mem::take(&mut said.commands);
        drop(said);
        // Bodies that were to be opened end with them.
        drop(commands);
    }

    /// Whether something was said.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().commands.is_empty()
    }
}
