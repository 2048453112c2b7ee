//! `fanfare serve`: reads the settings, serves until a signal says to stop, reads the settings again when one says so.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::settings::Arguments;
use crate::config::{Loaded, Sources};
use crate::logging;
use crate::serve::Server;

/// The status of a process that was interrupted, by the shell's convention.
const INTERRUPTED: i32 = 130;

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let sources = arguments.sources()?;
    let Loaded { config, file, .. } = sources.read()?;
    let log = logging::start(&config.log);
    if let Some(file) = file {
        tracing::info!(file = %file.display(), "settings were read");
    }
    let mut signals = Signals::new().context("signals can't be received")?;
    let mut server = Server::start(config).await?;
    while signals.next().await == Word::Reload {
        reload(&sources, &log, &mut server);
    }
    let mut stopping = std::pin::pin!(server.stop());
    loop {
        tokio::select! {
            () = &mut stopping => return Ok(()),
            // Whoever asks twice means it. What was acknowledged is on disk.
            word = signals.next() => if word == Word::Stop { std::process::exit(INTERRUPTED) },
        }
    }
}

/// Reads the settings again. A mistake in them must not stop a server that runs.
fn reload(sources: &Sources, log: &logging::Reload, server: &mut Server) {
    match sources.read() {
        Ok(Loaded { config, .. }) => {
            log.reload(&config.log);
            server.reload(&config);
        }
        Err(error) => {
            tracing::error!("the settings can't be used, and are as before: {:#}", anyhow::Error::from(error));
        }
    }
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// `SIGINT` or `SIGTERM`.
    Stop,
    /// `SIGHUP`.
    Reload,
}

/// The signals that mean something to us.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next.
    async fn next(&mut self) -> Word {
        tokio::select! {
            _ = self.interrupt.recv() => Word::Stop,
            _ = self.terminate.recv() => Word::Stop,
            _ = self.hangup.recv() => Word::Reload,
        }
    }
}
