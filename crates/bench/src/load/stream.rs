//! One stream, as its reader keeps it. There may be many thousands, so it is small.

use memchr::memmem;
use mio::net::TcpStream;

use crate::dialect::Dialect;
use crate::load::framing::{Framing, Refusal};
use crate::load::marker::{Finder, Marker, Rest};

/// One stream of a reader.
pub(super) struct Stream {
    /// The connection, if there is one.
    pub(super) socket: Option<TcpStream>,
    /// How far opening has come.
    pub(super) phase: Phase,
    /// When the connection was begun, in microseconds of the run.
    pub(super) begun_us: u32,
    /// Speaks on the connection; made anew for each.
    pub(super) dialect: Option<Box<dyn Dialect>>,
    /// What is to be sent and didn't fit.
    pub(super) unsent: Vec<u8>,
    framing: Framing,
    rest: Rest,
    /// Where the stream would go on; only if it is to come back.
    frames: Option<Box<Frames>>,
}

/// How far opening has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no connection.
    Closed,
    /// The connection is being made.
    Connecting,
    /// The request was sent.
    Opening,
    /// Everything that is published from here on belongs to it.
    Open,
}

/// Whole frames, for streams that come back: only a frame that has come to its end counts, and moves the last id.
#[derive(Default)]
struct Frames {
    /// The beginning of a frame that isn't whole yet.
    pending: Vec<u8>,
    last_id: String,
}

impl Stream {
    /// A stream without a connection.
    pub(super) fn new(remembers_id: bool) -> Self {
        Self {
            socket: None,
            phase: Phase::Closed,
            begun_us: 0,
            dialect: None,
            unsent: Vec::new(),
            framing: Framing::Raw,
            rest: Rest::default(),
            frames: remembers_id.then(Box::default),
        }
    }

    /// Begins anew with a connection that is being made.
    pub(super) fn begin(&mut self, socket: TcpStream, dialect: Box<dyn Dialect>, now_us: u32) {
        self.socket = Some(socket);
        self.dialect = Some(dialect);
        self.phase = Phase::Connecting;
        self.begun_us = now_us;
        self.framing = Framing::new();
        self.rest = Rest::default();
        self.unsent = Vec::new();
        if let Some(frames) = &mut self.frames {
            frames.pending.clear();
        }
    }

    /// Lets the connection go.
    pub(super) fn close(&mut self) {
        self.socket = None;
        self.dialect = None;
        self.phase = Phase::Closed;
    }

    /// The id with which it comes back.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.frames.as_ref().map(|frames| frames.last_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Looks for events in what was read, which stands in `buffer` from `at` on; there is room for a marker before it.
    pub(super) fn take(
        &mut self,
        buffer: &mut [u8],
        at: usize,
        finder: &mut Finder,
        found: impl FnMut(Marker),
    ) -> Result<(), Refusal> {
        let body = self.framing.strip(buffer.get_mut(at..).unwrap_or_default())?;
        let (start, end) = (at + body.start, at + body.end);
        if let Some(frames) = &mut self.frames {
            frames.take(buffer.get(start..end).unwrap_or_default(), finder, found);
            return Ok(());
        }
        self.rest.put(buffer.get_mut(..start).unwrap_or_default());
        finder.find(buffer.get(start - self.rest.len()..end).unwrap_or_default(), &mut self.rest, found);
        Ok(())
    }
}

impl Frames {
    fn take(&mut self, body: &[u8], finder: &mut Finder, found: impl FnMut(Marker)) {
        self.pending.extend_from_slice(body);
        let ends = [&b"\n\n"[..], b"\r\n\r\n"].map(|end| memmem::rfind(&self.pending, end).map(|at| at + end.len()));
        let Some(end) = ends.into_iter().flatten().max() else { return };
        let whole = self.pending.get(..end).unwrap_or_default();
        finder.find(whole, &mut Rest::default(), found);
        if let Some(id) = last_id(whole) {
            self.last_id.clear();
            self.last_id.push_str(id);
        }
        self.pending.drain(..end);
    }
}

/// The value of the last `id` line.
fn last_id(frames: &[u8]) -> Option<&str> {
    let line = match memmem::rfind(frames, b"\nid:") {
        Some(at) => frames.get(at + 1..)?,
        None if frames.starts_with(b"id:") => frames,
        None => return None,
    };
    let end = memchr::memchr2(b'\n', b'\r', line)?;
    std::str::from_utf8(line.get(3..end)?).ok().map(str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::marker::Data;

    #[test]
    fn only_whole_frames_count_and_move_the_last_id() {
        let marker = |number| Marker { series: 0, number, due_us: 0 };
        let mut data = Data::new(40);
        let frame = |number: u32, data: &mut Data| format!("id: {number}\ndata: {}\n\n", data.mark(marker(number)));
        let body = [frame(1, &mut data), ": x\n\nid: 7\ndata\n\n".into(), frame(8, &mut data)].concat();
        let end_of_first = frame(1, &mut data).len();
        for split in 0..=body.len() {
            let (mut frames, mut finder, mut found) = (Frames::default(), Finder::new(40), Vec::new());
            frames.take(&body.as_bytes()[..split], &mut finder, |marker| found.push(marker.number));
            let is_first_whole = split >= end_of_first;
            assert_eq!(frames.last_id.is_empty(), !is_first_whole, "{split}");
            assert_eq!(found.is_empty(), !is_first_whole, "{split}");
            frames.take(&body.as_bytes()[split..], &mut finder, |marker| found.push(marker.number));
            assert_eq!((found, frames.last_id.as_str()), (vec![1, 8], "8"), "{split}");
        }
    }
}
