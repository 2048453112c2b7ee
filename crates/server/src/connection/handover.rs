//! Handing a connection's socket over from HTTP to the hub. A plain HTTP/1.1 stream needs nothing of HTTP once its head is
//! written: the hub writes to its socket itself, which costs a few hundred bytes a stream instead of some twenty thousand.
//!
//! The route reserves the stream and answers with a head alone, which takes its way back through the guard like any other
//! answer. Then the answer is withheld from hyper, and the connection's task takes the socket away.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use fanfare_hub::{Clock, Reservation, SystemClock};
use hyper::body::Incoming;
use hyper::service::Service;

use crate::connection::idling::Turn;
use crate::connection::visit::Visit;

/// What a connection's task and the request that it serves share. Present in a request's extensions where the socket can
/// be had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Nothing,
    /// The route wants the socket for this stream.
    Reserved(Reservation),
    /// The answer's head is known too.
    Ready(Reservation, Vec<u8>),
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The route wants the socket.
    pub(crate) fn reserve(&self, reservation: Reservation) {
        *self.lock() = State::Reserved(reservation);
    }

    /// Whether the socket can be taken away, as far as the answer is concerned.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.lock(), State::Ready(..))
    }

    /// The stream, and the head to be written before it.
    pub(crate) fn take(&self) -> Option<(Reservation, Vec<u8>)> {
        match std::mem::take(&mut *self.lock()) {
            State::Ready(reservation, head) => Some((reservation, head)),
            State::Nothing | State::Reserved(_) => None,
        }
    }

    /// Withholds an answer that is the head of a reserved stream; gives any other back.
    fn withhold(&self, answer: Response<Body>) -> Option<Response<Body>> {
        let mut state = self.lock();
        match std::mem::take(&mut *state) {
            State::Reserved(reservation) if answer.status() == StatusCode::OK => {
                *state = State::Ready(reservation, head(&answer));
                None
            }
            State::Nothing | State::Reserved(_) | State::Ready(..) => Some(answer),
        }
    }
}

/// The head of a response that lasts until the connection ends (RFC 9112 section 6.3, the last case): one form for all
/// clients, in which the stream's bytes follow as they are.
fn head(answer: &Response<Body>) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(SystemClock::default().unix_ms());
    head.extend_from_slice(format!("date: {}\r\nconnection: close\r\n\r\n", httpdate::fmt_http_date(now)).as_bytes());
    head
}

/// The application, as one connection sees it.
pub(crate) struct Handing {
    pub(crate) app: Visit,
    pub(crate) handover: Handover,
    pub(crate) turn: Turn,
}

impl Service<Request<Incoming>> for Handing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (app, handover, turn) = (self.app.clone(), self.handover.clone(), self.turn.clone());
        turn.begin();
        request.extensions_mut().insert(handover.clone());
        Box::pin(async move {
            let answer = app.answer(request.map(Body::new)).await;
            match handover.withhold(answer) {
                Some(answer) => {
                    turn.end();
                    Ok(answer)
                }
                // The connection's task sees that all is ready, and drops this together with the connection.
                None => std::future::pending().await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_the_connection_and_has_no_length() {
        let answer = Response::builder().header("content-type", "text/event-stream").header("content-length", "0");
        let head = String::from_utf8(head(&answer.body(Body::empty()).unwrap())).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ndate: "), "{head}");
        assert!(head.ends_with(" GMT\r\nconnection: close\r\n\r\n"), "{head}");
    }
}
