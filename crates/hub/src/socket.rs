//! A stream's own socket. The door has read the request and hands the socket over; from then on only the stream's shard
//! writes to it, and nothing stands between.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;

use crate::limits::IGNORED_BYTES_MAX;
use crate::outlet::Written;

/// What a look at what the client sends has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that matters.
    Nothing,
    /// The client has gone.
    Gone,
    /// The client sends more than anybody has to say on a stream.
    TooMuch,
}

/// A socket that is written to by its shard alone.
#[derive(Debug)]
pub(crate) struct SocketOutlet {
    socket: TcpStream,
    /// Bytes that the client sent, all of them ignored.
    ignored: u32,
    /// Since when the socket has had no room, in milliseconds; 0 while it has.
    full_since_ms: u64,
}

impl SocketOutlet {
    /// Takes a socket over. It must not block.
    pub(crate) fn new(socket: std::net::TcpStream) -> Self {
        Self { socket: TcpStream::from_std(socket), ignored: 0, full_since_ms: 0 }
    }

    /// What the shard watches.
    pub(crate) fn source(&mut self) -> &mut impl Source {
        &mut self.socket
    }

    pub(crate) fn write(&mut self, bytes: &[u8], now: Duration) -> Written {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Written::Gone,
                Ok(count) => {
                    written += count;
                    self.full_since_ms = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.full_since_ms == 0 {
                        self.full_since_ms = now.as_millis().max(1) as u64;
                    }
                    return Written::Part(written);
                }
                Err(_) => return Written::Gone,
            }
        }
        Written::All
    }

    pub(crate) fn is_stalled(&self, now: Duration, stall_max: Duration) -> bool {
        let full_for = now.saturating_sub(Duration::from_millis(self.full_since_ms));
        self.full_since_ms != 0 && full_for >= stall_max
    }

    /// Reads what the client sent. Nothing of it matters: HTTP has no word for a client to say while it is being answered.
    pub(crate) fn hear(&mut self) -> Heard {
        let mut scratch = [0; 4096];
        loop {
            match self.socket.read(&mut scratch) {
                Ok(0) => return Heard::Gone,
                Ok(count) => {
                    self.ignored = self.ignored.saturating_add(count as u32);
                    if self.ignored > IGNORED_BYTES_MAX {
                        return Heard::TooMuch;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Ends the response: what was written still arrives. Dropping the socket closes it.
    pub(crate) fn end(&mut self) {
        // It may be gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
