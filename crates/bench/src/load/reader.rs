//! A thread that reads streams: opens them, looks for events in what arrives, keeps their tally.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::dialect::Dialect;
use crate::error::MeasureError;
use crate::load::marker::{Finder, MARKER_BYTES, Marker};
use crate::load::pace::Clock;
use crate::load::readers::{Record, StreamPlan};
use crate::load::stream::{Phase, Stream};
use crate::load::tally::Tally;

mod shared;

pub(super) use shared::Shared;

pub(super) const WAKER: Token = Token(usize::MAX);

/// Bytes that are read at once. One buffer serves all streams of a reader.
const READ_BYTES: usize = 256 * 1024;

/// What a reader is told. Streams are named by their places among its own.
#[derive(Debug)]
pub(super) enum Command {
    /// Open those that aren't open.
    Open(Range<usize>),
    /// Close those, as a client that goes away.
    Close(Range<usize>),
    /// End, and give the tally.
    Finish,
}

/// What a reader needs to begin.
pub(super) struct Setup {
    pub(super) address: SocketAddr,
    /// What `Host` says.
    pub(super) host: String,
    pub(super) dialect: fn() -> Box<dyn Dialect>,
    pub(super) streams: Vec<StreamPlan>,
    /// Series that each stream follows.
    pub(super) width: u32,
    pub(super) remembers_ids: bool,
    pub(super) record: Record,
    pub(super) opening_max: usize,
    pub(super) data_bytes: usize,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
}

/// The thread.
pub(super) struct Reader {
    setup: Setup,
    poll: Poll,
    commands: Receiver<Command>,
    streams: Vec<Stream>,
    /// Streams that are to be opened.
    to_open: VecDeque<usize>,
    /// Streams that are being opened.
    opening: usize,
    tally: Tally,
    finder: Finder,
    /// What is read, with room for the beginning of a marker before it.
    buffer: Vec<u8>,
    /// What a dialect answers.
    reply: Vec<u8>,
}

impl Reader {
    pub(super) fn new(setup: Setup, poll: Poll, commands: Receiver<Command>) -> Self {
        let first = setup.streams.iter().map(|plan| plan.first_series).collect();
        Self {
            poll,
            commands,
            streams: setup.streams.iter().map(|_| Stream::new(setup.remembers_ids)).collect(),
            to_open: VecDeque::new(),
            opening: 0,
            tally: Tally::new(setup.width, first),
            finder: Finder::new(setup.data_bytes),
            buffer: vec![0; MARKER_BYTES + READ_BYTES],
            reply: Vec::new(),
            setup,
        }
    }

