//! Streams whose readers are slow or don't read at all. What they get is not held against anything: only what they do to
//! others counts.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::dialect::Dialect;
use crate::error::MeasureError;

/// The receive buffer that such a stream asks for. Small, so that the server soon notices.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;

/// How often slow readers read.
const TURNS_PER_S: usize = 4;
const TURN: Duration = Duration::from_millis(1_000 / TURNS_PER_S as u64);

/// Slow readers, on a thread of their own.
#[derive(Debug)]
pub struct SlowReaders {
    /// Dropped to end the thread.
    end: SyncSender<()>,
    thread: JoinHandle<Slow>,
}

/// What slow readers got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slow {
    /// Bytes that were read, by all of them.
    pub bytes: u64,
    /// Streams that the server ended, as far as their readers noticed: who never reads notices nothing.
    pub ended: u64,
}

impl SlowReaders {
    /// Opens `slow` streams that read `bytes_per_s` each, and `stopped` ones that never read.
    ///
    /// # Errors
    ///
    /// When the server can't be reached.
    pub fn open(
        address: &str,
        path: &str,
        dialect: fn() -> Box<dyn Dialect>,
        (slow, stopped): (usize, usize),
        bytes_per_s: usize,
    ) -> Result<Self, MeasureError> {
        let to = address.to_socket_addrs()?.find(SocketAddr::is_ipv4).ok_or(MeasureError::Address)?;
        let mut sockets = Vec::with_capacity(slow + stopped);
        for _ in 0..slow + stopped {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
            socket.connect(&to.into())?;
            let mut socket = TcpStream::from(socket);
            socket.write_all(&dialect().open(address, path, None))?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let never = sockets.split_off(slow);
        let bytes = bytes_per_s / TURNS_PER_S;
        let (end, ended) = sync_channel::<()>(0);
        let work = move || {
            // Kept open to the end.
            let _never = never;
            let mut sockets = sockets;
            let mut got = Slow::default();
            while ended.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
                sockets.retain_mut(|socket| read(socket, bytes, &mut got));
            }
            got
        };
        Ok(Self { end, thread: thread::Builder::new().name("read slowly".into()).spawn(work)? })
    }

    /// Closes them and tells what they got.
    ///
    /// # Errors
    ///
    /// When the thread panicked.
    pub fn close(self) -> Result<Slow, MeasureError> {
        drop(self.end);
        self.thread.join().map_err(|_| MeasureError::Thread)
    }
}

/// Reads a little. Whether the stream goes on.
fn read(socket: &mut TcpStream, bytes: usize, got: &mut Slow) -> bool {
    let mut buffer = vec![0; bytes];
    match socket.read(&mut buffer) {
        Ok(count) if count > 0 => {
            got.bytes += count as u64;
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        _ => {
            got.ended += 1;
            false
        }
    }
}
