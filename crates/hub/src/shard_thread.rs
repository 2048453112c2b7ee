//! The thread of a shard, its inbox, and the threads that read history for all shards. Everything with a thread has an
//! owner that joins it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::catchup::{Beginning, LastEventId};
use crate::clock::Clock;
use crate::history::History;
use crate::index::StreamKey;
use crate::outlet::Outlet;
use crate::position::Position;
use crate::shard::{Answer, Job, Shard, Work};
use crate::stats::CloseReason;
use crate::subscription::Subscription;

/// What is said to a shard. Bounded by the number of streams: each has at most one of each kind on its way.
pub(crate) enum Command {
    Open {
        key: StreamKey,
        subscription: Box<Subscription>,
        outlet: Box<dyn Outlet>,
        last: LastEventId,
        head: Position,
        opening: Bytes,
    },
    Answer(StreamKey, Answer),
    Ready(StreamKey),
    Left(StreamKey),
    Drain,
    Stop,
}

/// A shard's inbox.
#[derive(Default)]
pub(crate) struct Inbox {
    commands: Mutex<Vec<Command>>,
    arrived: Condvar,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Command>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something to the shard.
    pub(crate) fn send(&self, command: Command) {
        self.lock().push(command);
        self.arrived.notify_one();
    }

    /// Tells the shard that the window has something new.
    pub(crate) fn wake(&self) {
        // Under the lock, or the shard could miss it between looking and waiting.
        let _looked = self.lock();
        self.arrived.notify_one();
    }

    /// Waits until there is something to do, at most `timeout`.
    fn wait(&self, timeout: Duration, has_work: impl Fn() -> bool) -> Vec<Command> {
        let commands = self.lock();
        let idle = |commands: &mut Vec<Command>| commands.is_empty() && !has_work();
        let (mut commands, _) =
            self.arrived.wait_timeout_while(commands, timeout, idle).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut commands)
    }
}

/// Starts the thread of a shard.
pub(crate) fn start(
    number: usize,
    mut shard: Shard,
    inbox: Arc<Inbox>,
    readers: Arc<ReaderQueue>,
    clock: Arc<dyn Clock>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || {
        loop {
            let timeout = shard.next_deadline().saturating_sub(clock.elapsed());
            let commands = inbox.wait(timeout, || shard.has_work());
            let now = clock.elapsed();
            for command in commands {
                match command {
                    Command::Open { key, subscription, outlet, last, head, opening } => {
                        shard.open(key, *subscription, outlet, last, head, opening, now);
                    }
                    Command::Answer(key, answer) => shard.answer(key, answer, now),
                    Command::Ready(key) => shard.ready(key, now),
                    Command::Left(key) => shard.close(key, CloseReason::Left),
                    Command::Drain => {
                        shard.pass(now);
                        shard.drain();
                    }
                    Command::Stop => return,
                }
            }
            shard.pass(now);
            shard.tick(now, clock.unix_ms());
            for job in shard.take_jobs() {
                readers.push(inbox.clone(), job);
            }
        }
    })
}

/// What is to be read, for whom.
#[derive(Debug, Default)]
struct Reads {
    jobs: VecDeque<(Arc<Inbox>, Job)>,
    stopped: bool,
}

/// The queue of the reader threads. Bounded by the number of streams: each has at most one job on its way.
#[derive(Debug, Default)]
pub(crate) struct ReaderQueue {
    reads: Mutex<Reads>,
    arrived: Condvar,
}

impl ReaderQueue {
    fn lock(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, inbox: Arc<Inbox>, job: Job) {
        self.lock().jobs.push_back((inbox, job));
        self.arrived.notify_one();
    }

    /// Lets the reader threads end.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.arrived.notify_all();
    }

    fn next(&self) -> Option<(Arc<Inbox>, Job)> {
        let idle = |reads: &mut Reads| reads.jobs.is_empty() && !reads.stopped;
        let mut reads = self.arrived.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if reads.stopped { None } else { reads.jobs.pop_front() }
    }
}

/// Starts a thread that reads history.
pub(crate) fn start_reader(
    number: usize,
    history: Arc<History>,
    queue: Arc<ReaderQueue>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("reader-{number}")).spawn(move || {
        while let Some((inbox, Job { key, work })) = queue.next() {
            inbox.send(Command::Answer(key, work.run(&history)));
        }
    })
}

impl Work {
    /// Reads it.
    pub(crate) fn run(self, history: &History) -> Answer {
        match self {
            Self::Begin(follows, last, head) => Answer::Begin(Beginning::find(history, follows, last, head)),
            Self::Page(mut catchup) => {
                let (head, _) = history.window.head();
                Answer::Page(catchup.page(history, head).map(|page| (page, catchup)))
            }
        }
    }
}