    /// Reads until it is told to finish.
    pub(super) fn run(mut self) -> Result<Tally, MeasureError> {
        let mut events = Events::with_capacity(1_024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() != WAKER {
                    self.ready(event);
                }
            }
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Open(range)) => self.to_open.extend(range),
                    Ok(Command::Close(range)) => range.for_each(|at| self.close(at)),
                    Ok(Command::Finish) | Err(TryRecvError::Disconnected) => return Ok(self.tally),
                    Err(TryRecvError::Empty) => break,
                }
            }
            while self.opening < self.setup.opening_max
                && let Some(at) = self.to_open.pop_front()
            {
                self.connect(at)?;
            }
        }
    }

    /// Begins to connect a stream that isn't open.
    fn connect(&mut self, at: usize) -> Result<(), MeasureError> {
        let Some(stream) = self.streams.get_mut(at).filter(|stream| stream.phase == Phase::Closed) else {
            return Ok(());
        };
        let mut socket = TcpStream::connect(self.setup.address)?;
        self.poll.registry().register(&mut socket, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        stream.begin(socket, (self.setup.dialect)(), self.setup.clock.now_us());
        self.opening += 1;
        Ok(())
    }

    /// Lets a stream go from this side.
    fn close(&mut self, at: usize) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        match stream.phase {
            Phase::Closed => return,
            Phase::Open => {
                self.setup.shared.open.fetch_sub(1, Ordering::Relaxed);
            }
            Phase::Connecting | Phase::Opening => self.opening -= 1,
        }
        stream.close();
    }

    /// The server ended a stream, or it could not be opened.
    fn lose(&mut self, at: usize, status: u16) {
        let was_open = self.streams.get(at).is_some_and(|stream| stream.phase == Phase::Open);
        self.close(at);
        if was_open {
            self.setup.shared.cut.fetch_add(1, Ordering::Relaxed);
        } else {
            self.setup.shared.status.store(u64::from(status), Ordering::Relaxed);
            self.setup.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Something can be done with a stream.
    fn ready(&mut self, event: &Event) {
        let Token(at) = event.token();
        let Some(stream) = self.streams.get_mut(at) else { return };
        if stream.phase == Phase::Connecting {
            let Some(socket) = &stream.socket else { return };
            // Not connected yet, though told of (mio, `TcpStream::connect`).
            let is_pending = socket.peer_addr().is_err_and(|error| error.kind() == ErrorKind::NotConnected);
            match socket.take_error() {
                Ok(None) if is_pending && !event.is_error() => return,
                Ok(None) => {}
                _ => return self.lose(at, 0),
            }
            let path = self.setup.streams.get(at).map_or("/", |plan| &plan.path);
            let last_id = stream.last_id().map(str::to_owned);
            if let Some(dialect) = &mut stream.dialect {
                stream.unsent = dialect.open(&self.setup.host, path, last_id.as_deref());
            }
            stream.phase = Phase::Opening;
        }
        if event.is_writable() && !stream.unsent.is_empty() && send(stream).is_err() {
            return self.lose(at, 0);
        }
        if event.is_readable()
            && let Err(Lost(status)) = self.read(at)
        {
            self.lose(at, status);
        }
    }

    /// Reads all that has arrived on a stream.
    fn read(&mut self, at: usize) -> Result<(), Lost> {
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        loop {
            let Some(socket) = &mut stream.socket else { return Ok(()) };
            let count = match socket.read(self.buffer.get_mut(MARKER_BYTES..).unwrap_or_default()) {
                Ok(0) => return Err(Lost(0)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Lost(0)),
            };
            let piece = self.buffer.get_mut(..MARKER_BYTES + count).unwrap_or_default();
            if let Some(dialect) = &mut stream.dialect {
                let arrived = piece.get(MARKER_BYTES..).unwrap_or_default();
                let is_open = dialect.received(arrived, &mut self.reply);
                if is_open && stream.phase == Phase::Opening {
                    stream.phase = Phase::Open;
                    self.opening -= 1;
                    self.setup.shared.has_opened(&self.setup.clock, stream.begun_us);
                }
            }
            let mut seen = Seen::default();
            let (record, begun_us) = (self.setup.record, stream.begun_us);
            let taken = stream.take(piece, MARKER_BYTES, &mut self.finder, |marker| {
                if self.tally.take(at, marker.series, marker.number) {
                    seen.take(marker, record, begun_us);
                }
            });
            taken.map_err(|refusal| Lost(refusal.0))?;
            if seen.count > 0 {
                self.setup.shared.has_delivered(&self.setup.clock, &seen);
            }
            if !self.reply.is_empty() {
                stream.unsent.append(&mut self.reply);
                send(stream).map_err(|_| Lost(0))?;
            }
            // Less than there was room for: the socket is empty, and whatever comes next is told of.
            if count < READ_BYTES {
                return Ok(());
            }
        }
    }
}

/// A stream is lost, with the status that refused it.
struct Lost(u16);

/// Sends what a stream has to say, as far as it fits.
fn send(stream: &mut Stream) -> std::io::Result<()> {
    let Some(socket) = &mut stream.socket else { return Ok(()) };
    match socket.write(&stream.unsent) {
        Ok(count) => {
            stream.unsent.drain(..count);
            if stream.unsent.is_empty() {
                stream.unsent = Vec::new();
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// What one read brought.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Deliveries.
    pub(super) count: u64,
    /// When those were due that are timed: the last one, or all.
    pub(super) due_us: Vec<u32>,
}

impl Seen {
    /// Takes a delivery on a stream whose connection was begun then. What was due before is not timed: its stream was
    /// away.
    fn take(&mut self, marker: Marker, record: Record, begun_us: u32) {
        self.count += 1;
        if marker.due_us.wrapping_sub(begun_us) > u32::MAX / 2 {
            return;
        }
        if record == Record::LastOfRead {
            self.due_us.clear();
        }
        self.due_us.push(marker.due_us);
    }
}
