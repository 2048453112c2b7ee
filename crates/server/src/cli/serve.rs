//! `fanfare serve`: reads the settings, serves until a signal says to stop.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::DoorConfig;
use crate::host::{Host, Origin};
use crate::limits::{CONNECTIONS_BESIDE_STREAMS, STREAMS_MAX};
use crate::listener::Listen;
use crate::open_files;
use crate::serve::{ServeConfig, serve};

/// The status of a process that was interrupted, by the shell's convention.
const INTERRUPTED: i32 = 130;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Where to listen; may be repeated. `localhost:PORT` is both loopback addresses, IPv4 and IPv6; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "FANFARE_LISTEN",
        value_delimiter = ',',
        default_value = "localhost:8080"
    )]
    listen: Vec<Listen>,

    /// The folder of the data; made if it isn't there
    #[arg(long, value_name = "FOLDER", env = "FANFARE_DATA", default_value = "fanfare-data")]
    data: PathBuf,

    /// A name, beside localhost, by which this server may be called; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host)]
    allow_host: Vec<String>,

    /// An origin, `https://` and a name, whose pages may publish and listen; may be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,

    /// Listen on addresses that other machines can reach, and answer to any IP address
    #[arg(long)]
    allow_anyone: bool,

    /// How many streams there may be; further ones are told to come back later
    #[arg(long, value_name = "COUNT", env = "FANFARE_STREAMS_MAX", default_value_t = STREAMS_MAX)]
    streams_max: usize,
}

fn host(text: &str) -> Result<String, &'static str> {
    Host::parse(text).map(|_| text.to_owned()).ok_or("must be a name or an address without a port")
}

fn origin(text: &str) -> Result<String, &'static str> {
    let is_origin = Origin::parse(text).is_some() && text == text.to_ascii_lowercase();
    is_origin
        .then(|| text.to_owned())
        .ok_or("must look as browsers send it: https://www.example.com, in lower case, no path")
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    log_to_stderr();
    let Arguments { listen, data, allow_host, allow_origin, allow_anyone, streams_max } = arguments;
    open_files::allow(streams_max + CONNECTIONS_BESIDE_STREAMS);
    let door = DoorConfig { allow_hosts: allow_host, allow_origins: allow_origin, allow_anyone };
    let mut signals = Signals::new().context("signals can't be received")?;
    let (stop, stopped) = oneshot::channel();
    let mut stop = Some(stop);
    let mut life = std::pin::pin!(serve(ServeConfig { listen, data, door, streams_max }, async {
        let _ = stopped.await;
    }));
    loop {
        tokio::select! {
            ended = &mut life => return Ok(ended?),
            () = signals.next() => match stop.take() {
                Some(stop) => {
                    let _ = stop.send(());
                }
                // Whoever asks twice means it. What was acknowledged is on disk.
                None => std::process::exit(INTERRUPTED),
            },
        }
    }
}

/// Logs go to the standard error, filtered by `FANFARE_LOG` or `RUST_LOG`.
fn log_to_stderr() {
    let filter = ["FANFARE_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::new(filter.unwrap_or_else(|| "info".into()));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // Fails only where a program that embeds this logs already, which is just as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .try_init();
}

/// The two signals that mean stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
