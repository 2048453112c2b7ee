//! The command: measures, then prints what was measured.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use fanfare_bench::bare::{self, BareOptions};
use fanfare_bench::chart;
use fanfare_bench::outcome::{Figures, Outcome};
use fanfare_bench::retention::{self, RetentionOptions};
use fanfare_bench::scenario::bad_peers::{self, BadPeersOptions};
use fanfare_bench::scenario::burst::{self, BurstOptions};
use fanfare_bench::scenario::channels::{self, ChannelsOptions};
use fanfare_bench::scenario::fan_out::{self, FanOutOptions};
use fanfare_bench::scenario::idle::{self, IdleOptions};
use fanfare_bench::scenario::many_channels::{self, ManyChannelsOptions};
use fanfare_bench::scenario::patterns::{self, PatternsOptions};
use fanfare_bench::scenario::publish::{self, PublishOptions};
use fanfare_bench::scenario::resume_storm::{self, ResumeStormOptions};
use fanfare_bench::scenario::slow_readers::{self, SlowReadersOptions};
use fanfare_bench::scenario::soak::{self, SoakOptions};
use fanfare_bench::scenario::start_up::{self, StartUpOptions};
use fanfare_bench::{Effort, Options, Part, engine};

use crate::cli::Scenario;
use crate::comparing::{Compare, Tutorial};

mod cli;
mod comparing;

/// Measures Fanfare against the least that a machine must do for the same result.
#[derive(Debug, Parser)]
#[command(name = "fanfare-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum Command {
    /// The engine alone, without sockets: encode, decode, append, catch-up.
    Engine(EngineArgs),
    /// The engine with publishers at full speed while limits remove what they publish: rates, waits, the disk.
    Retention(RetentionArgs),
    /// Serves as the bare loop: the least that any server of event streams has to do.
    Bare(BareOptions),
    /// Streams that are open and get nothing: memory, opening, heartbeats.
    Idle(Scenario<IdleOptions>),
    /// Events at a steady pace, each to all streams: latency, processor time of a delivery.
    FanOut(Scenario<FanOutOptions>),
    /// Events as fast as they are acknowledged, each to all streams: deliveries in a second, memory.
    Burst(Scenario<BurstOptions>),
    /// Many channels with one stream each, events to random ones: processor time of a delivery.
    Channels(Scenario<ChannelsOptions>),
    /// A million channels with one event each: memory, start, opening.
    ManyChannels(Scenario<ManyChannelsOptions>),
    /// Streams of one pattern, events to many channels that match: latency, processor time.
    Patterns(Scenario<PatternsOptions>),
    /// All streams break off and come back at once: time, memory, what publishers notice.
    ResumeStorm(Scenario<ResumeStormOptions>),
    /// Some streams read slowly or not at all: what the others notice.
    SlowReaders(Scenario<SlowReadersOptions>),
    /// The same in rounds, until the server cuts them: what the others notice, and why they were cut.
    BadPeers(Scenario<BadPeersOptions>),
    /// A store of a GB: how long a start takes on it, after a close in order and after a kill.
    StartUp(Scenario<StartUpOptions>),
    /// Publishers as fast as they are acknowledged, hardly any stream: acknowledgements in a second.
    Publish(Scenario<PublishOptions>),
    /// A steady load for a long time, streams that break off and come back: what grows or gets lost.
    Soak(Scenario<SoakOptions>),
    /// Draws charts of figures that were written as JSON.
    Chart(ChartArgs),
    /// The same load against Fanfare, the bare loop and every other server that runs here, one after the other.
    Compare(Compare),
    /// The table that tutorials print: SSE, WebSocket, long polling and Socket.IO at 1,000 connections.
    Tutorial(Tutorial),
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// A tiny run of a few seconds: shows that everything works, its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Measures this part alone; may be given several times.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Also holds appending events whose keys are among so many against appending the same without keys.
    #[arg(long, value_name = "N")]
    keyed: Option<NonZeroUsize>,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the figures as the Markdown table of docs/benchmarks.md.
    #[arg(long)]
    markdown: bool,
    /// Where data folders are made, and removed again; should be on a real disk.
    #[arg(long, value_name = "FOLDER", default_value = "target")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct RetentionArgs {
    /// A tiny run of a few seconds: shows that everything works, its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    options: RetentionOptions,
}

