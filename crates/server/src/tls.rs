//! TLS: which certificate the server shows, how it is renewed, and the handshake of a connection.
//!
//! A certificate is replaced as a whole, together with the keys of session tickets. Connections that are open keep what they
//! were made with, so that a renewal costs no stream; new ones get the new certificate.
//!
//! No `Strict-Transport-Security` is sent: it would bind every port of the host's name, and a hub often shares its name with
//! other servers. Whoever owns the name says it at the name's front door.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

mod files;
#[cfg(test)]
pub(crate) use crate::tls::files::tests::write as write_pair;

use crate::config::TlsFiles;
use crate::connection::counts::Counts;
use crate::connection::watched::Watched;
use crate::limits::{TLS_BUFFER_BYTES_MAX, TLS_HANDSHAKE_MAX, TLS_HANDSHAKES_MAX, TLS_LOOK_INTERVAL};
use crate::serve::stop::Stopped;
use crate::tls::files::Stamp;
pub use crate::tls::files::TlsError;
pub(crate) use crate::tls::files::certificates;

/// ALPN's names of what is spoken within TLS (RFC 7301).
pub(crate) const HTTP2: &[u8] = b"h2";
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// The answer to a client that speaks plain HTTP where TLS is spoken.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 44\r\n\
                            connection: close\r\n\r\nThis port speaks TLS; the URL needs https://";

/// How a server's connections are encrypted. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: RwLock<Current>,
    /// Bounds the handshakes that go on.
    handshakes: Semaphore,
}

/// What new connections get.
#[derive(Debug)]
struct Current {
    files: TlsFiles,
    /// What the files looked like before they were read.
    stamp: Stamp,
    rustls: Arc<ServerConfig>,
}

impl Current {
    /// Reads the files. Blocks.
    fn read(files: TlsFiles) -> Result<Self, TlsError> {
        // Taken first: what is written meanwhile is seen as a change later.
        let stamp = Stamp::of(&files);
        let rustls = files::read_both(&files)?;
        Ok(Self { files, stamp, rustls })
    }
}

impl Tls {
    /// Reads certificate and key. Blocks.
    ///
    /// # Errors
    ///
    /// When they can't be read, or don't belong together.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(Current::read(files)?);
        let handshakes = Semaphore::new(TLS_HANDSHAKES_MAX);
        Ok(Self(Arc::new(Shared { current, handshakes })))
    }

    /// Reads certificate and key again, perhaps from other files; new connections get them. Blocks.
    ///
    /// # Errors
    ///
    /// When they can't be read, or don't belong together: then everything stays as it is.
    pub(crate) fn reload(&self, files: TlsFiles) -> Result<(), TlsError> {
        let read = Current::read(files)?;
        tracing::info!(certificate = %read.files.certificate.display(), "the certificate was read again");
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Looks now and then whether the files have changed, and then reads them again.
    pub(crate) async fn watch(self, mut stopped: Stopped) {
        // A renewal that is half written is told once, and read when it is whole.
        let mut refused = None;
        loop {
            tokio::select! {
                () = sleep(TLS_LOOK_INTERVAL) => {}
                () = stopped.wait() => return,
            }
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let stamp = tls.look(refused.as_ref());
                (tls, stamp)
            });
            let Ok((_, now_refused)) = looked.await else { return };
            refused = now_refused;
        }
    }

    /// Reads the files again if they have changed; gives what they looked like where that can't be used. Blocks.
    fn look(&self, refused: Option<&Stamp>) -> Option<Stamp> {
        let files = {
            let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
            let stamp = Stamp::of(&current.files);
            if stamp == current.stamp {
                return None;
            }
            if Some(&stamp) == refused {
                return Some(stamp);
            }
            current.files.clone()
        };
        let stamp = Stamp::of(&files);
        match self.reload(files) {
            Ok(()) => None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the renewed certificate can't be used; going on with the old one");
                Some(stamp)
            }
        }
    }

    /// Makes a connection an encrypted one; `None`, counted, where the client can't or doesn't.
    pub(crate) async fn shake_hands(&self, io: Watched, counts: &Counts) -> Option<TlsStream<Watched>> {
        match timeout(TLS_HANDSHAKE_MAX, self.shake(io)).await {
            Ok(Ok(stream)) => {
                counts.tls_connections.add();
                return Some(stream);
            }
            Ok(Err(error)) => {
                counts.tls_failed.add();
                tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => counts.tls_too_slow.add(),
        }
        None
    }

    async fn shake(&self, mut io: Watched) -> io::Result<TlsStream<Watched>> {
        if !io.speaks_tls().await? {
            io.write_all(PLAIN_HTTP).await?;
            io.shutdown().await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client speaks no TLS"));
        }
        // Whoever says nothing takes no place from those who do.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let rustls = Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner).rustls);
        // The semaphore is never closed.
        let _turn = self.0.handshakes.acquire().await;
        hello.into_stream_with(rustls, |tls| tls.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX))).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn the_plain_answer_says_how_long_it_is() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
    }

    /// Both ends of a connection.
    async fn connection() -> (TcpStream, Watched) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Watched::new(listener.accept().await.unwrap().0))
    }

    /// A client that trusts nobody, which the server learns only after it has done its part.
    async fn distrust(client: TcpStream) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let roots = rustls::RootCertStore::empty();
        let config = Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth());
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        assert!(tokio_rustls::TlsConnector::from(config).connect(name, client).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_takes_too_long_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::open(files::tests::write(folder.path(), "localhost")).unwrap();
        let counts = Counts::default();
        let (silent, server) = connection().await;
        assert!(tls.shake_hands(server, &counts).await.is_none());
        assert_eq!((counts.tls_too_slow.value(), counts.tls_failed.value()), (1, 0));
        drop(silent);

        // As many as may be go on already: the next waits for its turn.
        let all = tls.0.handshakes.acquire_many(TLS_HANDSHAKES_MAX as u32).await.unwrap();
        let (client, server) = connection().await;
        let asking = tokio::spawn(distrust(client));
        assert!(tls.shake_hands(server, &counts).await.is_none());
        assert_eq!((counts.tls_too_slow.value(), counts.tls_failed.value()), (2, 0));
        asking.await.unwrap();
        drop(all);
    }

    #[tokio::test]
    async fn a_handshake_that_fails_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::open(files::tests::write(folder.path(), "localhost")).unwrap();
        let counts = Counts::default();
        let (client, server) = connection().await;
        let asking = tokio::spawn(distrust(client));
        assert!(tls.shake_hands(server, &counts).await.is_none());
        assert_eq!((counts.tls_too_slow.value(), counts.tls_failed.value()), (0, 1));
        asking.await.unwrap();
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = files::tests::write(folder.path(), "first.example");
        let tls = Tls::open(files.clone()).unwrap();
        let used = || Arc::as_ptr(&tls.0.current.read().unwrap().rustls);
        let first = used();
        assert_eq!(tls.look(None), None);
        assert_eq!(used(), first, "nothing has changed");
        std::fs::write(&files.key, "half of a ke").unwrap();
        let refused = tls.look(None);
        assert!(refused.is_some());
        assert_eq!(tls.look(refused.as_ref()), refused, "it is told once");
        assert_eq!(used(), first, "what there was is kept");
        files::tests::write(folder.path(), "a-second-one.example");
        assert_eq!(tls.look(refused.as_ref()), None);
        assert_ne!(used(), first);
    }
}
