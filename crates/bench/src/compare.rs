//! The comparison: the same load against Fanfare, the bare loop and every other server that this machine can run, one
//! after the other, in one run. A server that can't run here is named with the reason, and left out.
//!
//! - [`peer`]: who is compared. [`mod@install`]: how they come to be there.
//! - [`report`]: what came out, as tables. [`tutorial`]: the table that tutorials print, as it is here; [`probe`] counts
//!   its bytes.
//! - [`grid`]: how tables look. [`document`]: how they come into documents.
//!
//! It knows servers only as [`Subject`]s and loads only as [`scenario`](crate::scenario)s.

pub mod document;
pub mod grid;
pub mod install;
pub mod peer;
pub mod probe;
pub mod report;
pub mod tutorial;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::MeasureError;
use crate::load::LoadOptions;
use crate::machine::Machine;
use crate::outcome::{Figures, Outcome};
use crate::scenario::burst::{self, BurstFigures, BurstOptions};
use crate::scenario::fan_out::{self, FanOutFigures, FanOutOptions};
use crate::scenario::idle::{self, IdleFigures, IdleOptions};
use crate::subject::Subject;
use install::{Installed, install};
use peer::Peer;

/// Whom a comparison is about, and where it finds them.
#[derive(Clone, Debug, clap::Args)]
pub struct Who {
    /// A tiny run: shows that everything works, its figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// Compares this server; may be given several times. Default: all.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<Peer>,
    /// Where the peers' sources are.
    #[arg(long, value_name = "FOLDER", default_value = "crates/bench/peers")]
    pub peers: PathBuf,
    /// What all scenarios share.
    #[command(flatten)]
    pub load: LoadOptions,
}

/// A server that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why, as a phrase.
    pub reason: String,
}

impl Who {
    /// Makes ready who was asked for and can run; tells who can't, and why.
    pub fn install(&self, all: &[Peer]) -> (Vec<(Peer, Installed)>, Vec<Skipped>) {
        let (mut installed, mut skipped) = (Vec::new(), Vec::new());
        for &peer in all.iter().filter(|peer| self.only.is_empty() || self.only.contains(peer)) {
            match install(peer, &self.peers, &self.load.folder) {
                Ok(ready) => installed.push((peer, ready)),
                Err(reason) => {
                    eprintln!("{} is left out: {reason}", peer.name());
                    skipped.push(Skipped { name: peer.name().to_owned(), reason });
                }
            }
        }
        (installed, skipped)
    }
}

/// All that came out of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// On which machine.
    pub machine: Machine,
    /// Who was measured, the bare loop first.
    pub compared: Vec<Compared>,
    /// Who was left out.
    pub skipped: Vec<Skipped>,
}

impl Comparison {
    /// All figures as outcomes of scenarios, as charts want them: for each number of streams.
    pub fn outcomes(&self) -> BTreeMap<usize, Vec<Outcome>> {
        let mut outcomes: BTreeMap<usize, Vec<Outcome>> = BTreeMap::new();
        for compared in &self.compared {
            // Charts know Fanfare by this name.
            let subject = compared.name.replace("Fanfare", "fanfare");
            for (streams, figures) in compared.figures() {
                let (subject, machine) = (subject.clone(), self.machine.clone());
                outcomes.entry(streams).or_default().push(Outcome { subject, machine, figures });
            }
        }
        outcomes
    }
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// How its events travel.
    pub transport: String,
    /// What it is made of, with versions.
    pub version: String,
    /// Open streams without events, for each number of streams.
    pub idle: Vec<Tried<IdleFigures>>,
    /// Publishers that don't wait for readers, likewise.
    pub burst: Vec<Tried<BurstFigures>>,
    /// Events at a steady pace, likewise.
    pub fan_out: Vec<Tried<FanOutFigures>>,
}

impl Compared {
    /// What all its scenarios gave, each with the number of streams.
    fn figures(&self) -> Vec<(usize, Figures)> {
        fn of<T: Clone>(tried: &[Tried<T>], figures: fn(T) -> Figures) -> impl Iterator<Item = (usize, Figures)> {
            tried.iter().filter_map(move |tried| Some((tried.streams, figures(tried.figures.clone()?))))
        }
        let idle = of(&self.idle, Figures::Idle);
        idle.chain(of(&self.burst, Figures::Burst)).chain(of(&self.fan_out, Figures::FanOut)).collect()
    }
}

/// What a scenario gave, or why it gave nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried<T> {
    /// Streams that there were to be.
    pub streams: usize,
    /// Its figures.
    pub figures: Option<T>,
    /// Why there are none.
    pub failure: Option<String>,
}

impl<T> Tried<T> {
    fn new(streams: usize, outcome: Result<T, MeasureError>) -> Self {
        match outcome {
            Ok(figures) => Self { streams, figures: Some(figures), failure: None },
            Err(error) => Self { streams, figures: None, failure: Some(told(&error)) },
        }
    }
}

/// An error with its causes, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How much is done. Bursts make about as many deliveries with few streams as with many.
struct Sizes {
    /// Streams, and the events of a burst to them.
    streams: [(usize, u64); 2],
    publishers: usize,
    hold_s: u64,
    rate: f64,
    pace_s: u64,
}

impl Sizes {
    const FULL: Self =
        Self { streams: [(1_000, 2_000), (10_000, 200)], publishers: 16, hold_s: 10, rate: 20.0, pace_s: 20 };
    const QUICK: Self = Self { streams: [(50, 100), (100, 50)], publishers: 4, hold_s: 1, rate: 20.0, pace_s: 1 };
}

/// Measures everybody who was asked for, in turn.
pub fn run(who: &Who) -> Comparison {
    let (installed, skipped) = who.install(&Peer::ALL);
    let sizes = if who.quick { Sizes::QUICK } else { Sizes::FULL };
    let compared = installed.into_iter().map(|(peer, installed)| {
        let Installed { subject, version } = installed;
        measure(peer, &subject, version, &sizes, &who.load)
    });
    Comparison { compared: compared.collect(), skipped, machine: Machine::here(&who.load.folder) }
}

/// All scenarios of one server, each with a process of its own.
fn measure(peer: Peer, subject: &Subject, version: String, sizes: &Sizes, load: &LoadOptions) -> Compared {
    let say = |what: &str, streams| eprintln!("{}: {what}, {streams} streams", peer.name());
    let idle = |(streams, _): (usize, u64)| {
        say("idle", streams);
        Tried::new(streams, idle::run(subject, &IdleOptions { streams, hold_s: sizes.hold_s, load: load.clone() }))
    };
    let burst = |(streams, events): (usize, u64)| {
        say("burst", streams);
        let publishers = sizes.publishers;
        let options = BurstOptions { streams, publishers, events, duration_s: None, load: load.clone() };
        Tried::new(streams, burst::run(subject, &options))
    };
    let fan_out = |(streams, _): (usize, u64)| {
        say("fan-out", streams);
        let options =
            FanOutOptions { streams, rate: sizes.rate, duration_s: sizes.pace_s, flush: None, load: load.clone() };
        Tried::new(streams, fan_out::run(subject, &options))
    };
    let [few, _] = sizes.streams;
    Compared {
        name: peer.name().to_owned(),
        transport: peer.transport().to_owned(),
        version,
        idle: sizes.streams.map(idle).into(),
        burst: sizes.streams.map(burst).into(),
        fan_out: vec![fan_out(few)],
    }
}
