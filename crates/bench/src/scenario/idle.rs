//! Idle: streams that are open and get nothing. What does an open stream cost?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::figures::Latencies;
use crate::load::LoadOptions;
use crate::load::readers::{Plan, Record};
use crate::scenario::stage::{CHANNEL, Stage, per};
use crate::subject::Subject;
use crate::usage::{ProcessTree, kernel_bytes};

/// Sizes of the scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct IdleOptions {
    /// Streams that are opened.
    #[arg(long, default_value_t = 10_000)]
    pub streams: usize,
    /// Seconds for which they are held open, to see what heartbeats cost.
    #[arg(long, default_value_t = 60)]
    pub hold_s: u64,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// What an open stream costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleFigures {
    /// Streams that were open.
    pub streams: u64,
    /// Seconds from the first connection until the last stream was open.
    pub opening_s: f64,
    /// Streams opened in a second.
    pub opened_per_s: f64,
    /// From the beginning of a connection until its stream was open.
    pub opening: Latencies,
    /// Processor time of the server for opening one stream, in microseconds; absent where its process is not known.
    pub opening_cpu_us_per_stream: Option<f64>,
    /// User memory of the server (proportional set size) for each stream, in bytes.
    pub user_bytes_per_stream: Option<f64>,
    /// Kernel memory for each stream, in bytes: both ends' sockets and what polls them, since both are on one machine.
    pub kernel_bytes_per_stream: f64,
    /// Seconds for which the streams were held.
    pub held_s: f64,
    /// Processor time of the server for one stream in one minute, in microseconds.
    pub cpu_us_per_stream_minute: Option<f64>,
    /// Streams that the server ended or broke off while they were held.
    pub cut: u64,
}

impl IdleOptions {
    /// Sizes of a run of a few seconds, which shows that everything works; its figures mean nothing.
    pub fn quick(self) -> Self {
        Self { streams: self.streams.min(200), hold_s: self.hold_s.min(2), ..self }
    }
}

/// Runs the scenario.
///
/// # Errors
///
/// When the server or the load couldn't be run.
pub fn run(subject: &Subject, options: &IdleOptions) -> Result<IdleFigures, MeasureError> {
    let stage = Stage::set(subject, &options.load)?;
    let plan = Plan::alike(options.streams, &stage.path(CHANNEL), 1, Record::Every);
    let readers = stage.readers(&plan)?;
    let server = stage.server.process();
    let memory_before = server.map(ProcessTree::memory_bytes);
    let (kernel_before, cpu_before) = (kernel_bytes(), server.map(ProcessTree::cpu));

    let begun = stage.clock.now();
    readers.open(0..options.streams)?;
    readers.await_open(options.streams, options.load.patience())?;
    let opening = readers.last_opening().saturating_sub(begun);
    let openings = readers.take_openings();
    let cpu_open = server.map(ProcessTree::cpu);
    // What opening needed for a moment only is given back by then.
    stage.pause(Duration::from_secs(2));
    let memory_open = server.map(ProcessTree::memory_bytes);
    let kernel_open = kernel_bytes();

    let (held_from, cpu_from) = (stage.clock.now(), server.map(ProcessTree::cpu));
    stage.pause(Duration::from_secs(options.hold_s));
    let cpu_until = server.map(ProcessTree::cpu);
    let held_s = stage.clock.now().saturating_sub(held_from).as_secs_f64();
    let cut = readers.cut();
    stage.strike(readers, &[])?;

    let streams = options.streams as u64;
    let us = |from: Option<Duration>, until: Option<Duration>| Some(until?.saturating_sub(from?).as_secs_f64() * 1e6);
    let bytes = |from: u64, until: u64| per(until.saturating_sub(from) as f64, streams);
    Ok(IdleFigures {
        streams,
        opening_s: opening.as_secs_f64(),
        opened_per_s: streams as f64 / opening.as_secs_f64().max(1e-9),
        opening: Latencies::from(&openings),
        opening_cpu_us_per_stream: us(cpu_before, cpu_open).map(|us| per(us, streams)),
        user_bytes_per_stream: memory_before.zip(memory_open).map(|(before, open)| bytes(before, open)),
        kernel_bytes_per_stream: bytes(kernel_before, kernel_open),
        held_s,
        cpu_us_per_stream_minute: us(cpu_from, cpu_until).map(|us| per(us, streams) * 60.0 / held_s.max(1e-9)),
        cut,
    })
}
