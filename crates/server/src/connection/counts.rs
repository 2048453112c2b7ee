//! What the doors count of connections. Written where it happens, read by whoever shows figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened to connections since the server started.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were accepted.
    pub(crate) accepted: Count,
    /// Those of them that have ended, or that a stream has for itself since.
    ended: Count,
    /// Connections that were closed at once because there were as many as there may be.
    pub(crate) refused: Count,
    /// How often no connection could be accepted, as when no file descriptors are left.
    pub(crate) accept_failed: Count,
    /// Requests whose handler panicked.
    pub(crate) panics: Count,
    /// HTTP/1.1 clients that took too long for a request's head.
    pub(crate) heads_too_slow: Count,
    /// TLS connections that were made.
    pub(crate) tls_connections: Count,
    /// Clients that did not speak TLS, or not ours, or none of our protocols.
    pub(crate) tls_failed: Count,
    /// Clients that took too long for the handshake.
    pub(crate) tls_too_slow: Count,
    /// HTTP/2 connections that were made.
    pub(crate) http2_connections: Count,
    /// HTTP/2 connections that were ended because the client took nothing of an answer.
    pub(crate) http2_stalled: Count,
    /// HTTP/2 connections that were ended because the client broke the protocol, or flooded it.
    pub(crate) http2_broken: Count,
}

impl Counts {
    /// A connection was accepted; it has ended when what is returned is dropped.
    pub(crate) fn accept(self: &Arc<Self>) -> Accepted {
        self.accepted.add();
        Accepted(self.clone())
    }

    /// Connections that are open; not those that a stream has for itself.
    pub(crate) fn open(&self) -> u64 {
        // In this order, so that one that ends in between is counted as neither.
        let ended = self.ended.value();
        self.accepted.value().saturating_sub(ended)
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> [(&'static str, u64); 12] {
        [
            ("accepted", self.accepted.value()),
            ("ended", self.ended.value()),
            ("refused", self.refused.value()),
            ("accept_failed", self.accept_failed.value()),
            ("panics", self.panics.value()),
            ("heads_too_slow", self.heads_too_slow.value()),
            ("tls_connections", self.tls_connections.value()),
            ("tls_failed", self.tls_failed.value()),
            ("tls_too_slow", self.tls_too_slow.value()),
            ("http2_connections", self.http2_connections.value()),
            ("http2_stalled", self.http2_stalled.value()),
            ("http2_broken", self.http2_broken.value()),
        ]
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Accepted(Arc<Counts>);

impl Drop for Accepted {
    fn drop(&mut self) {
        self.0.ended.add();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_as_open_until_it_is_gone() {
        let counts = Arc::new(Counts::default());
        let connection = counts.accept();
        assert_eq!(counts.open(), 1);
        drop(connection);
        assert_eq!((counts.open(), counts.accepted.value(), counts.ended.value()), (0, 1, 1));
    }
}
