//! The door: takes connections, reads requests, appends what is published and acknowledges it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::bare::handover::Handover;
use crate::bare::request::{self, Request};
use crate::error::MeasureError;

const LISTENER: Token = Token(usize::MAX);

/// The whole answer to whoever publishes.
const ACKNOWLEDGEMENT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Takes connections and events.
pub(super) struct Door<'a> {
    poll: Poll,
    listener: mio::net::TcpListener,
    /// Connections that asked for no stream, by token.
    connections: HashMap<usize, Connection>,
    /// The token of the next connection.
    next: usize,
    /// Where events are made durable.
    file: File,
    batch: Batch,
    handover: &'a Handover,
    /// What arrives, before it goes to its connection.
    buffer: Vec<u8>,
}

/// A connection that may publish.
struct Connection {
    socket: TcpStream,
    /// The part of a request that has arrived.
    inbox: Vec<u8>,
}

/// What arrived since the last sync.
#[derive(Default)]
struct Batch {
    frames: Vec<u8>,
    /// Where each frame ends on the tape.
    ends: Vec<u64>,
    /// The connections that wait for their acknowledgement.
    waiting: Vec<usize>,
    /// Where the tape ends, this batch included.
    end: u64,
}

impl<'a> Door<'a> {
    pub(super) fn new(listener: TcpListener, file: File, handover: &'a Handover) -> Result<Self, MeasureError> {
        let poll = Poll::new()?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (connections, batch) = (HashMap::new(), Batch::default());
        Ok(Self { poll, listener, connections, next: 0, file, batch, handover, buffer: vec![0; 64 * 1024] })
    }

    /// Serves until something fails for good.
    pub(super) fn run(&mut self) -> Result<(), MeasureError> {
        let mut events = Events::with_capacity(1_024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(token) => self.read(token)?,
                }
            }
            self.commit()?;
        }
    }

    fn accept(&mut self) -> Result<(), MeasureError> {
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    socket.set_nodelay(true)?;
                    self.poll.registry().register(&mut socket, Token(self.next), Interest::READABLE)?;
                    self.connections.insert(self.next, Connection { socket, inbox: Vec::new() });
                    self.next += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Whoever connected may be gone already; a process without free descriptors waits for the next.
                Err(_) => return Ok(()),
            }
        }
    }

    /// Reads all that a connection has to say, and takes what is whole.
    fn read(&mut self, token: usize) -> Result<(), MeasureError> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        loop {
            match connection.socket.read(&mut self.buffer) {
                Ok(0) => {
                    self.connections.remove(&token);
                    return Ok(());
                }
                Ok(count) => {
                    connection.inbox.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
                    if count < self.buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.connections.remove(&token);
                    return Ok(());
                }
            }
        }
        let mut done = 0;
        while let Some((request, length)) = request::read(connection.inbox.get(done..).unwrap_or_default()) {
            done += length;
            match request {
                Request::Publish(data) => self.batch.push(data, token),
                Request::Stream(place) => return self.hand_over(token, place),
            }
        }
        connection.inbox.drain(..done);
        Ok(())
    }

    /// Gives a connection away that asked for a stream.
    fn hand_over(&mut self, token: usize, place: Option<u64>) -> Result<(), MeasureError> {
        if let Some(Connection { mut socket, .. }) = self.connections.remove(&token) {
            self.poll.registry().deregister(&mut socket)?;
            self.handover.stream(socket, place)?;
        }
        Ok(())
    }

    /// Makes all that arrived durable, acknowledges it and lets it go out.
    fn commit(&mut self) -> Result<(), MeasureError> {
        if self.batch.waiting.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.batch.frames)?;
        self.file.sync_data()?;
        for token in self.batch.waiting.drain(..) {
            // So few bytes always fit, unless whoever waited is gone.
            if let Some(connection) = self.connections.get_mut(&token)
                && connection.socket.write(ACKNOWLEDGEMENT).is_err()
            {
                self.connections.remove(&token);
            }
        }
        self.handover.frames(&self.batch.frames, &self.batch.ends)?;
        self.batch.frames.clear();
        self.batch.ends.clear();
        Ok(())
    }
}

impl Batch {
    /// Adds an event: a frame whose id is the place at which it ends.
    fn push(&mut self, data: &[u8], from: usize) {
        const AROUND: usize = "id: 0123456789abcdef\ndata: \n\n".len();
        self.end += (AROUND + data.len()) as u64;
        // Writing to a vector can't fail.
        let _ = write!(self.frames, "id: {:016x}\ndata: ", self.end);
        self.frames.extend_from_slice(data);
        self.frames.extend_from_slice(b"\n\n");
        self.ends.push(self.end);
        self.waiting.push(from);
    }
}
