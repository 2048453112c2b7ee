//! The deliverer: gives every stream all that waits for it in one send, and goes on with a full socket when it is
//! writable again.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::bare::BareOptions;
use crate::bare::handover::{Handover, Parcel};
use crate::bare::tape::Tape;
use crate::error::MeasureError;
use crate::round::Stopwatch;

const WAKER: Token = Token(usize::MAX);

/// What every stream begins with; a first event with its place follows, so that a stream which gets nothing else can
/// come back too.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
    Connection: close\r\n\r\n";

/// Most bytes of one send. What is sent to one stream after the other stays in the processor's cache that way.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// How often each stream gets a sign of life, and into how many steps this is cut, so that not all get it at once.
const HEARTBEAT: Duration = Duration::from_secs(15);
const HEARTBEAT_STEPS: usize = 150;

/// Has the streams and serves them.
pub(super) struct Deliverer {
    poll: Poll,
    tape: Tape,
    /// By token; a place is used again when its stream has gone.
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// Tells when heartbeats are due.
    watch: Stopwatch,
    /// Steps of heartbeats that were done so far.
    steps: u64,
}

struct Stream {
    socket: TcpStream,
    /// How far it has come on the tape.
    place: u64,
    /// Whether its socket takes nothing before it is writable again.
    is_full: bool,
    /// Where it was at the last heartbeat.
    place_at_heartbeat: u64,
}

impl Deliverer {
    /// A deliverer without streams, and what wakes it.
    pub(super) fn new(options: &BareOptions) -> Result<(Self, Waker), MeasureError> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let tape = Tape::new(options.window_bytes, options.one_send_per_event);
        let watch = Stopwatch::start();
        Ok((Self { poll, tape, streams: Vec::new(), free: Vec::new(), watch, steps: 0 }, waker))
    }

    /// Serves until the door has closed.
    pub(super) fn run(mut self, handover: &Handover) -> Result<(), MeasureError> {
        let mut events = Events::with_capacity(1_024);
        let mut parcel = Parcel::default();
        // Whether a stream could take more at once: nothing may be waited for then.
        let mut is_behind = false;
        loop {
            let wait = if is_behind { Duration::ZERO } else { self.until_heartbeat() };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            parcel = handover.take(parcel);
            if parcel.is_closed {
                return Ok(());
            }
            let has_grown = !parcel.frames.is_empty();
            self.take(&mut parcel)?;
            for event in &events {
                if let Token(token) = event.token()
                    && event.token() != WAKER
                {
                    is_behind |= self.ready(token, event.is_readable(), event.is_writable());
                }
            }
            if is_behind || has_grown {
                is_behind = self.send_all();
            }
            self.beat();
        }
    }

    /// Takes what the door left.
    fn take(&mut self, parcel: &mut Parcel) -> Result<(), MeasureError> {
        // Streams first: they were promised everything from their beginning on, and a place on the tape is where they
        // find it.
        for (socket, place) in parcel.streams.drain(..) {
            self.add(socket, place)?;
        }
        self.tape.append(&parcel.frames, &parcel.ends);
        parcel.clear();
        if self.tape.is_long() {
            let places = self.streams.iter().flatten().map(|stream| stream.place);
            self.tape.trim(places.min().unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn add(&mut self, mut socket: TcpStream, place: Option<u64>) -> Result<(), MeasureError> {
        let token = self.free.pop().unwrap_or(self.streams.len());
        self.poll.registry().register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        let place = self.tape.clamp(place.unwrap_or(u64::MAX));
        // An empty socket takes this whole, unless the client has gone: then the event that tells so follows.
        let _ = socket.write(format!("{HEAD}id: {place:016x}\nevent: hello\ndata:\n\n").as_bytes());
        let stream = Stream { socket, place, is_full: false, place_at_heartbeat: place };
        match self.streams.get_mut(token) {
            Some(free) => *free = Some(stream),
            None => self.streams.push(Some(stream)),
        }
        // What it missed follows once it is writable, which a new socket is.
        Ok(())
    }

    /// A socket has something to say or room again. Whether its stream could take more at once.
    fn ready(&mut self, token: usize, is_readable: bool, is_writable: bool) -> bool {
        let Some(place) = self.streams.get_mut(token) else { return false };
        let Some(stream) = place else { return false };
        let is_gone = is_readable && stream.has_ended();
        if is_writable {
            stream.is_full = false;
        }
        if is_gone || (is_writable && stream.send(&self.tape).is_err()) {
            *place = None;
            self.free.push(token);
            return false;
        }
        stream.could_take_more(&self.tape)
    }

    /// One send for every stream that can take something. Whether one could take more.
    fn send_all(&mut self) -> bool {
        let mut is_behind = false;
        for (token, place) in self.streams.iter_mut().enumerate() {
            let Some(stream) = place else { continue };
            if stream.is_full {
                continue;
            }
            if stream.send(&self.tape).is_err() {
                *place = None;
                self.free.push(token);
                continue;
            }
            is_behind |= stream.could_take_more(&self.tape);
        }
        is_behind
    }

    fn until_heartbeat(&self) -> Duration {
        let next = HEARTBEAT.mul_f64((self.steps + 1) as f64 / HEARTBEAT_STEPS as f64);
        next.saturating_sub(self.watch.elapsed())
    }

    /// Sends a comment to those streams whose turn it is and that got nothing since the last time.
    fn beat(&mut self) {
        if !self.until_heartbeat().is_zero() {
            return;
        }
        self.steps += 1;
        let first = (self.steps % HEARTBEAT_STEPS as u64) as usize;
        for place in self.streams.iter_mut().skip(first).step_by(HEARTBEAT_STEPS) {
            let Some(stream) = place else { continue };
            if stream.place == stream.place_at_heartbeat && stream.place == self.tape.end() {
                // Nothing is before it in the socket, so it fits, unless the client has gone.
                let _ = stream.socket.write(b":\n\n");
            }
            stream.place_at_heartbeat = stream.place;
        }
    }
}

impl Stream {
    /// Sends what comes next, as far as it fits.
    fn send(&mut self, tape: &Tape) -> std::io::Result<()> {
        let bytes = tape.from(self.place, SEND_BYTES_MAX);
        if bytes.is_empty() {
            return Ok(());
        }
        match self.socket.write(bytes) {
            Ok(count) => {
                self.place += count as u64;
                self.is_full = count < bytes.len();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_full = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether there is something to send and room for it.
    fn could_take_more(&self, tape: &Tape) -> bool {
        !self.is_full && self.place < tape.end()
    }

    /// Reads and forgets what the client says. Whether it has gone.
    fn has_ended(&mut self) -> bool {
        let mut bytes = [0; 512];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}
