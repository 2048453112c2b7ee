//! The threads that read history for all shards.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::commands::{Command, Commands};
use super::{Answer, Job, Work};
use crate::ending::witness::Look;
use crate::history::History;
use crate::history::beginning::Beginning;
use crate::history::catchup::CatchupError;
use crate::limits::STORE_WAIT_MAX;
use crate::store::StoreError;

/// What is to be read, for whom.
#[derive(Debug, Default)]
struct Reads {
    jobs: VecDeque<(Arc<Commands>, Job)>,
    stopped: bool,
}

/// The queue of the reader threads. Bounded by the number of places for streams: each has at most one page
/// and one look at its channels' ends on its way, and its place is taken until those are done.
#[derive(Debug, Default)]
pub(crate) struct ReaderQueue {
    reads: Mutex<Reads>,
    arrived: Condvar,
}

impl ReaderQueue {
    fn lock(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, commands: Arc<Commands>, job: Job) {
        self.lock().jobs.push_back((commands, job));
        self.arrived.notify_one();
    }

    /// Lets the reader threads end.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.arrived.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn next(&self) -> Option<(Arc<Commands>, Job)> {
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
        while let Some((commands, job)) = queue.next() {
            let mut job = Some(job);
            while let Some(Job { key, work, place }) = job.take_if(|job| !job.is_needless() && !queue.is_stopped()) {
                match work.run(&history) {
                    Ok(answer) => commands.send(Command::Answer(key, Box::new(answer))),
                    Err(work) => {
                        history.tiers.durable.wait(STORE_WAIT_MAX);
                        job = Some(Job { key, work, place });
                    }
                }
            }
        }
    })
}

impl Work {
    /// Reads it, or gives it back if the store is being reopened: then it is to be read once that is done.
    pub(crate) fn run(self, history: &History) -> Result<Answer, Self> {
        match self {
            Self::Begin(follows, last, head, resumed) => {
                match Beginning::find(history, follows.clone(), last, head, resumed.as_deref()) {
                    Err(CatchupError::Store(StoreError::Reopening)) => Err(Self::Begin(follows, last, head, resumed)),
                    found => Ok(Answer::Begin(found.map(Box::new))),
                }
            }
            Self::Look(follows, from) => match Look::at(history, &follows, from) {
                Err(StoreError::Reopening) => Err(Self::Look(follows, from)),
                look => Ok(Answer::Look(look.ok())),
            },
            Self::Page(mut catchup) => {
                let (head, _) = history.window.head();
                match catchup.page(history, head) {
                    Err(CatchupError::Store(StoreError::Reopening)) => Err(Self::Page(catchup)),
                    page => Ok(Answer::Page(page.map(|page| (page, catchup)))),
                }
            }
        }
    }
}
