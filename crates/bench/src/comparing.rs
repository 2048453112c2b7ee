//! The commands that compare: whom, and where their tables go.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use fanfare_bench::chart;
use fanfare_bench::compare::{self, Who, document, tutorial};
use serde::Serialize;

/// Everybody under the same load.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    tables: Tables,
    /// Draws charts into this folder, in a folder for each number of streams.
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,
}

/// The table that tutorials print.
#[derive(Debug, clap::Args)]
pub(crate) struct Tutorial {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    tables: Tables,
}

/// Where tables go.
#[derive(Debug, clap::Args)]
struct Tables {
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the tables as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Puts the tables into this document, between the marks that are named like the command.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

impl Compare {
    /// Compares, and gives what came out.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let comparison = compare::run(&self.who);
        if let Some(folder) = &self.charts {
            for (streams, outcomes) in comparison.outcomes() {
                chart::draw(&outcomes, &folder.join(format!("{streams}-streams")))?;
            }
        }
        self.tables.give("compare", &comparison, &comparison.to_markdown())
    }
}

impl Tutorial {
    /// Measures the table, and gives it.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let tutorial = tutorial::run(&self.who);
        self.tables.give("tutorial", &tutorial, &tutorial.to_markdown())
    }
}

impl Tables {
    fn give<T: Display + Serialize>(&self, name: &str, figures: &T, markdown: &str) -> anyhow::Result<ExitCode> {
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(figures)?;
            std::fs::write(path, json + "\n").with_context(|| format!("{} could not be written", path.display()))?;
        }
        if let Some(path) = &self.document {
            document::put(path, name, markdown)?;
        }
        print!("{}", if self.markdown { markdown.to_owned() } else { figures.to_string() });
        Ok(ExitCode::SUCCESS)
    }
}
