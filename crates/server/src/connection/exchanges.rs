//! The requests of one HTTP/2 connection that are open, and since when the client has taken nothing of an answer.
//!
//! hyper asks a body for more only when the client's window has room. So a body that gave something and isn't asked again
//! waits for the client, and one that has nothing to give waits for us. A connection on which an answer waits for the client
//! for too long ends, and so does one on which nothing is open for long. Nothing here wakes a connection that is at rest:
//! there is a timer only while an answer waits or nothing is open.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::{HTTP2_IDLE_MAX, HTTP2_PIECE_BYTES_MAX, WRITE_STALL_MAX};

/// What is open on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Exchanges(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when something is due earlier than the connection's task knows.
    earlier: Notify,
}

#[derive(Debug)]
struct State {
    /// Since when each waits for the client; `None` while it waits for us.
    open: Slab<Option<Instant>>,
    /// Since when nothing is open.
    idle_since: Option<Instant>,
    /// When the connection's task will look again.
    looks_at: Option<Instant>,
}

/// What the connection's task must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing has been open for long: no more is taken.
    Idle,
    /// The client takes nothing: the connection ends.
    Stalled,
}

/// One request and its answer. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Exchange {
    exchanges: Exchanges,
    key: usize,
}

impl Default for Exchanges {
    fn default() -> Self {
        let state = State { open: Slab::new(), idle_since: Some(Instant::now()), looks_at: None };
        Self(Arc::new(Shared { state: Mutex::new(state), earlier: Notify::new() }))
    }
}

impl State {
    /// What is due first, and when.
    fn next(&self) -> Option<(Instant, Due)> {
        let idle = self.idle_since.map(|since| (since + HTTP2_IDLE_MAX, Due::Idle));
        let stalled = self.open.iter().filter_map(|(_, since)| *since).min();
        idle.or(stalled.map(|since| (since + WRITE_STALL_MAX, Due::Stalled)))
    }
}

impl Exchanges {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> Exchange {
        let mut state = self.lock();
        state.idle_since = None;
        Exchange { key: state.open.insert(None), exchanges: self.clone() }
    }

    /// Waits until something is due. One task waits at a time.
    pub(crate) async fn due(&self) -> Due {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.next();
                state.looks_at = next.map(|(at, _)| at);
                next
            };
            match next {
                Some((at, due)) if at <= Instant::now() => return due,
                Some((at, _)) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = self.0.earlier.notified() => {}
                },
                None => self.0.earlier.notified().await,
            }
        }
    }

    /// Tells the connection's task, where it would look too late.
    fn tell(&self, state: &State, at: Instant) {
        if state.looks_at.is_none_or(|looks_at| looks_at > at) {
            self.0.earlier.notify_one();
        }
    }
}

impl Exchange {
    /// The client has something to take now.
    fn waits_for_client(&self) {
        let mut state = self.exchanges.lock();
        let now = Instant::now();
        if let Some(since) = state.open.get_mut(self.key) {
            *since = Some(now);
        }
        self.exchanges.tell(&state, now + WRITE_STALL_MAX);
    }

    /// The client has taken all that there was.
    fn waits_for_us(&self) {
        if let Some(since) = self.exchanges.lock().open.get_mut(self.key) {
            *since = None;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.exchanges.lock();
        state.open.try_remove(self.key);
        if state.open.is_empty() {
            let now = Instant::now();
            state.idle_since = Some(now);
            self.exchanges.tell(&state, now + HTTP2_IDLE_MAX);
        }
    }
}

/// An answer's body that gives small pieces, and notes how the client takes them. hyper would otherwise hold the whole of a
/// long answer for a client that takes a byte of it.
#[derive(Debug)]
pub(crate) struct PacedBody {
    body: Body,
    /// The rest of a long frame.
    rest: Bytes,
    exchange: Exchange,
}

impl PacedBody {
    pub(crate) fn new(body: Body, exchange: Exchange) -> Self {
        // It is asked for the first time when the client has room for a first byte.
        if !body.is_end_stream() {
            exchange.waits_for_client();
        }
        Self { body, rest: Bytes::new(), exchange }
    }
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => {
                    this.exchange.waits_for_us();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(ended) => return Poll::Ready(ended),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(HTTP2_PIECE_BYTES_MAX));
        this.exchange.waits_for_client();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::testing;

    const SECOND: Duration = Duration::from_secs(1);

    /// Whether something is due within that time.
    async fn due_within(exchanges: &Exchanges, time: Duration) -> Option<Due> {
        tokio::time::timeout(time, exchanges.due()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_open_is_idle_in_time() {
        let exchanges = Exchanges::default();
        let exchange = exchanges.begin();
        assert_eq!(due_within(&exchanges, 10 * HTTP2_IDLE_MAX).await, None, "a request is being answered");
        drop(exchange);
        assert_eq!(due_within(&exchanges, HTTP2_IDLE_MAX.saturating_sub(SECOND)).await, None);
        assert_eq!(due_within(&exchanges, 2 * SECOND).await, Some(Due::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_the_client_does_not_take_is_stalled_in_time() {
        let exchanges = Exchanges::default();
        let mut body = PacedBody::new(Body::from(vec![b'x'; HTTP2_PIECE_BYTES_MAX + 1]), exchanges.begin());
        assert_eq!(due_within(&exchanges, WRITE_STALL_MAX.saturating_sub(SECOND)).await, None);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
            panic!("there is something")
        };
        assert_eq!(frame.into_data().unwrap().len(), HTTP2_PIECE_BYTES_MAX);
        assert_eq!(body.size_hint().exact(), Some(1));
        assert_eq!(
            due_within(&exchanges, WRITE_STALL_MAX.saturating_sub(SECOND)).await,
            None,
            "something was taken meanwhile"
        );
        assert_eq!(due_within(&exchanges, 2 * SECOND).await, Some(Due::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_nothing_to_say_may_last() {
        let exchanges = Exchanges::default();
        let mut body = PacedBody::new(testing::body(|| Poll::Pending), exchanges.begin());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        assert_eq!(due_within(&exchanges, 100 * WRITE_STALL_MAX).await, None);
    }
}
