//! HTTP/1.1 on one connection, plain or encrypted, up to the point where a stream takes the connection for itself.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use fanfare_hub::Reservation;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::counts::Counts;
use crate::connection::handover::{Handing, Handover};
use crate::connection::idling::{Idling, Turn};
use crate::connection::visit::Visit;
use crate::limits::{HEAD_BYTES_MAX, HEAD_READ_MAX, HEADERS_MAX};
use crate::serve::stop::Stopped;

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
/// nothing more is taken. `is_unsent` says whether `io` may have more to write than it was able to. Between two requests the
/// client may say nothing for `idle_max`.
pub(crate) async fn serve<I: AsyncRead + AsyncWrite + Unpin>(
    io: I,
    is_unsent: Arc<AtomicBool>,
    app: Visit,
    (idle_max, counts): (Duration, Arc<Counts>),
    stopped: &mut Stopped,
) -> Option<Taken<I>> {
    let (handover, turn) = (Handover::default(), Turn::default());
    let io = Idling::new(io, turn.clone(), idle_max, counts);
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Longer than `Idling` gives for both together. It never comes to that; but only with such a time does hyper ask for
        // the next request as soon as an answer is written, which is where `Idling` begins to count.
        .header_read_timeout(idle_max + 2 * HEAD_READ_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), Handing { app, handover: handover.clone(), turn });
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
                let io = connection.into_parts().io.into_inner().into_inner();
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::limits::IDLE_MAX;

    const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const SECOND: Duration = Duration::from_secs(1);

    /// A client, on a clock that jumps ahead when everybody waits.
    struct Client {
        socket: DuplexStream,
        counts: Arc<Counts>,
    }

    impl Client {
        /// Begins to serve one; each answer takes twice as long as a head may.
        fn start() -> Self {
            let slow = async || {
                sleep(2 * HEAD_READ_MAX).await;
                "answer"
            };
            let app = Visit::new(Router::new().route("/a", get(slow)));
            let (socket, server) = tokio::io::duplex(1 << 16);
            let counts = Arc::<Counts>::default();
            let idling = (IDLE_MAX, counts.clone());
            tokio::spawn(async move {
                let (_stop, mut stopped) = crate::serve::stop::stop();
                serve(server, Arc::default(), app, idling, &mut stopped).await;
            });
            Self { socket, counts }
        }

        async fn say(&mut self, bytes: &[u8]) {
            self.socket.write_all(bytes).await.unwrap();
        }

        /// Reads a whole answer.
        async fn answer(&mut self) {
            let mut read = Vec::new();
            while !read.ends_with(b"answer") {
                assert_ne!(self.socket.read_buf(&mut read).await.unwrap(), 0, "the connection is open");
            }
        }

        /// After how long the connection is closed, and how many heads were too slow then.
        async fn closed(mut self) -> (Duration, u64) {
            let began = Instant::now();
            let mut read = Vec::new();
            self.socket.read_to_end(&mut read).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&read), "");
            (began.elapsed(), self.counts.heads_too_slow.value())
        }
    }

    /// Whether a time is the expected one, to timers' exactness.
    fn about(time: Duration, expected: Duration) -> bool {
        time.abs_diff(expected) < SECOND / 10
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_idles_between_requests_is_kept_for_the_next_one() {
        let mut client = Client::start();
        for _ in 0..3 {
            client.say(REQUEST).await;
            client.answer().await;
            sleep(IDLE_MAX.saturating_sub(SECOND)).await;
        }
        client.say(REQUEST).await;
        client.answer().await;
        let (lasted, slow) = client.closed().await;
        assert!(about(lasted, IDLE_MAX) && slow == 0, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_head_has_its_time_from_the_beginning() {
        let client = Client::start();
        let (lasted, slow) = client.closed().await;
        assert!(about(lasted, HEAD_READ_MAX) && slow == 1, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_has_its_time_from_its_first_byte_however_it_trickles() {
        let mut client = Client::start();
        client.say(REQUEST).await;
        client.answer().await;
        sleep(IDLE_MAX.saturating_sub(SECOND)).await;
        // A byte a second; not even the idle time ends it.
        for byte in &REQUEST[..9] {
            client.say(&[*byte]).await;
            sleep(SECOND).await;
        }
        client.say(&REQUEST[9..]).await;
        client.answer().await;
        for byte in &REQUEST[..9] {
            client.say(&[*byte]).await;
            sleep(SECOND).await;
        }
        let (lasted, slow) = client.closed().await;
        assert!(about(lasted, HEAD_READ_MAX.saturating_sub(9 * SECOND)) && slow == 1, "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_while_an_answer_is_made_has_its_time_from_the_answer_on() {
        let mut client = Client::start();
        client.say(REQUEST).await;
        sleep(SECOND).await;
        client.say(&REQUEST[..9]).await;
        client.answer().await;
        sleep(HEAD_READ_MAX.saturating_sub(SECOND)).await;
        client.say(&REQUEST[9..]).await;
        client.answer().await;
        let (lasted, slow) = client.closed().await;
        assert!(about(lasted, IDLE_MAX) && slow == 0, "{lasted:?}");
    }
}
