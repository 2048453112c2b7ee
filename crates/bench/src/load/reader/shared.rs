//! What a reader lets others see while it works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

use crate::load::pace::Clock;
use crate::load::publishing::times;
use crate::load::reader::Seen;

/// Written by the reader, read by whoever wants to know.
#[derive(Debug)]
pub(in crate::load) struct Shared {
    /// Streams that are open.
    pub(in crate::load) open: AtomicU64,
    /// Streams that were refused or never came to be.
    pub(in crate::load) refused: AtomicU64,
    /// The status with which the last of them was refused; 0 if there was none.
    pub(in crate::load) status: AtomicU64,
    /// Streams that were open and ended by the server.
    pub(in crate::load) cut: AtomicU64,
    /// Deliveries, doubled ones left out.
    pub(in crate::load) delivered: AtomicU64,
    /// When the last of them came, in microseconds of the run.
    pub(in crate::load) last_delivery_us: AtomicU64,
    /// When the last stream was opened, in microseconds of the run.
    pub(in crate::load) last_opening_us: AtomicU64,
    /// From due to delivered, in microseconds.
    latencies: Mutex<Histogram<u64>>,
    /// From the beginning of a connection until its stream was open, in microseconds.
    openings: Mutex<Histogram<u64>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            open: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            status: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            last_delivery_us: AtomicU64::new(0),
            last_opening_us: AtomicU64::new(0),
            latencies: Mutex::new(times()),
            openings: Mutex::new(times()),
        }
    }
}

impl Shared {
    /// A read brought deliveries.
    pub(super) fn has_delivered(&self, clock: &Clock, seen: &Seen) {
        let now = clock.now().as_micros() as u64;
        let mut latencies = lock(&self.latencies);
        for due_us in &seen.due_us {
            latencies.saturating_record(since(*due_us, now));
        }
        drop(latencies);
        self.last_delivery_us.store(now, Ordering::Relaxed);
        // Whoever sees the count also sees when the last one came.
        self.delivered.fetch_add(seen.count, Ordering::Release);
    }

    /// A stream has opened whose connection was begun then.
    pub(super) fn has_opened(&self, clock: &Clock, begun_us: u32) {
        let now = clock.now().as_micros() as u64;
        lock(&self.openings).saturating_record(since(begun_us, now));
        self.last_opening_us.store(now, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Release);
    }

    /// Takes the latencies that were recorded since the last time.
    pub(in crate::load) fn take_latencies(&self) -> Histogram<u64> {
        std::mem::replace(&mut *lock(&self.latencies), times())
    }

    /// Takes the times of openings that were recorded since the last time.
    pub(in crate::load) fn take_openings(&self) -> Histogram<u64> {
        std::mem::replace(&mut *lock(&self.openings), times())
    }
}

/// Microseconds since an instant that is given without its upper half. Never more than half of what fits: later than
/// now means now.
fn since(instant_us: u32, now_us: u64) -> u64 {
    let since = (now_us as u32).wrapping_sub(instant_us);
    if since > u32::MAX / 2 { 0 } else { u64::from(since) }
}

fn lock(times: &Mutex<Histogram<u64>>) -> MutexGuard<'_, Histogram<u64>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}
