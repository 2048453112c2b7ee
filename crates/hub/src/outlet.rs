//! Where a stream's bytes go: a socket of its own, or a response body. Both take as much as they have room for, say when
//! they have room again, and are never given more meanwhile.

use std::time::Duration;

use self::line::Lines;
use self::mailbox::BodyOutlet;
use self::socket::SocketOutlet;
use crate::index::StreamKey;

pub(crate) mod line;
pub(crate) mod mailbox;
pub(crate) mod socket;

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it was taken.
    All,
    /// So many bytes were taken, and there is no room for more. The outlet tells when there is.
    Part(usize),
    /// Nobody is there any more.
    Gone,
}

/// What takes a stream's bytes.
#[derive(Debug)]
pub(crate) enum Outlet {
    Body(BodyOutlet),
    Socket(SocketOutlet),
}

impl Outlet {
    /// Tells the other side which stream it belongs to.
    pub(crate) fn belongs_to(&self, key: StreamKey) {
        match self {
            Self::Body(body) => body.belongs_to(key),
            Self::Socket(_) => {}
        }
    }

    /// Takes as much as there is room for.
    pub(crate) fn write(&mut self, bytes: &[u8], now: Duration) -> Written {
        match self {
            Self::Body(body) => body.write(bytes),
            Self::Socket(socket) => socket.write(bytes, now),
        }
    }

    /// The other side has said that there is room again.
    pub(crate) fn has_room(&mut self) {
        match self {
            Self::Body(_) => {}
            Self::Socket(socket) => socket.has_room(),
        }
    }

    /// Looks how the connection stands, where that can be seen: if it `is_full`, if something was sent lately, or if there
    /// is a reason of its own.
    pub(crate) fn look(&mut self, lines: &mut Lines, is_full: bool, is_busy: bool, now: Duration) {
        if let Self::Socket(socket) = self
            && (is_full || is_busy || socket.wants_look())
        {
            socket.look(lines, is_full, now);
        }
    }

    /// In how long a reader that takes nothing will be stalled, where that is known.
    pub(crate) fn stalled_in(&self, now: Duration, stall_max: Duration) -> Option<Duration> {
        match self {
            Self::Body(_) => None,
            Self::Socket(socket) => socket.stalled_in(now, stall_max),
        }
    }

    /// Whether the reader has taken nothing of what is there for so long.
    pub(crate) fn is_stalled(&mut self, now: Duration, stall_max: Duration) -> bool {
        match self {
            Self::Body(body) => body.is_stalled(now, stall_max),
            Self::Socket(socket) => socket.is_stalled(now, stall_max),
        }
    }

    /// Whether not even the reader's system answers.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Socket(socket) if socket.is_silent())
    }

    /// Whether the reader vanished without a word.
    pub(crate) fn has_timed_out(&self) -> bool {
        matches!(self, Self::Socket(socket) if socket.has_timed_out())
    }

    /// Lets the reader take what is there, then ends.
    pub(crate) fn end(&mut self) {
        match self {
            Self::Body(body) => body.end(),
            Self::Socket(socket) => socket.end(),
        }
    }
}
