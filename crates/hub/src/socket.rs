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
    /// Whether the system said that the other side can't be reached any more.
    is_lost: bool,
}

impl SocketOutlet {
    /// Takes a socket over. It must not block.
    pub(crate) fn new(socket: std::net::TcpStream) -> Self {
        Self { socket: TcpStream::from_std(socket), ignored: 0, full_since_ms: 0, is_lost: false }
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
                Err(error) => {
                    self.is_lost |= is_loss(&error);
                    return Written::Gone;
                }
            }
        }
        Written::All
    }

    /// The kernel has said that there is room again.
    pub(crate) fn has_room(&mut self) {
        self.full_since_ms = 0;
    }

    /// When it will have been full for so long; `None` while it isn't.
    pub(crate) fn stalled_at(&self, stall_max: Duration) -> Option<Duration> {
        (self.full_since_ms != 0).then(|| Duration::from_millis(self.full_since_ms) + stall_max)
    }

    pub(crate) fn is_stalled(&self, now: Duration, stall_max: Duration) -> bool {
        self.stalled_at(stall_max).is_some_and(|at| now >= at)
    }

    /// Whether the system gave the connection up, since the other side's confirmed nothing.
    pub(crate) fn has_timed_out(&self) -> bool {
        // Whatever met the error first has taken it from the socket.
        self.is_lost || matches!(self.socket.take_error(), Ok(Some(error)) if is_loss(&error))
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
                Err(error) => {
                    self.is_lost |= is_loss(&error);
                    return Heard::Gone;
                }
            }
        }
    }

    /// Ends the response: what was written still arrives. Dropping the socket closes it.
    pub(crate) fn end(&mut self) {
        // It may be gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Whether an error says that the other side vanished without a word. Which one it is depends on what the system found out
/// last: nothing at all, or that nobody has that address any more, or that no way leads there.
fn is_loss(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    matches!(error.kind(), TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a connection.
    fn pair() -> (SocketOutlet, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (SocketOutlet::new(server), client)
    }

    #[test]
    fn a_full_socket_says_how_much_it_took_and_is_stalled_in_time() {
        let (mut outlet, mut client) = pair();
        let bytes = vec![b'x'; 100 << 20];
        let second = Duration::from_secs(1);
        let Written::Part(count) = outlet.write(&bytes, second) else { panic!("no socket takes 100 MB") };
        assert!(count > 0 && count < bytes.len());
        assert!(!outlet.is_stalled(2 * second, 2 * second));
        assert!(outlet.is_stalled(3 * second, 2 * second));
        let mut read = vec![0; count];
        client.read_exact(&mut read).unwrap();
        // Room comes when the other side's kernel has said so.
        while !matches!(outlet.write(b"more", 3 * second), Written::All) {
            std::thread::yield_now();
        }
        assert!(!outlet.is_stalled(9 * second, 2 * second), "something was taken");
    }

    #[test]
    fn what_the_client_sends_is_ignored_up_to_a_limit() {
        let (mut outlet, mut client) = pair();
        assert_eq!(outlet.hear(), Heard::Nothing);
        let sent = std::thread::spawn(move || {
            client.write_all(&vec![b'x'; IGNORED_BYTES_MAX as usize + 1]).unwrap();
            client
        });
        let heard = std::iter::repeat_with(|| outlet.hear()).find(|heard| *heard != Heard::Nothing);
        assert_eq!(heard, Some(Heard::TooMuch));
        drop(sent.join().unwrap());
        let (mut outlet, client) = pair();
        drop(client);
        let heard = std::iter::repeat_with(|| outlet.hear()).find(|heard| *heard != Heard::Nothing);
        assert_eq!(heard, Some(Heard::Gone));
    }

    #[test]
    fn whoever_vanished_is_told_from_whoever_left() {
        // As Linux numbers them.
        #[cfg(target_os = "linux")]
        for (number, is_so) in [(110, true), (113, true), (101, true), (100, true), (104, false), (32, false)] {
            assert_eq!(is_loss(&io::Error::from_raw_os_error(number)), is_so, "{number}");
        }
        let (mut outlet, client) = pair();
        drop(client);
        while outlet.hear() != Heard::Gone {}
        assert!(!outlet.has_timed_out());
    }

    #[test]
    fn the_end_comes_after_what_was_written() {
        let (mut outlet, mut client) = pair();
        assert_eq!(outlet.write(b"bye", Duration::ZERO), Written::All);
        outlet.end();
        drop(outlet);
        let mut read = String::new();
        client.read_to_string(&mut read).unwrap();
        assert_eq!(read, "bye");
    }
}
