//! The table that tutorials print about Server-Sent Events, WebSocket, long polling and Socket.IO, measured here: with
//! 1,000 connections and one event a second, memory, processor, latency, and what the network carries.

use std::time::Duration;

use serde::Serialize;

use super::grid::{Grid, NOTHING};
use super::install::Installed;
use super::peer::Peer;
use super::probe::Probe;
use super::report::{list, maybe, wrong};
use super::{Skipped, Tried, Who, told};
use crate::error::MeasureError;
use crate::load::LoadOptions;
use crate::load::marker::{Data, Marker};
use crate::machine::Machine;
use crate::scenario::fan_out::{self, FanOutFigures, FanOutOptions};
use crate::server::Server;
use crate::subject::Subject;
use crate::table::thousands;

/// Whom tutorials compare. Others can be asked for by name.
const USUAL: [Peer; 6] = [Peer::Fanfare, Peer::Express, Peer::BetterSse, Peer::Ws, Peer::SocketIo, Peer::LongPoll];

/// Events whose bytes are counted: enough to see the rare one that needs more.
const EVENTS: u64 = 10;

/// The table, for one machine.
#[derive(Clone, Debug, Serialize)]
pub struct Tutorial {
    /// Which machine.
    pub machine: Machine,
    /// Connections that there were to each server.
    pub connections: usize,
    /// Seconds of silence in which bytes were counted.
    pub silence_s: u64,
    /// Bytes of an event's data, as every listener gets them.
    pub data_bytes: usize,
    /// Who was measured.
    pub rows: Vec<Row>,
    /// Who was left out.
    pub skipped: Vec<Skipped>,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// How its events travel.
    pub transport: String,
    /// What it is made of, with versions.
    pub version: String,
    /// One event a second to all connections.
    pub fan_out: Tried<FanOutFigures>,
    /// What one connection carries.
    pub wire: Option<Wire>,
    /// Why that is not known.
    pub wire_failure: Option<String>,
}

/// What one connection carries, both directions together, without what TCP and IP put around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wire {
    /// Bytes of one event, on average.
    pub bytes_per_event: f64,
    /// Bytes in a minute without events.
    pub bytes_per_idle_minute: f64,
}

struct Sizes {
    connections: usize,
    pace_s: u64,
    silence_s: u64,
}

/// Measures everybody who was asked for: events in turn, silence all at once, since it needs no processor.
pub fn run(who: &Who) -> Tutorial {
    let full = Sizes { connections: 1_000, pace_s: 30, silence_s: 60 };
    let sizes = if who.quick { Sizes { connections: 50, pace_s: 3, silence_s: 2 } } else { full };
    let asked = if who.only.is_empty() { USUAL.to_vec() } else { Peer::ALL.to_vec() };
    let (installed, skipped) = who.install(&asked);
    let mut rows: Vec<Row> =
        installed.iter().map(|(peer, installed)| paced(*peer, installed, &sizes, &who.load)).collect();
    eprintln!("all: {} s of silence", sizes.silence_s);
    let silence = Duration::from_secs(sizes.silence_s);
    std::thread::scope(|scope| {
        let wires: Vec<_> =
            installed.iter().map(|(_, ready)| scope.spawn(|| wire(&ready.subject, silence, &who.load))).collect();
        for (row, wire) in rows.iter_mut().zip(wires) {
            match wire.join() {
                Ok(Ok(wire)) => row.wire = Some(wire),
                Ok(Err(error)) => row.wire_failure = Some(told(&error)),
                Err(_) => row.wire_failure = Some("the probe panicked".to_owned()),
            }
        }
    });
    Tutorial {
        machine: Machine::here(&who.load.folder),
        connections: sizes.connections,
        silence_s: sizes.silence_s,
        data_bytes: who.load.bytes + r#"{"message":""}"#.len(),
        rows,
        skipped,
    }
}

