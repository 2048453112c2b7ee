//! One connection: HTTP/1.1 on a socket, with limits on what a client may send and on how long it may dawdle.
//!
//! Deadlines of streams are the hub's; the one thing that only a socket can know stands here: whether the other side takes
//! what is written.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::handover::{Handing, Handover};
use crate::limits::{HEAD_BYTES_MAX, HEAD_READ_MAX, HEADERS_MAX, WRITE_STALL_MAX};
use crate::stop::Stopped;

/// Serves a connection until it ends, or until a stream gets its socket. Once `stopped`, what is being answered is finished
/// and nothing more is taken.
pub(crate) async fn serve(socket: TcpStream, app: Router, mut stopped: Stopped) {
    if let Err(error) = prepare(&socket) {
        tracing::debug!(%error, "a socket could not be prepared");
    }
    let handover = Handover::default();
    let is_unsent = Arc::new(AtomicBool::new(false));
    let io = Watched { io: TokioIo::new(socket), deadline: None, is_unsent: is_unsent.clone() };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, Handing { app, handover: handover.clone() });
    let mut is_stopping = false;
    let ended = loop {
        // Ready when the connection has ended, or when the socket can be taken away: the answer is a stream's, and hyper has
        // written all answers before it.
        let served = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if handover.is_ready() && !is_unsent.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            served = served => match served {
                Some(ended) => break ended,
                None => return hand_over(connection.into_parts().io, &handover),
            },
            () = stopped.wait(), if !is_stopping => {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        // Clients go away as they like; that is nobody's error.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

/// Gives the socket to the stream that was reserved on it.
fn hand_over(io: Watched, handover: &Handover) {
    let Some((reservation, head)) = handover.take() else { return };
    match io.io.into_inner().into_std() {
        Ok(socket) => reservation.into_socket(socket, &head),
        Err(error) => tracing::warn!(%error, "a socket could not be handed over"),
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

/// A socket whose writes fail once the other side has taken nothing for too long, and which knows whether hyper has written
/// all that it had to write.
struct Watched {
    io: TokioIo<TcpStream>,
    /// While a write waits: when it will have waited too long. Written by [`Watched::patiently`] only.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether hyper may have more to write: it flushes the socket only when its own buffer is empty.
    is_unsent: Arc<AtomicBool>,
}

impl Watched {
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

impl Read for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_unsent.store(true, Ordering::Relaxed);
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.patiently(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        if outcome.is_ready() {
            self.is_unsent.store(false, Ordering::Relaxed);
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_unsent.store(true, Ordering::Relaxed);
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.patiently(cx, outcome)
    }
}
