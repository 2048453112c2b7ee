//! `fanfare data check`: reads everything and says what is damaged.

use std::io::Write as _;

use clap::Args;
use fanfare_hub::{Archive, StoreError};

use super::{Folder, refusal};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fanfare data check                            the folder that the settings name
  fanfare data check --data /backup/fanfare     a copy of one, before it is relied on")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    folder: Folder,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = arguments.folder.path()?;
    let mut out = std::io::stdout().lock();
    let archive = match Archive::open_as_it_is(&path) {
        Err(StoreError::Unreadable { what, .. }) => {
            let said = Archive::look(&path).map_err(|error| refusal(error, &path))?;
            for what in if said.is_empty() { vec![what] } else { said } {
                writeln!(out, "{what}")?;
            }
            anyhow::bail!(
                "tables of {} are damaged. A start of the hub mends them, and tells listeners a gap where events are lost; \
                 so does `fanfare data export`. Keep a copy of the folder before",
                path.display()
            );
        }
        opened => opened.map_err(|error| refusal(error, &path))?,
    };
    let report = archive.check()?;
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    for (from, to) in &report.lost {
        writeln!(out, "lost earlier, and listeners are told: events after {from} up to {to}")?;
    }
    writeln!(out, "{} events of {} channels were read", report.events, report.channels)?;
    if report.problems_count > 0 {
        anyhow::bail!(
            "{} problems were found; listeners are told a gap where events can't be read. To be rid of the damage, restore \
             a backup, or `fanfare data export` what can be read and import it into an empty folder",
            report.problems_count
        );
    }
    Ok(writeln!(out, "nothing is damaged")?)
}
