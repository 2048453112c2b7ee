//! `fanfare config`: whether the settings can be used, what counts, and what there is to set.

use std::io::Write as _;

use clap::Subcommand;

use super::settings::Arguments;
use crate::config::reference;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the settings can be used, as `serve` would find them with the same flags and environment.
    Check(Arguments),
    /// Print the settings that count, as TOML, each with where it is from.
    Show(Arguments),
    /// Print the reference of all settings, as Markdown.
    Reference,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let text = match command {
        Command::Check(arguments) => {
            let loaded = arguments.sources()?.read()?;
            match loaded.file {
                Some(file) => format!("{} can be used\n", file.display()),
                None => "there is no file of settings; what the environment and flags say can be used\n".to_owned(),
            }
        }
        Command::Show(arguments) => arguments.sources()?.read()?.show(),
        Command::Reference => reference(),
    };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
