//! The binary `fanfare`: reads the command line, does what it says, and tells in one line if that can't be done.

use std::process::ExitCode;

use clap::Parser;
use fanfare::cli::Cli;

/// Memory that a crowd of connections or a burst of events took goes back to the system, even where small things that last
/// lie between large ones that are gone. See `.cargo/config.toml` for its settings.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // Without a thread of its own the allocator gives memory back only when it is asked for more.
    #[cfg(all(feature = "jemalloc", target_os = "linux"))]
    let _ = tikv_jemalloc_ctl::background_thread::write(true);
    // Says which cryptography is meant, before any library takes another one for granted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
