//! One connection: HTTP/1.1 on a socket, with limits on what a client may send and on how long it may dawdle.
//!
//! Deadlines of streams are the hub's; the one thing that only a socket can know stands here: whether the other side takes
//! what is written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::limits::{HEAD_BYTES_MAX, HEAD_READ_MAX, HEADERS_MAX, UNSENT_BYTES_MAX, WRITE_STALL_MAX};
use crate::stop::Stopped;

/// Serves a connection until it ends. Once `stopped`, what is being answered is finished and nothing more is taken.
pub(crate) async fn serve(socket: TcpStream, app: Router, mut stopped: Stopped) {
    if let Err(error) = prepare(&socket) {
        tracing::debug!(%error, "a socket could not be prepared");
    }
    let io = Impatient { io: TokioIo::new(socket), deadline: None };
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_READ_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, TowerToHyperService::new(app))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients go away as they like; that is nobody's error.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
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
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        // A heartbeat "succeeds" into that buffer; this finds the dead peer behind it.
        socket.set_tcp_user_timeout(Some(WRITE_STALL_MAX))?;
    }
    // Finds dead peers of connections on which nothing is sent.
    socket.set_keepalive(true)
}

/// A socket whose writes fail once the other side has taken nothing for too long.
struct Impatient {
    io: TokioIo<TcpStream>,
    /// While a write waits: when it will have waited too long. Written by [`Impatient::patiently`] only.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
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

impl Read for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.patiently(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
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
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.patiently(cx, outcome)
    }
}
