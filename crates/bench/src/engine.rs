//! The engine, without sockets: how fast its parts are against what the machine could do at best.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fanfare_hub::{Draft, Event, Follows, Hub, HubConfig, Pattern, Publisher, Since, Stream, Subscribe};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::error::MeasureError;
use crate::machine::Machine;
use crate::payload::Payloads;
use crate::table::Table;
use crate::witness::{END, Witness};

mod append;
mod catchup;
mod decode;
mod encode;
mod wire;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A few seconds: shows that everything works, the figures mean nothing.
    Quick,
    /// Some minutes.
    Full,
}

/// A part of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Events into the bytes of a stream.
    Encode,
    /// The bytes of a stream into events.
    Decode,
    /// Publishing, up to the acknowledgement.
    Append,
    /// A stream that resumes from disk.
    Catchup,
}

impl Part {
    /// All parts, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Encode, Self::Decode, Self::Append, Self::Catchup];
}

/// How and where to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured.
    pub parts: Vec<Part>,
    /// How much is done.
    pub effort: Effort,
    /// Among how many the keys of events are, where appending them is held against the same without keys, too.
    pub keyed: Option<NonZeroUsize>,
    /// Where data folders are made, and removed again.
    pub folder: PathBuf,
}

/// What all measurements share.
struct Bench {
    effort: Effort,
    keyed: Option<NonZeroUsize>,
    /// Holds all data folders; removed at the end.
    folder: TempDir,
    runtime: Runtime,
    payloads: Arc<Payloads>,
}

/// Measures the engine.
///
/// # Errors
///
/// When something failed, or when what was read back is not what was published.
pub fn measure(options: &Options) -> Result<Table, MeasureError> {
    let bench = Bench::new(options)?;
    let mut rows = Vec::new();
    for part in &options.parts {
        match part {
            Part::Encode => rows.push(encode::measure(&bench)?),
            Part::Decode => rows.push(decode::measure(&bench)?),
            Part::Append => rows.extend(append::measure(&bench)?),
            Part::Catchup => rows.extend(catchup::measure(&bench)?),
        }
    }
    Ok(Table { machine: Machine::here(bench.folder.path()), rows })
}

impl Bench {
    fn new(options: &Options) -> Result<Self, MeasureError> {
        std::fs::create_dir_all(&options.folder)?;
        Ok(Self {
            effort: options.effort,
            keyed: options.keyed,
            folder: tempfile::Builder::new().prefix("fanfare-bench-").tempdir_in(&options.folder)?,
            runtime: tokio::runtime::Builder::new_multi_thread().build()?,
            payloads: Arc::default(),
        })
    }

    /// The one or the other, by how much is to be done.
    fn quick_or_full<T>(&self, quick: T, full: T) -> T {
        match self.effort {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// A data folder of its own, removed when it is let go.
    fn data_folder(&self) -> Result<TempDir, MeasureError> {
        Ok(tempfile::tempdir_in(self.folder.path())?)
    }
}

/// Opens a hub with these rules, and defaults for the rest.
fn open(folder: &Path, rules: Vec<fanfare_hub::Rule>) -> Result<Hub, MeasureError> {
    Ok(Hub::open_with(folder, HubConfig { rules, ..HubConfig::default() })?)
}

/// Publishes the event that ends what a witness reads.
async fn publish_end(hub: &Hub, channel: &str) -> Result<(), MeasureError> {
    let draft =
        Draft::new(vec![fanfare_hub::ChannelName::new(channel)?], Event::text("").named(END), Publisher::Anyone)?;
    hub.publish_draft(draft).await?;
    Ok(())
}

/// A stream of everything that matches a pattern, from where history begins.
fn everything(pattern: &str) -> Result<Follows, MeasureError> {
    Ok(Follows::new(vec![], vec![(Pattern::new(pattern)?, Since::Start)]))
}

/// Opens a stream.
fn subscribe(hub: &Hub, follows: Follows) -> Result<Stream, MeasureError> {
    Ok(hub.subscribe(Subscribe { follows, ..Subscribe::default() })?)
}

/// Lets a witness read a stream to its last event. Gives how many events it saw.
async fn witness(mut stream: Stream, mut witness: Witness) -> Result<u64, MeasureError> {
    while !witness.has_ended() {
        let Some(bytes) = stream.next().await else {
            return Err(MeasureError::Lost(format!("the stream ended after {} events", witness.events())));
        };
        witness.take(&bytes)?;
    }
    Ok(witness.events())
}
