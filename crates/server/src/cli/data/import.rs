//! `fanfare data import`: events from lines of JSON into a data folder.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use fanfare_hub::{Import, OpenError, StoreError};

use super::Folder;
use super::line::Line;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fanfare data import --data /srv/fresh events.ndjson
  zcat events.ndjson.gz | fanfare data import --data /srv/fresh

Events are added in the order of the lines, after all that are in the folder, with their channels and times. They get new
ids: listeners that come back with old ones are told a gap. What the hub's rules don't keep it removes when it runs.")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,

    /// The file to read [default: the standard input]
    #[arg(value_name = "FILE")]
    input: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = arguments.folder.path()?;
    let input: Box<dyn BufRead> = match &arguments.input {
        Some(file) => {
            Box::new(BufReader::new(File::open(file).with_context(|| format!("{} can't be read", file.display()))?))
        }
        None => Box::new(std::io::stdin().lock()),
    };
    let mut import = Import::open(&path).map_err(|error| match error {
        OpenError::Store(StoreError::Locked) => {
            anyhow::anyhow!("a hub runs on {}; stop it first", path.display())
        }
        error => anyhow::Error::from(error).context(format!("the folder {} can't be opened", path.display())),
    })?;
    let mut count = 0u64;
    let mut failed = None;
    for (at, line) in input.lines().enumerate() {
        let add = || -> anyhow::Result<()> {
            let line: Line = serde_json::from_str(&line?)?;
            Ok(import.add(line.record()?)?)
        };
        if let Err(error) = add() {
            failed = Some(error.context(format!("line {}", at + 1)));
            break;
        }
        count += 1;
    }
    import.finish()?;
    eprintln!("{count} events were imported into {}", path.display());
    failed.map_or(Ok(()), |error| Err(error.context("the import stopped; the lines before are in the folder")))
}
