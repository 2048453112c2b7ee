//! Several publishers at once: as fast as they are acknowledged, or at a steady pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::error::MeasureError;
use crate::figures::Latencies;
use crate::load::marker::{Data, Marker};
use crate::load::pace::{Clock, Pace, wake_sharply};
use crate::load::progress::Progress;
use crate::load::publisher::Publisher;
use crate::subject::Publish;

/// Who publishes what, where.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// The server's `host:port`.
    pub address: String,
    /// How an event is published.
    pub how: Publish,
    /// The channels in turn: every publisher goes round them.
    pub channels: Arc<[String]>,
    /// The first publisher's series; the others' follow.
    pub first_series: u32,
    /// Bytes of an event's data.
    pub bytes: usize,
    /// The time of the run.
    pub clock: Clock,
}

/// When publishers stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    /// After so many events, all publishers together.
    Events(u64),
    /// After so long.
    Elapsed(Duration),
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// How many events of each series; each publisher has a series.
    pub of_series: Vec<u32>,
    /// How long each waited for its acknowledgement, in microseconds.
    pub waits: Histogram<u64>,
    /// When the first request was sent, in the time of the run.
    pub first: Duration,
    /// When the last acknowledgement came.
    pub last: Duration,
}

impl Published {
    /// Events that were published.
    pub fn count(&self) -> u64 {
        self.of_series.iter().map(|count| u64::from(*count)).sum()
    }

    /// From the first request to the last acknowledgement.
    pub fn elapsed(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }

    /// Events in a second.
    pub fn per_s(&self) -> f64 {
        self.count() as f64 / self.elapsed().as_secs_f64().max(1e-9)
    }

    /// Adds what another publisher published, as the next series.
    fn add(&mut self, other: &Self) {
        self.of_series.extend(&other.of_series);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        // Both record the same range.
        let _ = self.waits.add(&other.waits);
    }
}

/// An empty record of times in microseconds, up to an hour, to three digits.
pub fn times() -> Histogram<u64> {
    const HOUR_US: u64 = 3_600_000_000;
    let times = Histogram::new_with_max(HOUR_US, 3);
    times.unwrap_or_else(|_| unreachable!("these bounds are valid"))
}

/// Publishers at work.
#[derive(Debug)]
pub struct Publishers {
    threads: Vec<JoinHandle<Result<Published, MeasureError>>>,
    /// Tells them all to stop.
    stop: Arc<AtomicBool>,
}

impl Publishing {
    /// Publishes from so many connections, each as fast as it is acknowledged.
    ///
    /// # Errors
    ///
    /// When the server can't be reached.
    pub fn as_fast_as_acknowledged(&self, publishers: usize, until: Until) -> Result<Publishers, MeasureError> {
        let tickets = Arc::new(AtomicU64::new(0));
        let start = self.clock.now();
        self.start(publishers, move |clock| match until {
            Until::Events(count) => (tickets.fetch_add(1, Ordering::Relaxed) < count).then(|| clock.now()),
            Until::Elapsed(time) => Some(clock.now()).filter(|now| *now < start + time),
        })
    }

    /// Publishes from one connection at a steady pace, for so long.
    ///
    /// # Errors
    ///
    /// When the server can't be reached.
    pub fn paced(&self, rate: f64, duration: Duration) -> Result<Publishers, MeasureError> {
        // A moment, for the thread to be there when the first is due.
        let start = self.clock.now() + Duration::from_millis(20);
        let mut pace = Pace::new(self.clock.clone(), start, rate);
        self.start(1, move |_| Some(pace.wait()).filter(|due| *due < start + duration))
    }

    /// Starts publishers. `next` waits for the next event's instant and tells it, or `None` at the end.
    fn start(
        &self,
        publishers: usize,
        next: impl FnMut(&Clock) -> Option<Duration> + Clone + Send + 'static,
    ) -> Result<Publishers, MeasureError> {
        let stop = Arc::new(AtomicBool::new(false));
        let connections: Result<Vec<_>, _> = (0..publishers).map(|_| Publisher::connect(&self.address)).collect();
        let mut threads = Vec::with_capacity(publishers);
        for (series, publisher) in connections?.into_iter().enumerate() {
            let (this, next, stop) = (self.clone(), next.clone(), Arc::clone(&stop));
            let name = format!("publish {series}");
            let work = move || {
                let published = this.publish(publisher, this.first_series + series as u32, next, &stop);
                if published.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                published
            };
            threads.push(thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(Publishers { threads, stop })
    }

    /// One publisher's work.
    fn publish(
        &self,
        mut publisher: Publisher,
        series: u32,
        mut next: impl FnMut(&Clock) -> Option<Duration>,
        stop: &AtomicBool,
    ) -> Result<Published, MeasureError> {
        wake_sharply();
        let mut data = Data::new(self.bytes);
        let mut waits = times();
        let first = self.clock.now();
        let (mut number, mut last) = (0, first);
        while !stop.load(Ordering::Relaxed)
            && let Some(due) = next(&self.clock)
        {
            let turn = (number as usize + series as usize) % self.channels.len().max(1);
            let channel = self.channels.get(turn).map_or("main", String::as_str);
            let marker = Marker { series, number, due_us: due.as_micros() as u32 };
            publisher.publish(&self.how, channel, data.mark(marker))?;
            number += 1;
            last = self.clock.now();
            waits.saturating_record(last.saturating_sub(due).as_micros() as u64);
        }
        Ok(Published { of_series: vec![number], waits, first, last })
    }
}

impl Publishers {
    /// Tells them to stop after the events that they are publishing.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether all have ended.
    pub fn have_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for them to end, and tells what they published.
    ///
    /// # Errors
    ///
    /// When an event wasn't acknowledged.
    pub fn join(self) -> Result<Published, MeasureError> {
        let _progress = Progress::spin("publishing");
        let mut all = Published { of_series: vec![], waits: times(), first: Duration::MAX, last: Duration::ZERO };
        for thread in self.threads {
            all.add(&thread.join().map_err(|_| MeasureError::Thread)??);
        }
        Ok(all)
    }
}

impl From<&Histogram<u64>> for Latencies {
    fn from(times: &Histogram<u64>) -> Self {
        let at = |quantile| times.value_at_quantile(quantile);
        Self {
            count: times.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: times.max(),
        }
    }
}
