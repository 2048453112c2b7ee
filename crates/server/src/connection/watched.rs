//! A connection's socket, as the door watches it: writes fail once the other side has taken nothing for too long, and it is
//! known whether all that was written has left. Below TLS and HTTP alike, of which it knows nothing but the first bytes of
//! HTTP/2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::limits::WRITE_STALL_MAX;

/// What a client that speaks HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS record that holds a handshake.
const TLS_HANDSHAKE: u8 = 22;

/// A socket whose writes fail once the other side has taken nothing for too long, and which knows whether hyper has written
/// all that it had to write.
#[derive(Debug)]
pub(crate) struct Watched {
    socket: TcpStream,
    /// What was read to tell the protocol, and is still to be read by whoever speaks it.
    read: Vec<u8>,
    /// While a write waits: when it will have waited too long. Written by [`Watched::patiently`] only.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether there may be more to write: hyper flushes the socket only when its own buffer is empty.
    is_unsent: Arc<AtomicBool>,
}

impl Watched {
    /// Sets what the socket must do, and watches it.
    pub(crate) fn new(socket: TcpStream) -> Self {
        if let Err(error) = prepare(&socket) {
            tracing::debug!(%error, "a socket could not be prepared");
        }
        Self { socket, read: Vec::new(), deadline: None, is_unsent: Arc::default() }
    }

    /// Whether there may be more to write, for whoever gives the socket away.
    pub(crate) fn is_unsent(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_unsent)
    }

    /// Reads as much as tells whether the client speaks HTTP/2 without having been asked ("prior knowledge"). What was read
    /// is there for whoever reads next.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        while self.read.len() < PREFACE.len() && PREFACE.starts_with(&self.read) {
            let left = (PREFACE.len() - self.read.len()) as u64;
            if (&mut self.socket).take(left).read_buf(&mut self.read).await? == 0 {
                return Ok(false);
            }
        }
        Ok(self.read == PREFACE)
    }

    /// Whether the client begins as TLS does, with a record that holds a handshake (RFC 8446, section 5.1). Nothing is read.
    pub(crate) async fn speaks_tls(&self) -> io::Result<bool> {
        let mut first = [0];
        Ok(self.socket.peek(&mut first).await? == 0 || first == [TLS_HANDSHAKE])
    }

    /// The socket itself, without the watch.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Passes a write's outcome on, unless it has waited too long.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.deadline = None;
            return outcome;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_MAX)));
        match deadline.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing"))),
        }
    }
}

/// Sets what the socket must do.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    // An event must not wait for the answer to the one before it.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    #[cfg(target_os = "linux")]
    {
        // Lag stays in the log, which is shared, and not in the kernel's buffer of each connection.
        socket.set_tcp_notsent_lowat(crate::limits::UNSENT_BYTES_MAX)?;
        // A heartbeat "succeeds" into that buffer; this finds the dead peer behind it.
        socket.set_tcp_user_timeout(Some(WRITE_STALL_MAX))?;
    }
    // Finds dead peers of connections on which nothing is sent.
    socket.set_keepalive(true)
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let count = buf.remaining().min(self.read.len());
        let rest = self.read.split_off(count);
        buf.put_slice(&std::mem::replace(&mut self.read, rest));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_unsent.store(true, Ordering::Relaxed);
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.patiently(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        if outcome.is_ready() {
            self.is_unsent.store(false, Ordering::Relaxed);
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unsent.store(true, Ordering::Relaxed);
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.patiently(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What is said first, piece by piece, and what the other side then makes of it and still reads.
    async fn said(pieces: &[&[u8]]) -> (bool, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let reading = tokio::spawn(async move {
            let mut watched = Watched::new(socket);
            let is_http2 = watched.speaks_http2().await.unwrap();
            let mut read = Vec::new();
            watched.read_to_end(&mut read).await.unwrap();
            (is_http2, read)
        });
        client.set_nodelay(true).unwrap();
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn the_first_bytes_tell_http2_and_nothing_is_lost() {
        let (head, tail) = PREFACE.split_at(9);
        for pieces in [&[PREFACE, b"more"][..], &[head, tail, b"more"]] {
            let (is_http2, read) = said(pieces).await;
            assert!(is_http2);
            assert_eq!(read, [PREFACE, b"more"].concat());
        }
        for pieces in
            [&[&b"GET / HTTP/1.1\r\n"[..], b"\r\n"][..], &[b"P", b"OST /publish HTTP/1.1\r\n\r\n"], &[head], &[]]
        {
            let (is_http2, read) = said(pieces).await;
            assert!(!is_http2);
            assert_eq!(read, pieces.concat());
        }
    }
}
