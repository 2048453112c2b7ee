//! HTTP/1.1 on one connection, plain or encrypted, up to the point where a stream takes the connection for itself.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use fanfare_hub::Reservation;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::handover::{Handing, Handover};
use crate::limits::{HEAD_BYTES_MAX, HEAD_READ_MAX, HEADERS_MAX};
use crate::stop::Stopped;
use crate::visit::Visit;

/// A connection that is a stream's alone from now on.
pub(crate) struct Taken<I> {
    /// Read up to the end of the request; all earlier answers are written.
    pub(crate) io: I,
    /// The stream.
    pub(crate) reservation: Reservation,
    /// The answer's head, to be written before the stream.
    pub(crate) head: Vec<u8>,
}

/// Serves a connection until it ends, or until a stream takes it. Once `stopped`, what is being answered is finished and
/// nothing more is taken. `is_unsent` says whether `io` may have more to write than it was able to.
pub(crate) async fn serve<I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    is_unsent: Arc<AtomicBool>,
    app: Visit,
    stopped: &mut Stopped,
) -> Option<Taken<I>> {
    let handover = Handover::default();
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), Handing { app, handover: handover.clone() });
    let mut is_stopping = false;
    let ended = loop {
        // Ready when the connection has ended, or when it can be taken away: the answer is a stream's, and hyper has written
        // all answers before it.
        let served = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if handover.is_ready() && !is_unsent.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            served = served => {
                if let Some(ended) = served {
                    break ended;
                }
                let io = connection.into_parts().io.into_inner();
                return handover.take().map(|(reservation, head)| Taken { io, reservation, head });
            }
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
    None
}
