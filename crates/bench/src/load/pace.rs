//! Time of a run, and waiting for its instants. Instants at which something was due are kept to, also by whoever is late:
//! what is late counts from when it was due, so that a slow server can't hide behind a load that waited for it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::round::Stopwatch;

/// The time of a run, shared by all its threads.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Stopwatch>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(Stopwatch::start()))
    }
}

impl Clock {
    /// How long the run has gone on.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same in microseconds, as markers carry it: it begins anew after 71 minutes.
    pub fn now_us(&self) -> u32 {
        self.now().as_micros() as u32
    }

    /// Waits until an instant of the run; not at all if it has passed.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits for an instant and nothing else")]
    pub fn wait_until(&self, instant: Duration) {
        let wait = instant.saturating_sub(self.now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }
}

/// A steady pace.
#[derive(Clone, Debug)]
pub struct Pace {
    clock: Clock,
    /// When the first is due.
    start: Duration,
    /// How many are due in a second.
    rate: f64,
    /// How many were due so far.
    count: u64,
}

impl Pace {
    /// A pace of so many a second, from an instant on.
    pub fn new(clock: Clock, start: Duration, rate: f64) -> Self {
        Self { clock, start, rate, count: 0 }
    }

    /// Waits until the next is due, and tells when that was.
    pub fn wait(&mut self) -> Duration {
        let due = self.start + Duration::from_secs_f64(self.count as f64 / self.rate);
        self.count += 1;
        self.clock.wait_until(due);
        due
    }
}

/// Lets this thread wake as near to its instants as the kernel can, instead of within 50 µs.
pub fn wake_sharply() {
    // A kernel that refuses costs 50 µs of precision, no more.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}
