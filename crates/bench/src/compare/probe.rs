//! One stream whose bytes are counted: what an event costs on the wire, and what a minute without any costs. It counts
//! what the connection carries, in both directions, without what TCP and IP put around it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use memchr::memmem;

use crate::dialect::Dialect;
use crate::round::Stopwatch;
use crate::subject::Subject;

/// The channel that is listened to. Servers whose tokens name a channel name this one.
const CHANNEL: &str = "main";

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// After an event, how long the stream must be silent until the next: what follows an event belongs to it.
const SILENCE: Duration = Duration::from_millis(50);

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the server.
    pub received: u64,
    /// To the server: polls, pongs.
    pub sent: u64,
}

impl Bytes {
    /// In both directions.
    pub fn total(self) -> u64 {
        self.received + self.sent
    }
}

/// One open stream.
pub struct Probe {
    socket: TcpStream,
    dialect: Box<dyn Dialect>,
    /// What was counted since the stream was open or since the last question.
    bytes: Bytes,
    /// What arrived since the last question: an event may come in pieces.
    arrived: Vec<u8>,
}

impl Probe {
    /// Opens a stream of the server at `address`.
    ///
    /// # Errors
    ///
    /// When the server doesn't take it.
    pub fn open(address: &str, subject: &Subject) -> std::io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut dialect = (subject.dialect)();
        let path = subject.subscribe.replace("{channel}", CHANNEL);
        socket.write_all(&dialect.open(address, &path, None))?;
        let mut probe = Self { socket, dialect, bytes: Bytes::default(), arrived: vec![] };
        let watch = Stopwatch::start();
        while !probe.read(PATIENCE)?.1 {
            if watch.elapsed() > PATIENCE {
                return Err(std::io::Error::other("the stream was not opened"));
            }
        }
        // What the server says by itself when a stream opens is no part of any event.
        probe.listen(SILENCE)?;
        Ok(probe)
    }

    /// Counts what arrives within this time.
    ///
    /// # Errors
    ///
    /// When the server ends the stream.
    pub fn listen(&mut self, time: Duration) -> std::io::Result<Bytes> {
        let watch = Stopwatch::start();
        self.begin();
        while let Some(left) = time.checked_sub(watch.elapsed()).filter(|left| !left.is_zero()) {
            self.read(left)?;
        }
        Ok(self.bytes)
    }

    /// Counts the bytes of one event: publishes it, waits for it, and then for silence.
    ///
    /// # Errors
    ///
    /// When the server doesn't take the event, or it doesn't come.
    pub fn event(&mut self, address: &str, subject: &Subject, data: &str) -> std::io::Result<Bytes> {
        self.begin();
        publish(address, subject, data)?;
        let watch = Stopwatch::start();
        while memmem::find(&self.arrived, data.as_bytes()).is_none() {
            if watch.elapsed() > PATIENCE {
                return Err(std::io::Error::other("an event didn't come"));
            }
            self.read(PATIENCE)?;
        }
        while self.read(SILENCE)?.0 {}
        Ok(self.bytes)
    }

    fn begin(&mut self) {
        self.bytes = Bytes::default();
        self.arrived.clear();
    }

    /// Reads once, for at most this long, and answers what must be answered. Tells whether anything came, and whether the
    /// stream is open.
    fn read(&mut self, time: Duration) -> std::io::Result<(bool, bool)> {
        let mut buffer = [0; 16 * 1024];
        self.socket.set_read_timeout(Some(time))?;
        let count = match self.socket.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => return Err(error),
        };
        let read = buffer.get(..count).unwrap_or_default();
        let mut reply = Vec::new();
        let is_open = self.dialect.received(read, &mut reply);
        self.socket.write_all(&reply)?;
        self.bytes.received += count as u64;
        self.bytes.sent += reply.len() as u64;
        self.arrived.extend_from_slice(read);
        Ok((count > 0, is_open))
    }
}

/// Publishes one event on a connection of its own, and waits until the server has answered.
fn publish(address: &str, subject: &Subject, data: &str) -> std::io::Result<()> {
    let mut body = Vec::new();
    (subject.publish.body)(CHANNEL, data, &mut body);
    let path = subject.publish.path.replace("{channel}", CHANNEL);
    let fields = subject.publish.headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
        fields.collect::<String>(),
        body.len()
    );
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&[request.into_bytes(), body].concat())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 2") {
        return Ok(());
    }
    let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    Err(std::io::Error::other(format!("an event was refused: {status}")))
}
