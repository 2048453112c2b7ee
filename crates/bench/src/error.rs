//! Why a measurement was given up. There is no figure that is half true.

use fanfare_hub::{AppendError, DraftError, NameError, OpenError, PublishError, SubscribeError};
use fanfare_wire::{DecodeError, EncodeError};

/// Why a measurement was given up.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A file, a folder or a thread failed.
    #[error("a file, a folder or a thread could not be used")]
    Io(#[from] std::io::Error),
    /// A hub could not be opened.
    #[error("a hub could not be opened")]
    Open(#[from] OpenError),
    /// A channel's name is not one.
    #[error("a channel's name is not one")]
    Name(#[from] NameError),
    /// An event is not as it must be.
    #[error("an event is not as it must be")]
    Draft(#[from] DraftError),
    /// An event was not published.
    #[error("an event was not published")]
    Publish(#[from] PublishError),
    /// The log refused an event of a batch.
    #[error("the log refused an event")]
    Append(#[from] AppendError),
    /// A stream was not opened.
    #[error("a stream was not opened")]
    Subscribe(#[from] SubscribeError),
    /// An event could not be encoded.
    #[error("an event could not be encoded")]
    Encode(#[from] EncodeError),
    /// A stream could not be decoded.
    #[error("a stream could not be decoded")]
    Decode(#[from] DecodeError),
    /// A task panicked.
    #[error("a task panicked")]
    Join(#[from] tokio::task::JoinError),
    /// The bare limit's own thread or channel ended early.
    #[error("the bare limit ended early")]
    Limit,
    /// A thread of the load panicked or ended early.
    #[error("a thread of the load ended early")]
    Thread,
    /// A server's address is not one.
    #[error("a server's address is not one")]
    Address,
    /// The server refused a request or a stream.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server did not start or stop as it should.
    #[error("the server {0}")]
    Server(String),
    /// The server doesn't offer what the scenario needs.
    #[error("the server doesn't offer {0}")]
    Unsupported(&'static str),
    /// Figures could not be read or written as JSON.
    #[error("figures could not be read or written")]
    Json(#[from] serde_json::Error),
    /// A chart could not be drawn.
    #[error("a chart could not be drawn: {0}")]
    Chart(String),
    /// What was read back is not what was published.
    #[error("not what was published: {0}")]
    Lost(String),
}