#[derive(Debug, Args)]
struct ChartArgs {
    /// Files that scenarios wrote with `--json`; those of one scenario share its charts.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the charts are put, as SVG; made if it isn't there.
    #[arg(long, value_name = "FOLDER", default_value = "charts")]
    out: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Engine(args) => measure_engine(args),
        Command::Retention(args) => measure_retention(args),
        Command::Bare(options) => Ok(bare::serve(&options).map(|()| ExitCode::SUCCESS)?),
        Command::Idle(scenario) => scenario.run(IdleOptions::quick, idle::run, Figures::Idle),
        Command::FanOut(scenario) => scenario.run(FanOutOptions::quick, fan_out::run, Figures::FanOut),
        Command::Burst(scenario) => scenario.run(BurstOptions::quick, burst::run, Figures::Burst),
        Command::Channels(scenario) => scenario.run(ChannelsOptions::quick, channels::run, Figures::Channels),
        Command::ManyChannels(scenario) => {
            scenario.run(ManyChannelsOptions::quick, many_channels::run, Figures::ManyChannels)
        }
        Command::Patterns(scenario) => scenario.run(PatternsOptions::quick, patterns::run, Figures::Patterns),
        Command::ResumeStorm(scenario) => {
            scenario.run(ResumeStormOptions::quick, resume_storm::run, Figures::ResumeStorm)
        }
        Command::SlowReaders(scenario) => {
            scenario.run(SlowReadersOptions::quick, slow_readers::run, Figures::SlowReaders)
        }
        Command::BadPeers(scenario) => scenario.run(BadPeersOptions::quick, bad_peers::run, Figures::BadPeers),
        Command::StartUp(scenario) => scenario.run(StartUpOptions::quick, start_up::run, Figures::StartUp),
        Command::Publish(scenario) => scenario.run(PublishOptions::quick, publish::run, Figures::Publish),
        Command::Soak(scenario) => scenario.run(SoakOptions::quick, soak::run, Figures::Soak),
        Command::Chart(args) => draw_charts(&args),
        Command::Compare(compare) => compare.run(),
        Command::Tutorial(tutorial) => tutorial.run(),
    }
}

fn measure_engine(args: EngineArgs) -> anyhow::Result<ExitCode> {
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let parts = if args.only.is_empty() { Part::ALL.to_vec() } else { args.only };
    let table = engine::measure(&Options { parts, effort, keyed: args.keyed, folder: args.folder })?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&table)?;
        std::fs::write(path, json + "\n").with_context(|| format!("{} could not be written", path.display()))?;
    }
    print!("{}", if args.markdown { table.to_markdown() } else { table.to_string() });
    Ok(ExitCode::SUCCESS)
}

fn measure_retention(args: RetentionArgs) -> anyhow::Result<ExitCode> {
    let options = if args.quick { args.options.quick() } else { args.options };
    let table = retention::measure(&options)?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&table)?;
        std::fs::write(path, json + "\n").with_context(|| format!("{} could not be written", path.display()))?;
    }
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

fn draw_charts(args: &ChartArgs) -> anyhow::Result<ExitCode> {
    let mut outcomes = Vec::new();
    for path in &args.files {
        let json = std::fs::read(path).with_context(|| format!("{} could not be read", path.display()))?;
        let outcome: Outcome = serde_json::from_slice(&json).with_context(|| format!("{}", path.display()))?;
        outcomes.push(outcome);
    }
    for path in chart::draw(&outcomes, &args.out)? {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
