//! What every scenario stands on: a server that runs, streams that are open, and what the server used since.

use std::time::Duration;

use crate::error::MeasureError;
use crate::figures::{Delivery, ServerUse};
use crate::load::LoadOptions;
use crate::load::pace::Clock;
use crate::load::progress::Progress;
use crate::load::publishing::Publishing;
use crate::load::readers::{Plan, Readers};
use crate::load::spread::Spread;
use crate::server::Server;
use crate::subject::Subject;
use crate::usage::{MemoryWatch, ProcessTree, raise_open_files};

/// How often memory is looked at for its peak.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// The channel of scenarios that need only one.
pub(super) const CHANNEL: &str = "bench";

/// A server and the time of the run.
pub(super) struct Stage<'a> {
    pub(super) subject: &'a Subject,
    pub(super) server: Server,
    pub(super) load: &'a LoadOptions,
    pub(super) clock: Clock,
}

/// What a server used, counted from a moment on.
pub(super) struct Since {
    process: ProcessTree,
    cpu: Duration,
    memory_bytes: u64,
    watch: MemoryWatch,
}

impl<'a> Stage<'a> {
    /// Starts the server.
    pub(super) fn set(subject: &'a Subject, load: &'a LoadOptions) -> Result<Self, MeasureError> {
        raise_open_files();
        let server = Server::start(subject, &load.folder)?;
        Ok(Self { subject, server, load, clock: Clock::default() })
    }

    /// Prepares streams; none is open yet.
    pub(super) fn readers(&self, plan: &Plan) -> Result<Readers, MeasureError> {
        Readers::start(self.server.address(), self.subject.dialect, plan, self.load, &self.clock)
    }

    /// Opens all streams of a plan, and waits until they are.
    pub(super) fn open(&self, plan: &Plan) -> Result<Readers, MeasureError> {
        let readers = self.readers(plan)?;
        readers.open(0..readers.len())?;
        readers.await_open(readers.len(), self.load.patience())?;
        Ok(readers)
    }

    /// The path of a stream of one channel.
    pub(super) fn path(&self, channel: &str) -> String {
        self.subject.subscribe.replace("{channel}", channel)
    }

    /// Publishers to these channels.
    pub(super) fn publishing(&self, channels: &[String]) -> Publishing {
        Publishing {
            address: self.server.address().to_owned(),
            how: self.subject.publish.clone(),
            channels: channels.into(),
            first_series: 0,
            bytes: self.load.bytes,
            clock: self.clock.clone(),
        }
    }

    /// Publishes to groups of channels, `batch` events in one request.
    pub(super) fn spread(&self, groups: Vec<Vec<String>>, batch: usize) -> Result<Spread, MeasureError> {
        Spread::new(self.subject, self.server.address(), groups, (batch, self.load.bytes), &self.clock)
    }

    /// Waits until everything has come that was published, or nothing more comes.
    pub(super) fn settle(&self, readers: &Readers, published: u64) {
        // What is missing is counted later.
        let _ = readers.await_delivered(published * readers.len() as u64, self.load.patience());
    }

    /// Waits for so long.
    pub(super) fn pause(&self, pause: Duration) {
        let _progress = Progress::spin("waiting");
        self.clock.wait_until(self.clock.now() + pause);
    }

    /// Counts what the server uses from now on; `None` where its process isn't known.
    pub(super) fn watch(&self) -> Result<Option<Since>, MeasureError> {
        self.server.process().map(Since::now).transpose()
    }

    /// Takes the streams down, then the server, and tells what the streams got.
    pub(super) fn strike(self, readers: Readers, published: &[u32]) -> Result<Delivery, MeasureError> {
        let delivery = readers.finish(published)?;
        self.server.stop()?;
        Ok(delivery)
    }
}

impl Since {
    fn now(process: ProcessTree) -> Result<Self, MeasureError> {
        let watch = MemoryWatch::start(process, WATCH_INTERVAL)?;
        Ok(Self { process, cpu: process.cpu(), memory_bytes: process.memory_bytes(), watch })
    }

    /// What was used until now.
    pub(super) fn until_now(self) -> Result<ServerUse, MeasureError> {
        let cpu = self.process.cpu().saturating_sub(self.cpu);
        Ok(ServerUse {
            cpu_s: cpu.as_secs_f64(),
            memory_before_bytes: self.memory_bytes,
            memory_after_bytes: self.process.memory_bytes(),
            memory_peak_bytes: self.watch.peak()?,
        })
    }
}

/// A part of a whole, 0 of nothing.
pub(super) fn per(amount: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { amount / count as f64 }
}

/// Processor time for one of so many, in microseconds.
pub(super) fn cpu_us_per(server: Option<&ServerUse>, count: u64) -> Option<f64> {
    server.map(|server| per(server.cpu_s * 1e6, count))
}