fn paced(peer: Peer, installed: &Installed, sizes: &Sizes, load: &LoadOptions) -> Row {
    eprintln!("{}: one event a second, {} connections", peer.name(), sizes.connections);
    let streams = sizes.connections;
    let options = FanOutOptions { streams, rate: 1.0, duration_s: sizes.pace_s, flush: None, load: load.clone() };
    Row {
        name: peer.name().to_owned(),
        transport: peer.transport().to_owned(),
        version: installed.version.clone(),
        fan_out: Tried::new(streams, fan_out::run(&installed.subject, &options)),
        wire: None,
        wire_failure: None,
    }
}

fn wire(subject: &Subject, silence: Duration, load: &LoadOptions) -> Result<Wire, MeasureError> {
    let server = Server::start(subject, &load.folder)?;
    let mut probe = Probe::open(server.address(), subject)?;
    let mut total = 0;
    for number in 0..EVENTS {
        // Every event has other data: it must not be taken for the one before.
        let marker = Marker { series: 0, number: number as u32, due_us: 0 };
        let data = Data::new(load.bytes).mark(marker).to_owned();
        total += probe.event(server.address(), subject, &data)?.total();
    }
    let silent = probe.listen(silence)?.total() as f64;
    server.stop()?;
    Ok(Wire {
        bytes_per_event: total as f64 / EVENTS as f64,
        bytes_per_idle_minute: silent * 60.0 / silence.as_secs_f64(),
    })
}

/// The columns.
const HEADINGS: [&str; 9] = [
    "server",
    "transport",
    "memory, MB",
    "CPU, %",
    "latency p50, ms",
    "p99, ms",
    "bytes per event",
    "bytes per idle minute",
    "lost / doubled / disordered / cut",
];

impl Tutorial {
    /// The table.
    pub fn grid(&self) -> Grid {
        let connections = thousands(self.connections as f64);
        let title = format!("{connections} connections, one event of {} bytes a second", self.data_bytes);
        let mut grid = Grid::new(&title, 2, &HEADINGS);
        for row in &self.rows {
            let figures = row.fan_out.figures.as_ref();
            let server = figures.and_then(|figures| figures.server);
            let cpu = figures.and_then(|figures| Some(figures.server?.cpu_s / figures.elapsed_s.max(1e-9)));
            let latency = |us: fn(&FanOutFigures) -> u64| maybe(figures, |f| format!("{:.1}", us(f) as f64 / 1e3));
            grid.push(vec![
                row.name.clone(),
                row.transport.clone(),
                maybe(server, |server| format!("{:.1}", server.memory_peak_bytes as f64 / 1e6)),
                maybe(cpu, |cpu| format!("{:.1}", cpu * 100.0)),
                latency(|figures| figures.latency.p50_us),
                latency(|figures| figures.latency.p99_us),
                maybe(row.wire, |wire| format!("{:.0}", wire.bytes_per_event)),
                maybe(row.wire, |wire| format!("{:.0}", wire.bytes_per_idle_minute)),
                figures.map_or_else(|| NOTHING.to_owned(), |figures| wrong(&figures.delivery)),
            ]);
        }
        grid
    }

    /// What the table can't say: versions, failures, who was left out.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.rows.iter().map(|row| format!("{}: {}.", row.name, row.version)).collect();
        for row in &self.rows {
            let failures = row.fan_out.failure.iter().chain(&row.wire_failure);
            notes.extend(failures.map(|why| format!("{} failed: {why}.", row.name)));
        }
        notes.extend(self.skipped.iter().map(|skipped| format!("{} was left out: {}.", skipped.name, skipped.reason)));
        notes
    }

    /// Table and notes as Markdown.
    pub fn to_markdown(&self) -> String {
        format!("On {}.\n\n{}\n{}", self.machine, self.grid().to_markdown(), list(&self.notes()))
    }
}

impl std::fmt::Display for Tutorial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n\n{}", self.machine, self.grid())?;
        self.notes().iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}
