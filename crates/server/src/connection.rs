//! One connection, from the socket that was accepted to its end: which protocol it speaks, and who serves it.
//!
//! | port | first bytes | served by |
//! |---|---|---|
//! | plain | anything | `http1.rs`, and a stream gets the socket itself |
//! | plain | HTTP/2's preface | `http2.rs` |
//! | TLS | ALPN says `http/1.1`, or nothing | `http1.rs`, and a stream gets the connection ([`crate::encrypted`]) |
//! | TLS | ALPN says `h2` | `http2.rs` |
//!
//! Deadlines of streams are the hub's; whether the other side takes what is written is `watched.rs`'s to know.

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpStream;

use crate::counts::Counts;
use crate::http1::{self, Taken};
use crate::limits::HEAD_READ_MAX;
use crate::stop::Stopped;
use crate::tls::Tls;
use crate::watched::Watched;
use crate::{encrypted, http2};

/// What all connections lead to.
#[derive(Clone)]
pub(crate) struct Entrance {
    /// What answers requests.
    pub(crate) app: Router,
    /// How connections are encrypted; `None` where they are plain.
    pub(crate) tls: Option<Tls>,
    /// What is counted of connections.
    pub(crate) counts: Arc<Counts>,
    /// Requests open at a time on one HTTP/2 connection.
    pub(crate) http2_streams_max: u32,
}

/// Serves a connection until it ends, or until a stream gets its socket. Once `stopped`, what is being answered is finished
/// and nothing more is taken.
///
/// The ways are boxed, so that each connection takes no more memory than its own way needs.
pub(crate) async fn serve(socket: TcpStream, entrance: Entrance, mut stopped: Stopped) {
    let io = Watched::new(socket);
    match entrance.tls.clone() {
        None => Box::pin(plain(io, entrance, &mut stopped)).await,
        Some(tls) => Box::pin(encrypted(io, tls, entrance, &mut stopped)).await,
    }
}

/// A connection that is not encrypted.
async fn plain(mut io: Watched, entrance: Entrance, stopped: &mut Stopped) {
    let is_http2 = tokio::select! {
        is_http2 = tokio::time::timeout(HEAD_READ_MAX, io.speaks_http2()) => is_http2,
        () = stopped.wait() => return,
    };
    match is_http2 {
        Ok(Ok(true)) => Box::pin(http2::serve(io, entrance, stopped)).await,
        Ok(Ok(false)) => {
            let (is_unsent, app) = (io.is_unsent(), entrance.app);
            if let Some(Taken { io, reservation, head }) = Box::pin(http1::serve(io, is_unsent, app, stopped)).await {
                match io.into_socket().into_std() {
                    Ok(socket) => reservation.into_socket(socket, &head),
                    Err(error) => tracing::warn!(%error, "a socket could not be handed over"),
                }
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke off before it said anything"),
        Err(_) => tracing::debug!("a connection said nothing for too long"),
    }
}

/// A connection that is encrypted.
async fn encrypted(io: Watched, tls: Tls, entrance: Entrance, stopped: &mut Stopped) {
    let is_unsent = io.is_unsent();
    let shaken = tokio::select! {
        shaken = Box::pin(tls.shake_hands(io, &entrance.counts)) => shaken,
        () = stopped.wait() => return,
    };
    let Some(io) = shaken else { return };
    // What the handshake needed is the acceptor's no more.
    drop(tls);
    if io.get_ref().1.alpn_protocol() == Some(crate::tls::HTTP2) {
        return Box::pin(http2::serve(io, entrance, stopped)).await;
    }
    if let Some(Taken { io, reservation, head }) = Box::pin(http1::serve(io, is_unsent, entrance.app, stopped)).await {
        Box::pin(encrypted::deliver(io, reservation.into_stream(), head)).await;
    }
}
