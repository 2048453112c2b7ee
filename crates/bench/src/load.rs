//! The load: streams that read and publishers that publish, on threads of their own in this process.
//!
//! Every event begins with a [`marker`] that tells which event of which series it is and when it was due. Readers look
//! for markers in whatever arrives, and keep a [`tally`] of each stream.
//!
//! - [`readers`]: the threads that read, seen from outside; `reader.rs` is one of them, `stream.rs` one stream,
//!   `framing.rs` what HTTP puts around its bytes.
//! - [`publisher`]: a publisher and its connection. [`publishing`]: several of them, as fast as they are acknowledged or
//!   by a [`pace`]. [`spread`]: events to many channels.
//! - [`slow`]: streams that hardly read. [`vanished`]: clients that are gone without a word, beyond a [`cable`].
//!   [`progress`]: what somebody who waits sees. [`random`]: draws. [`mod@ask`]: what the
//!   server says of itself.

use std::path::PathBuf;
use std::time::Duration;

pub mod ask;
pub mod cable;
mod framing;
pub mod marker;
pub mod pace;
pub mod progress;
pub mod publisher;
pub mod publishing;
pub mod random;
mod reader;
pub mod readers;
pub mod slow;
pub mod spread;
mod stream;
pub mod tally;
pub mod vanished;

/// What all scenarios share.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadOptions {
    /// Threads that read streams.
    #[arg(long, default_value_t = Self::default().readers)]
    pub readers: usize,
    /// Bytes of an event's data, at least 32.
    #[arg(long, default_value_t = Self::default().bytes)]
    pub bytes: usize,
    /// Connections that are being opened at the same time, at most.
    #[arg(long, default_value_t = Self::default().opening_max)]
    pub opening_max: usize,
    /// Seconds without any delivery after which what is missing counts as lost.
    #[arg(long, default_value_t = Self::default().patience_s)]
    pub patience_s: u64,
    /// Where data folders of servers are made, and removed again; should be on a real disk.
    #[arg(long, value_name = "FOLDER", default_value = "target")]
    pub folder: PathBuf,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { readers: 1, bytes: 256, opening_max: 500, patience_s: 10, folder: "target".into() }
    }
}

impl LoadOptions {
    /// How long nothing may come before what is missing counts as lost.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_s)
    }
}
