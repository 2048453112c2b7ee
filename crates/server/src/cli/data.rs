//! `fanfare data`: a data folder while no hub runs on it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use fanfare_hub::{Archive, StoreError};

use crate::config::Sources;

mod check;
mod export;
mod import;
mod line;
mod stats;

/// What is done with the folder.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read everything and say what is damaged; status 1 if anything is.
    Check(check::Arguments),
    /// Say what is there: channels, events, bytes, times.
    Stats(stats::Arguments),
    /// Write the events as lines of JSON; what can't be read is left out, with status 1.
    Export(export::Arguments),
    /// Add events from lines of JSON, as `export` writes them.
    Import(import::Arguments),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Stats(arguments) => stats::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Import(arguments) => import::run(arguments),
    }
}

/// Which folder.
#[derive(Args, Debug)]
struct Folder {
    /// The folder of the data [default: as the settings say, or fanfare-data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,

    /// The file of settings that names the folder [default: fanfare.toml, if it is there]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
}

impl Folder {
    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.data {
            return Ok(folder.clone());
        }
        let sources = Sources { file: self.config.clone(), environment: std::env::vars().collect(), flags: Vec::new() };
        Ok(sources.read()?.config.storage.folder)
    }

    /// Opens the folder as a hub would, which mends damaged tables.
    fn open(&self) -> anyhow::Result<Archive> {
        let path = self.path()?;
        Archive::open(&path).map_err(|error| refusal(error, &path))
    }
}

/// Why a folder can't be opened.
fn refusal(error: StoreError, path: &Path) -> anyhow::Error {
    let advice = "stop the hub first, or work on a copy of the folder";
    match error {
        StoreError::Locked => anyhow::anyhow!("a hub runs on {}; {advice}", path.display()),
        error => anyhow::Error::from(error).context(format!("the folder {} can't be opened", path.display())),
    }
}
