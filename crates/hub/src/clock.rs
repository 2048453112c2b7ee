//! Time, injected. The engine asks a [`Clock`] and never the machine, so tests decide what time it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the engine reads time.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time in milliseconds since the Unix epoch. May step; the log corrects it to never go back.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed instant of this process. Never goes back; deadlines are made of it.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    /// What `elapsed` counts from.
    started: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn unix_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is told to move. For tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    /// Milliseconds since the Unix epoch.
    unix_ms: AtomicU64,
    /// Milliseconds since the start.
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `unix_ms`.
    pub fn at(unix_ms: u64) -> Self {
        Self { unix_ms: AtomicU64::new(unix_ms), elapsed_ms: AtomicU64::new(0) }
    }

    /// Moves both times on.
    pub fn advance(&self, by: Duration) {
        self.unix_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        self.elapsed_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    /// Steps the wall clock alone, as somebody who sets it does.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms.load(Ordering::Relaxed))
    }
}
