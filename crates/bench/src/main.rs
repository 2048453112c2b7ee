//! The command: measures, then prints what was measured.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use fanfare_bench::{Effort, Options, Part, engine};

/// Measures Fanfare, each figure as a ratio against a bare limit taken in the same run.
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
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// A tiny run of a few seconds: shows that everything works, its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Measures this part alone; may be given several times.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
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

fn main() -> anyhow::Result<()> {
    let Command::Engine(args) = Cli::parse().command;
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    let parts = if args.only.is_empty() { Part::ALL.to_vec() } else { args.only };
    let table = engine::measure(&Options { parts, effort, folder: args.folder })?;
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&table)?;
        std::fs::write(path, json + "\n").with_context(|| format!("{} could not be written", path.display()))?;
    }
    print!("{}", if args.markdown { table.to_markdown() } else { table.to_string() });
    Ok(())
}
