//! The command line: `fanfare serve`, `fanfare publish`, `fanfare subscribe`. A command is a file with its arguments.

use clap::{Parser, Subcommand};

mod publish;
mod serve;
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
    serve: serve::Arguments,
}

const EXAMPLES: &str = "\
Examples:
  fanfare                                        serve, and open http://localhost:8080
  curl -N 'localhost:8080/events?channel=news'   listen
  curl -d hello localhost:8080/channels/news     publish
  fanfare subscribe news --since last:10         listen from the shell, for ever
  fanfare publish news hello                     publish from the shell";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: take events and give them to all that listen.
    Serve(serve::Arguments),
    /// Publish an event to a running server.
    Publish(publish::Arguments),
    /// Listen to a running server and print what arrives.
    Subscribe(subscribe::Arguments),
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
