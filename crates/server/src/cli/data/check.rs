//! `fanfare data check`: reads everything and says what is damaged.

use std::io::Write as _;

use clap::Args;

use super::Folder;

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
    let report = arguments.folder.open()?.check()?;
    let mut out = std::io::stdout().lock();
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
