//! How fast a reader takes what waits for it. A reader that takes a byte now and then never stalls, and never comes forward
//! either: it holds a stream's place and the pages that are read for it for nothing.

use std::time::Duration;

/// What a reader has taken since it fell behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slow {
    /// Since when there has been something waiting whenever somebody looked, in milliseconds, wrapping; 0 where there is
    /// nothing.
    since_ms: u32,
    /// Bytes taken since then.
    taken: u32,
}

impl Slow {
    /// So many bytes were taken.
    pub(super) fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// There is no room for more.
    pub(super) fn is_full(&mut self, now: Duration) {
        if self.since_ms == 0 {
            *self = Self { since_ms: stamp(now), taken: 0 };
        }
    }

    /// When it will have been behind for so long; `None` where nothing waits.
    pub(super) fn judged_at(self, now: Duration, slow_max: Duration) -> Option<Duration> {
        (self.since_ms != 0).then(|| now + slow_max.saturating_sub(self.behind_for(now)))
    }

    fn behind_for(self, now: Duration) -> Duration {
        Duration::from_millis(stamp(now).wrapping_sub(self.since_ms).into())
    }

    /// Whether a reader has been behind for `slow_max` and took less than `rate_min` bytes a second. One that has taken all
    /// is not slow: then it is for the hub to send something. One that is waited for by nobody right now is not judged.
    pub(super) fn is_slow(&mut self, reader: Waits, now: Duration, slow_max: Duration, rate_min: u64) -> bool {
        if reader == Waits::HasAll {
            *self = Self::default();
        }
        let elapsed = self.behind_for(now);
        if self.since_ms == 0 || reader != Waits::ForReader || elapsed < slow_max {
            return false;
        }
        let elapsed_ms = elapsed.as_millis() as u64;
        let is_slow = u64::from(self.taken).saturating_mul(1000) < rate_min.saturating_mul(elapsed_ms);
        *self = Self { since_ms: stamp(now), taken: 0 };
        is_slow
    }
}

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The reader has taken all that there is.
    HasAll,
    /// There is more, and the hub has to bring it.
    ForHub,
    /// There is more, and no room for it.
    ForReader,
}

/// A time in few bytes; never 0.
fn stamp(now: Duration) -> u32 {
    (now.as_millis() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_takes_too_little_for_a_minute_is_slow() {
        let mut slow = Slow::default();
        slow.took(1_000_000);
        slow.is_full(at(100));
        for second in 100..160 {
            slow.took(1_000);
            slow.is_full(at(second));
            assert!(!slow.is_slow(Waits::ForReader, at(second), MINUTE, 2_000), "at {second}");
        }
        assert!(slow.is_slow(Waits::ForReader, at(160), MINUTE, 2_000));
    }

    #[test]
    fn who_takes_enough_or_all_is_not() {
        let mut slow = Slow::default();
        slow.is_full(at(0));
        slow.took(2_000 * 60);
        assert!(!slow.is_slow(Waits::ForReader, at(60), MINUTE, 2_000), "enough");
        assert!(slow.is_slow(Waits::ForReader, at(120), MINUTE, 2_000), "and then nothing");
        let mut slow = Slow::default();
        slow.is_full(at(1));
        assert!(!slow.is_slow(Waits::HasAll, at(50), MINUTE, 2_000), "all was taken");
        assert!(!slow.is_slow(Waits::ForReader, at(90), MINUTE, 2_000), "it counts from the next time");
        assert!(!slow.is_slow(Waits::ForReader, at(90), MINUTE, 0));
    }

    #[test]
    fn who_waits_for_the_hub_is_neither_judged_nor_forgiven() {
        let mut slow = Slow::default();
        assert_eq!(slow.judged_at(at(0), MINUTE), None);
        slow.is_full(at(10));
        assert_eq!(slow.judged_at(at(40), MINUTE), Some(at(70)));
        assert!(!slow.is_slow(Waits::ForHub, at(70), MINUTE, 1));
        assert!(slow.is_slow(Waits::ForReader, at(71), MINUTE, 1));
        assert_eq!(slow.judged_at(at(71), MINUTE), Some(at(131)), "it counts from then on");
    }

    #[test]
    fn a_hub_that_runs_for_months_goes_on_counting() {
        let mut slow = Slow::default();
        let near_wrap = Duration::from_millis(u64::from(u32::MAX) - 1_000);
        slow.is_full(near_wrap);
        assert!(!slow.is_slow(Waits::ForReader, near_wrap + at(30), MINUTE, 1));
        assert!(slow.is_slow(Waits::ForReader, near_wrap + at(60), MINUTE, 1));
    }
}
