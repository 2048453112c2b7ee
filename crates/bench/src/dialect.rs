//! How a stream's connection is spoken on. The load program looks for markers in whatever bytes arrive; a dialect only
//! opens the stream, says when it is open and answers what must be answered.
//!
//! There is one for each stream, so it is small. It doesn't look at events, and knows neither sockets nor clocks.

mod long_poll;
mod socket_io;
mod sse;
mod web_socket;

pub use long_poll::LongPoll;
pub use socket_io::SocketIo;
pub use sse::Sse;
pub use web_socket::WebSocket;

/// Speaks on one stream's connection.
pub trait Dialect: Send {
    /// What is sent once the connection stands: the request for `path` of `host`, coming back with `last_event_id` if
    /// there is one.
    fn open(&mut self, host: &str, path: &str, last_event_id: Option<&str>) -> Vec<u8>;

    /// Looks at bytes that arrived, split anyhow; pushes what must be answered (pongs, the next poll) to `reply`; says
    /// whether the stream is open by now: whether it gets everything that is published from here on.
    fn received(&mut self, bytes: &[u8], reply: &mut Vec<u8>) -> bool;
}
