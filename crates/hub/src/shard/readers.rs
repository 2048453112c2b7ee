//! The threads that read history for all shards.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::inbox::{Command, Inbox};
use super::{Answer, Job, Work};
use crate::beginning::Beginning;
use crate::history::History;

/// What is to be read, for whom.
#[derive(Debug, Default)]
struct Reads {
    jobs: VecDeque<(Arc<Inbox>, Job)>,
    stopped: bool,
}

/// The queue of the reader threads. Bounded by the number of places for streams: each has at most one job
/// on its way, and its place is taken until that is done.
#[derive(Debug, Default)]
pub(crate) struct ReaderQueue {
    reads: Mutex<Reads>,
    arrived: Condvar,
}

impl ReaderQueue {
    fn lock(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, inbox: Arc<Inbox>, job: Job) {
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
        while let Some((inbox, job)) = queue.next() {
            if !job.is_needless() {
                inbox.send(Command::Answer(job.key, Box::new(job.work.run(&history))));
            }
        }
    })
}

impl Work {
    /// Reads it.
    pub(crate) fn run(self, history: &History) -> Answer {
        match self {
            Self::Begin(follows, last, head) => {
                Answer::Begin(Beginning::find(history, follows, last, head).map(Box::new))
            }
            Self::Page(mut catchup) => {
                let (head, _) = history.window.head();
                Answer::Page(catchup.page(history, head).map(|page| (page, catchup)))
            }
        }
    }
}
