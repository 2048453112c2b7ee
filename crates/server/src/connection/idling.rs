//! How long a client may say nothing where HTTP/1.1 waits for a request: long between two requests, so that whoever keeps
//! connections ready finds them open; short once a request's head has begun, and before the first one. hyper has one time
//! for all three.
//!
//! Above TLS, so that it's the client's own bytes that count. Knows of HTTP only when it's whose turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::counts::Counts;
use crate::limits::HEAD_READ_MAX;

/// A request's head is due: the first one, or one that has begun.
const HEAD: u8 = 0;
/// The client may say what it likes, or nothing: a request is being answered, whose body has a time of its own.
const ANSWERING: u8 = 1;
/// All requests are answered.
const IDLE: u8 = 2;

/// Whose turn it is on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<AtomicU8>);

impl Turn {
    /// A request's head has come.
    pub(crate) fn begin(&self) {
        self.0.store(ANSWERING, Ordering::Relaxed);
    }

    /// The answer is there, and will be written.
    pub(crate) fn end(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

/// A connection on which the client must not say nothing for too long.
#[derive(Debug)]
pub(crate) struct Idling<I> {
    io: I,
    turn: Turn,
    idle_max: Duration,
    counts: Arc<Counts>,
    /// While something is waited for: what, and until when.
    deadline: Option<(u8, Pin<Box<Sleep>>)>,
}

impl<I> Idling<I> {
    /// Watches a connection whose turns are told to `turn`.
    pub(crate) fn new(io: I, turn: Turn, idle_max: Duration, counts: Arc<Counts>) -> Self {
        Self { io, turn, idle_max, counts, deadline: None }
    }

    /// The connection, without the watch.
    pub(crate) fn into_inner(self) -> I {
        self.io
    }

    /// Whether what is waited for has not come in time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let turn = self.turn.0.load(Ordering::Relaxed);
        let most = match turn {
            ANSWERING => {
                self.deadline = None;
                return Poll::Pending;
            }
            HEAD => HEAD_READ_MAX,
            _ => self.idle_max,
        };
        // Only hyper's asking for more begins the time: while an answer is being written, it doesn't ask.
        let (_, deadline) = match &mut self.deadline {
            Some(deadline) if deadline.0 == turn => deadline,
            deadline => deadline.insert((turn, Box::pin(tokio::time::sleep(most)))),
        };
        match deadline.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if turn == HEAD => {
                self.counts.heads_too_slow.add();
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head took too long")))
            }
            // As though the client had left: hyper then closes in order.
            Poll::Ready(()) => Poll::Ready(Ok(())),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Idling<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Pending => self.poll_late(cx),
            Poll::Ready(outcome) => {
                if buf.filled().len() > before {
                    // Between two requests it's the next one that has begun.
                    if self.turn.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                        self.deadline = None;
                    }
                }
                Poll::Ready(outcome)
            }
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Idling<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
