//! What the doors count of connections. Written where it happens, read by whoever shows figures.

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
    /// All of them, by name.
    pub(crate) fn all(&self) -> [(&'static str, u64); 6] {
        [
            ("tls_connections", self.tls_connections.value()),
            ("tls_failed", self.tls_failed.value()),
            ("tls_too_slow", self.tls_too_slow.value()),
            ("http2_connections", self.http2_connections.value()),
            ("http2_stalled", self.http2_stalled.value()),
            ("http2_broken", self.http2_broken.value()),
        ]
    }
}
