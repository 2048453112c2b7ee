//! Streams, seen from outside: opened, counted, dropped and held against what was published.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Poll, Waker};

use crate::dialect::Dialect;
use crate::error::MeasureError;
use crate::figures::Delivery;
use crate::load::LoadOptions;
use crate::load::pace::Clock;
use crate::load::progress::Progress;
use crate::load::publishing::times;
use crate::load::reader::{Command, Reader, Setup, Shared, WAKER};
use crate::load::tally::Tally;

/// How often whoever waits looks again.
const LOOK: Duration = Duration::from_millis(2);

/// Which deliveries are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// All of them.
    Every,
    /// The last one in each read, where there are too many to time each.
    LastOfRead,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// What it asks for.
    pub path: Arc<str>,
    /// The first of the series that it follows.
    pub first_series: u32,
}

/// All streams of a scenario.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The streams.
    pub streams: Vec<StreamPlan>,
    /// How many series each follows, from its first one on.
    pub width: u32,
    /// Whether streams that are opened again come back with their last id.
    pub remembers_ids: bool,
    /// Which deliveries are timed.
    pub record: Record,
}

impl Plan {
    /// Streams that all ask for the same and follow all series.
    pub fn alike(streams: usize, path: &str, series: usize, record: Record) -> Self {
        let stream = StreamPlan { path: path.into(), first_series: 0 };
        Self { streams: vec![stream; streams], width: series as u32, remembers_ids: false, record }
    }
}

/// The threads that read. Stream `n` belongs to thread `n % threads`.
#[derive(Debug)]
pub struct Readers {
    threads: Vec<Thread>,
    /// How many streams there are.
    streams: usize,
    clock: Clock,
}

#[derive(Debug)]
struct Thread {
    commands: SyncSender<Command>,
    waker: Waker,
    shared: Arc<Shared>,
    reader: JoinHandle<Result<Tally, MeasureError>>,
}

impl Readers {
    /// Starts the threads; no stream is opened yet.
    ///
    /// # Errors
    ///
    /// When the address isn't one or a thread can't be had.
    pub fn start(
        address: &str,
        dialect: fn() -> Box<dyn Dialect>,
        plan: &Plan,
        load: &LoadOptions,
        clock: &Clock,
    ) -> Result<Self, MeasureError> {
        let to = address.to_socket_addrs()?.find(SocketAddr::is_ipv4).ok_or(MeasureError::Address)?;
        let count = load.readers.clamp(1, plan.streams.len().max(1));
        let mut threads = Vec::with_capacity(count);
        for first in 0..count {
            let shared = Arc::<Shared>::default();
            let setup = Setup {
                address: to,
                host: address.to_owned(),
                dialect,
                streams: plan.streams.iter().skip(first).step_by(count).cloned().collect(),
                width: plan.width,
                remembers_ids: plan.remembers_ids,
                record: plan.record,
                opening_max: (load.opening_max / count).max(1),
                data_bytes: load.bytes,
                clock: clock.clone(),
                shared: Arc::clone(&shared),
            };
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            let (commands, receiver) = sync_channel(1_024);
            let reader = thread::Builder::new()
                .name(format!("read {first}"))
                .spawn(move || Reader::new(setup, poll, receiver).run())?;
            threads.push(Thread { commands, waker, shared, reader });
        }
        Ok(Self { threads, streams: plan.streams.len(), clock: clock.clone() })
    }

    /// How many streams there are, open or not.
    pub fn len(&self) -> usize {
        self.streams
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.streams == 0
    }

    /// Begins to open those of these streams that aren't open.
    ///
    /// # Errors
    ///
    /// When a reader has failed.
    pub fn open(&self, streams: Range<usize>) -> Result<(), MeasureError> {
        self.tell(streams, Command::Open)
    }

    /// Begins to close these streams, as clients that go away.
    ///
    /// # Errors
    ///
    /// When a reader has failed.
    pub fn close(&self, streams: Range<usize>) -> Result<(), MeasureError> {
        self.tell(streams, Command::Close)
    }

    fn tell(&self, streams: Range<usize>, command: fn(Range<usize>) -> Command) -> Result<(), MeasureError> {
        let count = self.threads.len();
        for (first, thread) in self.threads.iter().enumerate() {
            // Its own streams among those before the range, and before its end.
            let own = |end: usize| (end + count - 1).saturating_sub(first) / count;
            thread.commands.send(command(own(streams.start)..own(streams.end))).map_err(|_| MeasureError::Thread)?;
            thread.waker.wake()?;
        }
        Ok(())
    }

