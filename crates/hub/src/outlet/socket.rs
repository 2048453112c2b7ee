//! A stream's own socket. The door has read the request and hands the socket over; from then on only the stream's shard
//! writes to it, and nothing stands between.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;

use crate::limits::IGNORED_BYTES_MAX;
use crate::outlet::Written;
use crate::outlet::line::{Lines, Standing};

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

/// A socket that is written to by its shard alone. There may be very many, so times and counts are short, and wrap.
#[derive(Debug)]
pub(crate) struct SocketOutlet {
    socket: TcpStream,
    /// Bytes that the client sent, all of them ignored.
    ignored: u32,
    /// Since when the other side has taken nothing although something waits, in milliseconds; 0 where it takes, or nothing
    /// waits. Written by [`SocketOutlet::write`] when there is no room, and by [`SocketOutlet::look`].
    stuck_since_ms: u32,
    /// Bytes given to the system.
    written: u32,
    /// Those of them that the other side's system had confirmed at the last look; the head of the response counts too.
    confirmed: u32,
    /// How long the system bears a silent peer, in seconds, while that is lifted; 0 while it isn't.
    lifted_s: u16,
    /// Whether somebody has looked since it got stuck, so that the next look shows whether it moves.
    was_looked_at: bool,
    peer: Peer,
}

/// What is known of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// As it was at the last look.
    Seen(Standing),
    /// The system said that it can't be reached any more.
    Lost,
}

impl SocketOutlet {
    /// Takes a socket over. It must not block.
    pub(crate) fn new(socket: std::net::TcpStream) -> Self {
        Self {
            socket: TcpStream::from_std(socket),
            ignored: 0,
            stuck_since_ms: 0,
            written: 0,
            confirmed: 0,
            lifted_s: 0,
            was_looked_at: false,
            peer: Peer::Seen(Standing::Flowing),
        }
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
                    self.written = self.written.wrapping_add(count as u32);
                    // The system's own buffer may take something while the other side takes nothing.
                    if self.peer != Peer::Seen(Standing::Closed) {
                        self.is_unstuck();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stuck_since_ms == 0 {
                        self.stuck_since_ms = stamp(now);
                    }
                    return Written::Part(written);
                }
                Err(error) => {
                    self.failed(&error);
                    return Written::Gone;
                }
            }
        }
        Written::All
    }

    /// The kernel has said that there is room again: the other side has taken much.
    pub(crate) fn has_room(&mut self) {
        self.peer = Peer::Seen(Standing::Flowing);
        self.is_unstuck();
    }

    fn is_unstuck(&mut self) {
        self.stuck_since_ms = 0;
        self.was_looked_at = false;
    }

    /// Whether it should be looked at even if it has room and nothing was written lately.
    pub(crate) fn wants_look(&self) -> bool {
        self.stuck_since_ms != 0 || self.lifted_s != 0
    }

    /// Looks how the connection stands. Room is told only when much has become free, so a slow reader seems to take nothing
    /// for a long time; what its system confirms shows that it does.
    ///
    /// The system's own limit for silent peers would also cut those who are there and have no room, and, on Linux, those
    /// who take a little now and then (its clock goes on as long as what waits first doesn't fit whole). So it is lifted
    /// where the other side answers but has no room: then it is for us to say how long that is borne.
    pub(crate) fn look(&mut self, lines: &mut Lines, is_full: bool, now: Duration) {
        let Some(line) = lines.ask(&self.socket) else { return };
        let confirmed = self.written.wrapping_sub(line.unconfirmed);
        let moves = std::mem::replace(&mut self.confirmed, confirmed) != confirmed;
        if self.peer != Peer::Lost {
            self.peer = Peer::Seen(line.standing);
        }
        if !is_full && line.standing != Standing::Closed {
            self.is_unstuck();
            self.lift(false);
            return;
        }
        if self.stuck_since_ms == 0 || (moves && self.was_looked_at) {
            self.stuck_since_ms = stamp(now);
        }
        self.was_looked_at = true;
        self.lift(line.standing != Standing::Silent);
    }

    /// Lifts the system's own limit for silent peers, or has it hold again.
    #[cfg(target_os = "linux")]
    fn lift(&mut self, is_lifted: bool) {
        use rustix::net::sockopt::{set_tcp_user_timeout, tcp_user_timeout};
        if is_lifted == (self.lifted_s != 0) {
            return;
        }
        // A socket that has none, or can't tell, stays as it is.
        if is_lifted {
            let limit_s = tcp_user_timeout(&self.socket).unwrap_or(0).div_ceil(1_000);
            if limit_s > 0 && set_tcp_user_timeout(&self.socket, 0).is_ok() {
                self.lifted_s = u16::try_from(limit_s).unwrap_or(u16::MAX);
            }
        } else if set_tcp_user_timeout(&self.socket, u32::from(self.lifted_s) * 1_000).is_ok() {
            self.lifted_s = 0;
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn lift(&mut self, _is_lifted: bool) {}

    /// In how long nothing will have been taken for so long; `None` while something is, or nothing waits.
    pub(crate) fn stalled_in(&self, now: Duration, stall_max: Duration) -> Option<Duration> {
        let stuck = Duration::from_millis(stamp(now).wrapping_sub(self.stuck_since_ms).into());
        (self.stuck_since_ms != 0).then(|| stall_max.saturating_sub(stuck))
    }

    pub(crate) fn is_stalled(&self, now: Duration, stall_max: Duration) -> bool {
        self.stalled_in(now, stall_max).is_some_and(|left| left.is_zero())
    }

    /// Whether the other side answered nothing at the last look.
    pub(crate) fn is_silent(&self) -> bool {
        self.peer == Peer::Seen(Standing::Silent)
    }

    fn failed(&mut self, error: &io::Error) {
        if is_loss(error) {
            self.peer = Peer::Lost;
        }
    }

    /// Whether the system gave the connection up, since the other side's confirmed nothing.
    pub(crate) fn has_timed_out(&self) -> bool {
        // Whatever met the error first has taken it from the socket.
        self.peer == Peer::Lost || matches!(self.socket.take_error(), Ok(Some(error)) if is_loss(&error))
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
                    self.failed(&error);
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

/// A time in few bytes; never 0.
fn stamp(now: Duration) -> u32 {
    (now.as_millis() as u32).max(1)
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
