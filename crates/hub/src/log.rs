//! The log's door: a bounded queue, and the writer's thread behind it. Publishers wait here for a place and for their
//! acknowledgement; they never meet a subscriber.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::append_error::AppendError;
use crate::clock::Clock;
use crate::draft::Draft;
use crate::limits::{COMMIT_BYTES_MAX, COMMIT_DRAFTS_MAX, QUEUE_BYTES_MAX, QUEUE_DRAFTS_MAX};
use crate::position::Position;
use crate::retention::Removed;
use crate::shard::commands::Commands;
use crate::stats::{Counters, bump};
use crate::writer::{Group, Outcome, Writer};

pub(crate) mod append_error;
pub mod channel_row;
pub(crate) mod directory;
pub mod epoch;
pub(crate) mod format;
pub(crate) mod idempotency;
pub mod record;
pub(crate) mod reopening;
pub(crate) mod varint;

/// What one permit of the queue's byte bound stands for.
const PERMIT_BYTES: usize = 1024;

/// The shortest and the longest time between two tries to reopen the store. The first comes at once.
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(100);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(5);

/// How long a publisher may wait for its refusal while the store is being reopened.
const REFUSE_EVERY: Duration = Duration::from_millis(20);

/// What is said to the writer.
enum Command {
    Append(Append),
    Sweep,
    Close,
}

/// A group with its publisher.
struct Append {
    group: Group,
    bytes: usize,
    answer: oneshot::Sender<Outcome>,
    /// Given back when the group has left the queue for good.
    room: OwnedSemaphorePermit,
}