    /// Waits until exactly so many streams are open.
    ///
    /// # Errors
    ///
    /// When one was refused, or nothing happened for `patience`.
    pub fn await_open(&self, streams: usize, patience: Duration) -> Result<(), MeasureError> {
        let progress = Progress::begin("opening", streams as u64);
        let (mut seen, mut since) = (self.open_count(), self.clock.now());
        loop {
            let open = self.open_count();
            progress.at(open);
            if open == streams as u64 {
                return Ok(());
            }
            let refused = self.sum(|shared| &shared.refused);
            if refused > 0 {
                let status = self.threads.iter().map(|thread| thread.shared.status.load(Ordering::Relaxed)).max();
                let status = status.unwrap_or(0);
                return Err(MeasureError::Refused(format!("{refused} streams were refused with status {status}")));
            }
            if open != seen {
                (seen, since) = (open, self.clock.now());
            } else if self.clock.now() > since + patience {
                return Err(MeasureError::Refused(format!(
                    "{open} of {streams} streams are open, and nothing happens"
                )));
            }
            self.clock.wait_until(self.clock.now() + LOOK);
        }
    }

    /// Waits until there were so many deliveries. Whether there were: `false` if none came for `patience`.
    pub fn await_delivered(&self, deliveries: u64, patience: Duration) -> bool {
        let progress = Progress::begin("delivering", deliveries);
        let (mut seen, mut since) = (self.delivered(), self.clock.now());
        loop {
            let delivered = self.delivered();
            progress.at(delivered);
            if delivered >= deliveries {
                return true;
            }
            if delivered != seen {
                (seen, since) = (delivered, self.clock.now());
            } else if self.clock.now() > since + patience {
                return false;
            }
            self.clock.wait_until(self.clock.now() + LOOK);
        }
    }

    /// Streams that are open now.
    pub fn open_count(&self) -> u64 {
        self.sum(|shared| &shared.open)
    }

    /// Streams that the server ended so far.
    pub fn cut(&self) -> u64 {
        self.sum(|shared| &shared.cut)
    }

    /// Deliveries so far, doubled ones left out.
    pub fn delivered(&self) -> u64 {
        self.sum(|shared| &shared.delivered)
    }

    /// When the last delivery came, in the time of the run.
    pub fn last_delivery(&self) -> Duration {
        self.latest(|shared| &shared.last_delivery_us)
    }

    /// When the last stream was opened, in the time of the run.
    pub fn last_opening(&self) -> Duration {
        self.latest(|shared| &shared.last_opening_us)
    }

    fn sum(&self, figure: fn(&Shared) -> &AtomicU64) -> u64 {
        self.threads.iter().map(|thread| figure(&thread.shared).load(Ordering::Acquire)).sum()
    }

    fn latest(&self, instant: fn(&Shared) -> &AtomicU64) -> Duration {
        let instants = self.threads.iter().map(|thread| instant(&thread.shared).load(Ordering::Relaxed));
        Duration::from_micros(instants.max().unwrap_or(0))
    }

    /// Takes the times from due to delivered that were recorded since the last time, in microseconds. What was due before
    /// its stream was opened, or opened again, is not timed.
    pub fn take_latencies(&self) -> Histogram<u64> {
        self.take(Shared::take_latencies)
    }

    /// Takes the times that streams took to open, recorded since the last time, in microseconds.
    pub fn take_openings(&self) -> Histogram<u64> {
        self.take(Shared::take_openings)
    }

    fn take(&self, from: fn(&Shared) -> Histogram<u64>) -> Histogram<u64> {
        let mut all = times();
        for thread in &self.threads {
            // All record the same range.
            let _ = all.add(from(&thread.shared));
        }
        all
    }

    /// Closes everything and holds what the streams got against how many events were published of each series.
    ///
    /// # Errors
    ///
    /// When a reader has failed.
    pub fn finish(self, published: &[u32]) -> Result<Delivery, MeasureError> {
        let mut all = Delivery {
            published: published.iter().map(|count| u64::from(*count)).sum(),
            cut: self.cut(),
            ..Delivery::default()
        };
        for Thread { commands, waker, reader, .. } in self.threads {
            // A reader that has failed tells why when it is joined.
            let _ = commands.send(Command::Finish);
            waker.wake()?;
            all.add(&reader.join().map_err(|_| MeasureError::Thread)??.hold_against(published));
        }
        Ok(all)
    }
}
