//! The binary `fanfare`: reads the command line, does what it says, and tells in one line if that can't be done.

use std::process::ExitCode;

use clap::Parser;
use fanfare::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