/// The log's door. Cheap to share.
pub(crate) struct Log {
    queue: mpsc::Sender<Command>,
    /// Bounds the bytes in the queue.
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
    health: Arc<Health>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

/// What the writer's thread tells of itself.
#[derive(Debug, Default)]
struct Health {
    /// Whether the store failed and isn't open again yet.
    failed: AtomicBool,
    /// Whether somebody asked for a sweep.
    sweep_wanted: AtomicBool,
    /// What was removed since somebody asked.
    removed: Mutex<Removed>,
    /// Bytes of the oldest events that somebody wants removed; 0 once the writer knows.
    oldest_wanted: AtomicU64,
    /// Bytes of them that the writer has yet to remove.
    oldest_left: AtomicU64,
    /// Up to where the oldest events are removed, as a number.
    cleared: AtomicU64,
}

impl Log {
    /// Starts the writer's thread. It wakes `shards` after each release.
    pub(crate) fn start(writer: Writer, shards: Vec<Arc<Commands>>, counters: Arc<Counters>) -> std::io::Result<Self> {
        let (queue, commands) = mpsc::channel(QUEUE_DRAFTS_MAX);
        let health = Arc::new(Health::default());
        let clock = writer.clock.clone();
        let (counted, told) = (counters.clone(), health.clone());
        let work = Loop { writer, shards, counters: counted, health: told, backoff: Duration::ZERO };
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || work.run(commands))?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX / PERMIT_BYTES));
        Ok(Self { queue, room, thread: Mutex::new(Some(thread)), health, counters, clock })
    }

    /// Appends a group; waits for a place in the queue, then for the outcome.
    pub(crate) async fn append(&self, drafts: Vec<Draft>, atomic: bool) -> Outcome {
        let began = self.clock.elapsed();
        let count = drafts.len();
        let refused = |error| vec![Err(error); count];
        let bytes: usize = drafts.iter().map(Draft::weight).sum();
        let permits = bytes.min(QUEUE_BYTES_MAX).div_ceil(PERMIT_BYTES) as u32;
        let Ok(room) = self.room.clone().acquire_many_owned(permits).await else {
            return refused(AppendError::Closed);
        };
        let (answer, outcome) = oneshot::channel();
        let append = Append { group: Group { drafts, atomic }, bytes, answer, room };
        if self.queue.send(Command::Append(append)).await.is_err() {
            return refused(AppendError::Closed);
        }
        // The writer answers everything that it took off the queue; if it could not, nobody knows what became of it.
        let outcome = outcome.await.unwrap_or_else(|_| refused(AppendError::OutcomeUnknown));
        self.counters.distributions.publish_latency.took(self.clock.elapsed().saturating_sub(began));
        outcome
    }

    /// Has the writer look at what is due.
    pub(crate) fn sweep(&self) {
        self.health.sweep_wanted.store(true, Ordering::Release);
        // Only to wake it: a full queue means that it is at work, and sees the flag.
        let _ = self.queue.try_send(Command::Sweep);
    }

    /// Whether the store failed and isn't open again yet.
    pub(crate) fn has_failed(&self) -> bool {
        self.health.failed.load(Ordering::Acquire)
    }

    /// Whether the writer's thread has ended, or is about to.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many groups wait for the writer, and how many bytes they have.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let groups = self.queue.max_capacity() - self.queue.capacity();
        (groups, QUEUE_BYTES_MAX - self.room.available_permits() * PERMIT_BYTES)
    }

    /// What was removed since this was asked last.
    pub(crate) fn take_removed(&self) -> Removed {
        std::mem::take(&mut *self.health.removed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the oldest events of all channels removed that come to so many bytes.
    pub(crate) fn remove_oldest(&self, bytes: u64) {
        self.health.oldest_wanted.store(bytes, Ordering::Release);
        self.sweep();
    }

    /// Whether it is at that still.
    pub(crate) fn is_removing_oldest(&self) -> bool {
        let Health { oldest_wanted, oldest_left, .. } = &*self.health;
        oldest_wanted.load(Ordering::Acquire) > 0 || oldest_left.load(Ordering::Acquire) > 0
    }

    /// Up to where the oldest events are removed.
    pub(crate) fn cleared(&self) -> Position {
        Position::from_key(self.health.cleared.load(Ordering::Acquire).to_be_bytes())
    }

    /// Appends what is in the queue, then ends the log in order and joins its thread.
    pub(crate) async fn close(&self) {
        let _ = self.queue.send(Command::Close).await;
    }

    /// Waits for the writer's thread to end.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

/// The writer's thread.
struct Loop {
    writer: Writer,
    shards: Vec<Arc<Commands>>,
    counters: Arc<Counters>,
    health: Arc<Health>,
    /// How long to wait before the store is reopened the next time.
    backoff: Duration,
}

impl Loop {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let (mut closing, mut sweep) = (false, false);
        while !closing {
            // While there is more to sweep, only what waits already is taken along.
            let mut next = if sweep { commands.try_recv().ok() } else { commands.blocking_recv() };
            if next.is_none() && !sweep {
                break;
            }
            let mut appends = Vec::new();
            let (mut drafts, mut bytes) = (0, 0);
            while let Some(command) = next {
                match command {
                    Command::Append(append) => {
                        drafts += append.group.drafts.len();
                        bytes += append.bytes;
                        appends.push(append);
                    }
                    Command::Sweep => sweep = true,
                    Command::Close => {
                        // What was queued before is appended; what comes later is refused.
                        commands.close();
                        closing = true;
                    }
                }
                if drafts >= COMMIT_DRAFTS_MAX || bytes >= COMMIT_BYTES_MAX {
                    break;
                }
                next = commands.try_recv().ok();
            }
            let is_idle = appends.is_empty();
            self.append(appends, bytes);
            sweep |= self.health.sweep_wanted.swap(false, Ordering::AcqRel);
            self.take_orders();
            if sweep {
                sweep = self.writer.sweep() || (is_idle && self.writer.has_removals());
                self.wake();
                if !self.writer.is_failed() {
                    self.backoff = Duration::ZERO;
                }
            }
            if self.writer.is_failed() {
                closing = self.reopen(&mut commands, closing);
            }
            self.tell_removed();
        }
        if let Err(error) = self.writer.close() {
            tracing::error!(error = &error as &dyn std::error::Error, "the log could not be closed in order");
        }
    }

    /// Takes up what was asked for beside appends.
    fn take_orders(&mut self) {
        let wanted = self.health.oldest_wanted.load(Ordering::Acquire);
        if wanted > 0 {
            self.writer.want_oldest(wanted);
            // In this order: in between it must not look as if nothing were to be done.
            self.health.oldest_left.store(wanted, Ordering::Release);
            self.health.oldest_wanted.store(0, Ordering::Release);
        }
    }

    /// Tells what was removed.
    fn tell_removed(&mut self) {
        let removed = self.writer.take_removed();
        self.counters.removed(&removed);
        *self.health.removed.lock().unwrap_or_else(PoisonError::into_inner) += removed;
        // It is at work until the last of them is removed, not only condemned.
        let cleared = self.writer.retention.cleared();
        let left = self.writer.oldest_wanted().max(u64::from(cleared.is_none()));
        if let Some(cleared) = cleared {
            self.health.cleared.store(u64::from_be_bytes(cleared.to_key()), Ordering::Release);
        }
        self.health.oldest_left.store(left, Ordering::Release);
    }

    fn append(&mut self, appends: Vec<Append>, bytes: usize) {
        if appends.is_empty() {
            return;
        }
        let mut groups = Vec::with_capacity(appends.len());
        let mut answers = Vec::with_capacity(appends.len());
        for Append { group, answer, room, .. } in appends {
            groups.push(group);
            answers.push((answer, room));
        }
        let drafts = groups.iter().map(|group| group.drafts.len()).sum();
        let clock = self.writer.clock.clone();
        let began = clock.elapsed();
        let outcomes = self.writer.append(groups);
        self.counters.committed(clock.elapsed().saturating_sub(began), drafts, bytes);
        for ((answer, room), outcome) in answers.into_iter().zip(outcomes) {
            self.count(&outcome);
            drop(room);
            // The publisher may have gone away; what it published stays published.
            let _ = answer.send(outcome);
        }
        // The events are in the window. Publishers come first: while shards write to thousands of sockets, every core is busy,
        // and the next events had better be there when they are done.
        self.wake();
    }

    /// Has the store reopened, however often it takes, refusing meanwhile what publishers hand in. Returns whether the log
    /// is to be closed; then it is tried at most once more.
    fn reopen(&mut self, commands: &mut mpsc::Receiver<Command>, mut closing: bool) -> bool {
        bump(&self.counters.store_failures);
        self.health.failed.store(true, Ordering::Release);
        loop {
            if !closing {
                closing = self.refuse(commands);
            }
            self.backoff = (self.backoff * 2).clamp(REOPEN_AFTER_MIN, REOPEN_AFTER_MAX);
            match self.writer.reopen() {
                Ok(found) => {
                    tracing::info!(found, "the store is open again");
                    bump(&self.counters.store_reopenings);
                    self.health.failed.store(false, Ordering::Release);
                    self.wake();
                    return closing;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, again_in = ?self.backoff, "the store can't be reopened yet");
                }
            }
            if closing {
                return true;
            }
        }
    }

    /// Waits until it is time to reopen the store, and refuses what comes meanwhile. What comes later waits: if the store is
    /// open then, it is appended. Returns, at once, whether the log is to be closed.
    fn refuse(&mut self, commands: &mut mpsc::Receiver<Command>) -> bool {
        let mut left = self.backoff;
        while !left.is_zero() {
            let mut closing = false;
            loop {
                match commands.try_recv() {
                    Ok(Command::Append(append)) => {
                        let outcome = vec![Err(AppendError::Reopening); append.group.drafts.len()];
                        self.count(&outcome);
                        let _ = append.answer.send(outcome);
                    }
                    Ok(Command::Sweep) => {}
                    Ok(Command::Close) => {
                        commands.close();
                        closing = true;
                    }
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    // The hub was dropped.
                    Err(mpsc::error::TryRecvError::Disconnected) => return true,
                }
            }
            if closing {
                return true;
            }
            let slice = left.min(REFUSE_EVERY);
            std::thread::park_timeout(slice);
            left -= slice;
        }
        false
    }

    fn wake(&self) {
        self.shards.iter().for_each(|shard| shard.wake());
    }

    fn count(&self, outcome: &Outcome) {
        for result in outcome {
            match result {
                Ok(placed) if placed.duplicate => bump(&self.counters.duplicates),
                Ok(placed) => self.counters.published(placed.durability),
                Err(error) => self.counters.refused(*error),
            }
        }
    }
}
