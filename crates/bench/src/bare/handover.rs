//! What the door hands to the deliverer: frames that are on disk, and sockets of new streams.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mio::net::TcpStream;

/// Where one thread leaves what the other takes.
#[derive(Debug)]
pub(super) struct Handover {
    parcel: Mutex<Parcel>,
    /// Wakes the deliverer.
    waker: mio::Waker,
}

/// All that was left since the last time.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    /// New streams, each with the place from which it goes on if it comes back.
    pub(super) streams: Vec<(TcpStream, Option<u64>)>,
    /// Frames, one behind the other. As many as publishers manage to publish in one round of the deliverer, which is
    /// bounded by their number: each waits for its acknowledgement.
    pub(super) frames: Vec<u8>,
    /// Where each of the frames ends on the tape.
    pub(super) ends: Vec<u64>,
    /// Whether nothing will follow.
    pub(super) is_closed: bool,
}

impl Handover {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { parcel: Mutex::default(), waker }
    }

    fn lock(&self) -> MutexGuard<'_, Parcel> {
        self.parcel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a new stream.
    pub(super) fn stream(&self, socket: TcpStream, place: Option<u64>) -> std::io::Result<()> {
        self.lock().streams.push((socket, place));
        self.waker.wake()
    }

    /// Leaves frames.
    pub(super) fn frames(&self, frames: &[u8], ends: &[u64]) -> std::io::Result<()> {
        let mut parcel = self.lock();
        // Whoever left something before has woken it already.
        let must_wake = parcel.frames.is_empty();
        parcel.frames.extend_from_slice(frames);
        parcel.ends.extend_from_slice(ends);
        drop(parcel);
        if must_wake { self.waker.wake() } else { Ok(()) }
    }

    /// Says that nothing will follow.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        // A deliverer that can't be woken has ended.
        let _ = self.waker.wake();
    }

    /// Takes all that was left, and leaves `emptied` in its place, so that its memory is used again.
    pub(super) fn take(&self, emptied: Parcel) -> Parcel {
        let mut parcel = self.lock();
        let is_closed = parcel.is_closed;
        std::mem::replace(&mut *parcel, Parcel { is_closed, ..emptied })
    }
}

impl Parcel {
    /// Empties it but keeps its memory.
    pub(super) fn clear(&mut self) {
        self.streams.clear();
        self.frames.clear();
        self.ends.clear();
    }
}
