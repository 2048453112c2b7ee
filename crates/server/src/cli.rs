//! The command line: `fanfare serve`, `publish`, `subscribe`, `config`, `data`, `completions`. A command is a file with its arguments.

use clap::{Parser, Subcommand};

pub(crate) mod client;
mod completions;
mod config;
mod data;
mod publish;
mod serve;
mod settings;
mod subscribe;

/// Self-hosted real-time server: publish with one POST, listen over Server-Sent Events, resume exactly.
///
/// Without a command it serves, on port 8080 of this machine.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: settings::Arguments,
}

const EXAMPLES: &str = "\
Examples:
  fanfare                                        serve, and open http://localhost:8080
  curl -N 'localhost:8080/events?channel=news'   listen
  curl -d hello localhost:8080/channels/news     publish
  fanfare subscribe news --since last:10         listen from the shell, for ever
  fanfare publish news hello                     publish from the shell
  fanfare --config hub.toml --listen [::]:80     serve with settings; flags win
  fanfare config show                            what counts, and where it is from";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: take events and give them to all that listen.
    Serve(settings::Arguments),
    /// Publish an event to a running server.
    Publish(publish::Arguments),
    /// Listen to a running server and print what arrives.
    Subscribe(subscribe::Arguments),
    /// Check, show or explain the settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Check, count, export or import a data folder while no hub runs on it.
    #[command(subcommand)]
    Data(data::Command),
    /// Print a script that completes this command line in a shell.
    Completions(completions::Arguments),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    ///
    /// When it can't be done. The error and its causes are for people.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command.unwrap_or(Command::Serve(self.serve)) {
            Command::Serve(arguments) => serve::run(arguments).await,
            Command::Publish(arguments) => publish::run(arguments).await,
            Command::Subscribe(arguments) => subscribe::run(arguments).await,
            Command::Config(command) => config::run(&command),
            Command::Data(command) => data::run(&command),
            Command::Completions(arguments) => {
                completions::run(&arguments);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_what_happens_without_a_command() {
        let cli = Cli::try_parse_from(["fanfare", "--listen", "localhost:0"]).unwrap();
        assert!(cli.command.is_none());
        let cli = Cli::try_parse_from(["fanfare", "subscribe", "a", "--since", "last:3"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Subscribe(_))));
        assert!(Cli::try_parse_from(["fanfare", "subscribe"]).is_err(), "nothing to listen to");
        assert!(Cli::try_parse_from(["fanfare", "subscribe", "a", "--since", "soon"]).is_err());
    }
}
