//! HTTP/2 on one connection. Every request is a stream of its own, event streams too; their bodies are the hub's mailboxes.
//!
//! The limits are small, since a client chooses how many streams there are and which of them it reads. Where hyper has no
//! answer to a client that opens a stream and then takes nothing of it (it offers no reset of a single stream), the
//! connection ends: `exchanges.rs` knows when.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Entrance;
use crate::connection::exchanges::{Due, Exchanges, PacedBody};
use crate::connection::visit::Visit;
use crate::limits::{
    HEAD_BYTES_MAX, HTTP2_CONNECTION_WINDOW, HTTP2_PING_INTERVAL, HTTP2_PING_WAIT_MAX, HTTP2_RESETS_MAX,
    HTTP2_SEND_BYTES_MAX, HTTP2_STREAM_WINDOW,
};
use crate::serve::stop::Stopped;

/// Serves a connection until it ends. Once `stopped`, the client is told to open nothing more (GOAWAY), and what is open is
/// finished.
pub(crate) async fn serve<I: AsyncRead + AsyncWrite + Unpin>(io: I, entrance: Entrance, stopped: &mut Stopped) {
    let Entrance { app, counts, http2_streams_max, .. } = entrance;
    counts.http2_connections.add();
    let exchanges = Exchanges::default();
    let mut connection = std::pin::pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(http2_streams_max)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
            .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
            .max_local_error_reset_streams(HTTP2_RESETS_MAX)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_WAIT_MAX)
            .serve_connection(TokioIo::new(io), Paced { app, exchanges: exchanges.clone() })
    );
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            due = exchanges.due(), if !is_stopping => match due {
                Due::Idle => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                Due::Stalled => {
                    counts.http2_stalled.add();
                    tracing::debug!("an HTTP/2 client takes nothing of what it asked for; its connection ends");
                    return;
                }
            },
            () = stopped.wait(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        if is_broken(&error) {
            counts.http2_broken.add();
        }
        // Clients go away as they like; that is nobody's error.
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

/// Whether the connection ended because the client broke the protocol, or one of the limits that h2 holds it to.
fn is_broken(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(h2::Error::is_library)
}

/// The application, as one connection sees it.
struct Paced {
    app: Visit,
    exchanges: Exchanges,
}

impl Service<Request<Incoming>> for Paced {
    type Response = Response<PacedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<PacedBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let app = self.app.clone();
        let exchange = self.exchanges.begin();
        Box::pin(async move {
            let answer = app.answer(request.map(Body::new)).await;
            Ok(answer.map(|body| PacedBody::new(body, exchange)))
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::connection::counts::Counts;
    use crate::limits::{HTTP2_IDLE_MAX, HTTP2_STREAMS_MAX, WRITE_STALL_MAX};
    use crate::testing;

    /// Serves a client with such windows; gives what was counted once the connection has ended, and after how long.
    async fn served(window: u32, path: &'static str) -> (std::sync::Arc<Counts>, std::time::Duration) {
        let app = Router::new()
            .route("/long", get(async || "x".repeat(1 << 20)))
            .route("/silent", get(async || testing::body(|| std::task::Poll::Pending)));
        let counts = std::sync::Arc::<Counts>::default();
        let http2_streams_max = HTTP2_STREAMS_MAX;
        let app = Visit::new(app);
        let entrance = Entrance { app, tls: None, counts: counts.clone(), idle_max: HTTP2_IDLE_MAX, http2_streams_max };
        let (client, server) = tokio::io::duplex(1 << 16);
        let (_stop, mut stopped) = crate::serve::stop::stop();
        let began = Instant::now();
        let asking = async {
            let mut builder = h2::client::Builder::new();
            let (mut requests, connection) =
                builder.initial_window_size(window).handshake::<_, Bytes>(client).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::builder().uri(format!("http://localhost{path}")).body(()).unwrap();
            let (answer, _) = requests.send_request(request, true).unwrap();
            // Held, and not read.
            let answer = answer.await;
            let _ = connection.await;
            drop((answer, requests));
        };
        let serving = async {
            serve(server, entrance, &mut stopped).await;
            began.elapsed()
        };
        let ((), lasted) = tokio::join!(asking, serving);
        (counts, lasted)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_or_a_little_of_an_answer_loses_its_connection() {
        for window in [0, 1, 1000] {
            let (counts, lasted) = served(window, "/long").await;
            assert_eq!(counts.http2_stalled.value(), 1);
            assert!(lasted >= WRITE_STALL_MAX && lasted < 2 * WRITE_STALL_MAX, "{lasted:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_in_order_and_one_with_a_silent_stream_stays() {
        let (counts, lasted) = served(0, "/nowhere").await;
        assert_eq!((counts.http2_stalled.value(), counts.http2_broken.value()), (0, 0));
        assert!(lasted >= HTTP2_IDLE_MAX && lasted < 2 * HTTP2_IDLE_MAX, "{lasted:?}");
        let long = tokio::time::timeout(100 * HTTP2_IDLE_MAX, served(65_535, "/silent")).await;
        assert!(long.is_err(), "it lasts");
    }
}
