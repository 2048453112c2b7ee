//! Rounds: a subject and its bare limit in turn, so that whatever slows the machine slows both.

use std::time::Duration;

use fanfare_hub::{Clock, SystemClock};
use serde::Serialize;

use crate::error::MeasureError;

/// A subject and its bare limit, round by round.
#[derive(Clone, Debug)]
pub struct Rounds(Vec<(Sample, Sample)>);

impl Rounds {
    /// Lets subject and limit work in turn, `count` times. The limit sees what the subject just did.
    ///
    /// # Errors
    ///
    /// The first error of either.
    pub fn alternate(
        count: usize,
        mut subject: impl FnMut() -> Result<Sample, MeasureError>,
        mut limit: impl FnMut(&Sample) -> Result<Sample, MeasureError>,
    ) -> Result<Self, MeasureError> {
        let mut rounds = Vec::with_capacity(count);
        for _ in 0..count {
            let subject = subject()?;
            let limit = limit(&subject)?;
            rounds.push((subject, limit));
        }
        Ok(Self(rounds))
    }

    /// How many rounds there were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A figure of the subject, in each round.
    pub fn subject<T>(&self, figure: impl Fn(&Sample) -> T) -> Vec<T> {
        self.0.iter().map(|(subject, _)| figure(subject)).collect()
    }

    /// A figure of the limit, in each round.
    pub fn limit<T>(&self, figure: impl Fn(&Sample) -> T) -> Vec<T> {
        self.0.iter().map(|(_, limit)| figure(limit)).collect()
    }

    /// The ratio of subject to limit, in each round. It is of bytes, since a limit may not know of events.
    pub fn ratios(&self) -> Vec<f64> {
        self.0.iter().map(|(subject, limit)| subject.bytes_per_s() / limit.bytes_per_s().max(1e-9)).collect()
    }
}

/// What one side did in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// How many events it worked on.
    pub events: u64,
    /// How many bytes these had.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// How long single waits took, where there were any.
    pub latency: Option<Latency>,
    /// How many events went together, on average; 1 where each went alone.
    pub group: u64,
}

impl Sample {
    /// A sample without waits or groups.
    pub fn new(events: u64, bytes: u64, elapsed: Duration) -> Self {
        Self { events, bytes, elapsed, latency: None, group: 1 }
    }

    fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Events in a second.
    pub fn events_per_s(&self) -> f64 {
        self.events as f64 / self.seconds()
    }

    /// Bytes in a second.
    pub fn bytes_per_s(&self) -> f64 {
        self.bytes as f64 / self.seconds()
    }
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the rounds had at most this.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of these figures; all 0 of none.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        let at = |at: usize| figures.get(at).copied().unwrap_or_default();
        let last = figures.len().saturating_sub(1);
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), min: at(0), max: at(last) }
    }
}

/// Tells how long something took. The engine's own clock is the one that asks the machine.
#[derive(Debug, Default)]
pub struct Stopwatch(SystemClock);

impl Stopwatch {
    /// A stopwatch that runs from now on.
    pub fn start() -> Self {
        Self::default()
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How long single waits took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of them took at most this many microseconds.
    pub p50_us: f64,
    /// 99 of 100 took at most this many microseconds.
    pub p99_us: f64,
}

impl Latency {
    /// The latency of these waits, in whatever order they are; `None` of none.
    pub fn of(mut waits: Vec<Duration>) -> Option<Self> {
        waits.sort_unstable();
        let rank = |percent: usize| {
            let at = (waits.len() * percent).div_ceil(100).checked_sub(1)?;
            waits.get(at).map(|wait| wait.as_secs_f64() * 1e6)
        };
        Some(Self { p50_us: rank(50)?, p99_us: rank(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }

    #[test]
    fn a_percentile_is_a_wait_that_was() {
        let waits: Vec<Duration> = (1..=200).rev().map(Duration::from_micros).collect();
        let latency = Latency::of(waits).unwrap();
        assert!((latency.p50_us - 100.0).abs() < 1e-6 && (latency.p99_us - 198.0).abs() < 1e-6, "{latency:?}");
        assert_eq!(Latency::of(vec![]), None);
    }

    #[test]
    fn a_ratio_compares_the_two_sides_of_one_round() {
        let mut seconds = [1, 4].into_iter();
        let rounds = Rounds::alternate(
            2,
            || Ok(Sample::new(1, 100, Duration::from_secs(2))),
            |_| Ok(Sample::new(1, 100, Duration::from_secs(seconds.next().unwrap()))),
        )
        .unwrap();
        assert_eq!(rounds.ratios(), [0.5, 2.0]);
    }
}
