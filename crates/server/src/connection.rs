//! One connection, from the socket that was accepted to its end: which protocol it speaks, and who serves it.
//!
//! | port | first bytes | served by |
//! |---|---|---|
//! | plain | anything | `http1.rs`, and a stream gets the socket itself |
//! | plain | HTTP/2's preface | `http2.rs` |
//! | TLS | ALPN says `http/1.1`, or nothing | `http1.rs`, and a stream gets the connection ([`crate::connection::encrypted`]) |
//! | TLS | ALPN says `h2` | `http2.rs` |
//!
//! Deadlines of streams are the hub's; whether the other side takes what is written is `watched.rs`'s to know.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use self::counts::Counts;
use self::http1::Taken;
use self::visit::Visit;
use self::watched::Watched;
use crate::limits::HEAD_READ_MAX;
use crate::serve::listener::Place;
use crate::serve::stop::Stopped;
use crate::tls::Tls;

pub(crate) mod counts;
pub(crate) mod encrypted;
pub(crate) mod exchanges;
pub(crate) mod handover;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod idling;
pub(crate) mod stream_body;
pub(crate) mod visit;
pub(crate) mod watched;

/// What all connections lead to.
#[derive(Clone)]
pub(crate) struct Entrance {
    /// What answers requests.
    pub(crate) app: Visit,
    /// How connections are encrypted; `None` where they are plain.
    pub(crate) tls: Option<Tls>,
    /// What is counted of connections.
    pub(crate) counts: Arc<Counts>,
    /// How long an HTTP/1.1 connection may idle between two requests.
    pub(crate) idle_max: Duration,
    /// Requests open at a time on one HTTP/2 connection.
    pub(crate) http2_streams_max: u32,
}

impl Entrance {
    /// The same, for a connection from there.
    pub(crate) fn by(&self, peer: SocketAddr) -> Self {
        Self { app: self.app.clone().by(peer), ..self.clone() }
    }
}

/// Serves a connection until it ends, or until a stream gets its socket. Once `stopped`, what is being answered is finished
/// and nothing more is taken. Its `place` among the connections it gives back when it ends, or when it is a stream's alone:
/// streams are counted by the hub.
///
/// The ways are boxed, so that each connection takes no more memory than its own way needs.
pub(crate) async fn serve(socket: TcpStream, place: Place, entrance: Entrance, mut stopped: Stopped) {
    let io = Watched::new(socket);
    match entrance.tls.clone() {
        None => Box::pin(plain(io, place, entrance, &mut stopped)).await,
        Some(tls) => Box::pin(encrypted(io, place, tls, entrance, &mut stopped)).await,
    }
}

/// A connection that is not encrypted.
async fn plain(mut io: Watched, place: Place, entrance: Entrance, stopped: &mut Stopped) {
    let is_http2 = tokio::select! {
        is_http2 = tokio::time::timeout(HEAD_READ_MAX, io.speaks_http2()) => is_http2,
        () = stopped.wait() => return,
    };
    match is_http2 {
        Ok(Ok(true)) => Box::pin(http2::serve(io, entrance, stopped)).await,
        Ok(Ok(false)) => {
            let (is_unsent, app, idling) = (io.is_unsent(), entrance.app, (entrance.idle_max, entrance.counts));
            let taken = Box::pin(http1::serve(io, is_unsent, app, idling, stopped)).await;
            if let Some(Taken { io, reservation, head }) = taken {
                match io.into_socket().into_std() {
                    Ok(socket) => reservation.into_socket(socket, &head),
                    Err(error) => tracing::warn!(%error, "a socket could not be handed over"),
                }
            }
        }
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke off before it said anything"),
        Err(_) => tracing::debug!("a connection said nothing for too long"),
    }
    drop(place);
}

/// A connection that is encrypted.
async fn encrypted(io: Watched, place: Place, tls: Tls, entrance: Entrance, stopped: &mut Stopped) {
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
    // A statement of its own: what HTTP needed is given back before the stream begins.
    let idling = (entrance.idle_max, entrance.counts);
    let taken = Box::pin(http1::serve(io, is_unsent, entrance.app, idling, stopped)).await;
    if let Some(Taken { io, reservation, head }) = taken {
        drop(place);
        Box::pin(encrypted::deliver(io, reservation.into_stream(), head)).await;
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::HttpConfig;
    use crate::limits::IDLE_MAX;
    use crate::serve::listener::Room;
    use crate::testing::TestDoor;

    /// Asks over TLS, reads until `text` has come; gives how many of one place are free then.
    async fn free_places(path: &str, text: &str) -> usize {
        let (door, folder) = (TestDoor::open(), tempfile::tempdir().unwrap());
        let files = crate::tls::write_pair(folder.path(), "localhost");
        let mut roots = RootCertStore::empty();
        roots.add(crate::tls::certificates(&files.certificate).unwrap().remove(0)).unwrap();
        let app = crate::app(door.door.clone(), &HttpConfig::default());
        let tls = Some(Tls::open(files).unwrap());
        let entrance =
            Entrance { app: Visit::new(app), tls, counts: Arc::default(), idle_max: IDLE_MAX, http2_streams_max: 1 };
        let room = Room::new(door.hub.clone(), 1);
        let place = room.take().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_stop, stopped) = crate::serve::stop::stop();
        let serving = tokio::spawn(serve(listener.accept().await.unwrap().0, place, entrance, stopped));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = tokio_rustls::TlsConnector::from(config).connect(name, client).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            assert_ne!(client.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
        let free = 1 - room.taken();
        drop(client);
        serving.await.unwrap();
        assert_eq!(room.taken(), 0, "it is given back");
        free
    }

    #[tokio::test]
    async fn a_stream_over_tls_gives_its_place_among_the_connections_back() {
        assert_eq!(free_places("/events", "fanfare.hello").await, 1);
        assert_eq!(free_places("/health/live", "HTTP/1.1 200").await, 0, "others keep theirs");
    }
}
