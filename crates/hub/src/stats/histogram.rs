//! How often something took how long, or was how large: fixed buckets of atomic counters, written by anybody, read without
//! stopping anybody.
//!
//! It knows no names, no labels and no way to be shown; whoever shows it takes a [`Distribution`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Times. Kept in microseconds, shown in seconds.
    Time,
    /// Sizes in bytes, or numbers of things.
    Count,
}

/// Bounds for things that take from a tenth of a millisecond to ten seconds, in microseconds.
pub const TIMES: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Bounds for numbers of things that are done together.
pub const COUNTS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

/// Bounds for sizes from a kilobyte to some megabytes.
pub const SIZES: &[u64] =
    &[1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20];

/// The counters.
#[derive(Debug)]
pub struct Histogram {
    measure: Measure,
    /// The highest value of each bucket, rising. What is above the last has a bucket of its own.
    bounds: &'static [u64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    /// All values together.
    sum: AtomicU64,
}

impl Histogram {
    /// One for times, with [`TIMES`] as bounds.
    pub fn of_times() -> Self {
        Self::new(Measure::Time, TIMES)
    }

    /// One for sizes or numbers, with these bounds, which rise.
    pub fn of(bounds: &'static [u64]) -> Self {
        Self::new(Measure::Count, bounds)
    }

    fn new(measure: Measure, bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { measure, bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Counts a time.
    pub fn took(&self, time: Duration) {
        self.record(time.as_micros() as u64);
    }

    /// What was counted so far.
    pub fn distribution(&self) -> Distribution {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Distribution { measure: self.measure, bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// What a [`Histogram`] had counted at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    measure: Measure,
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum: u64,
}

impl Distribution {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together; seconds where they are times.
    pub fn sum(&self) -> f64 {
        self.shown(self.sum as f64)
    }

    /// Each bucket's highest value, seconds where they are times, and how many values lay in it and not in the one before.
    /// The last bucket has no highest value: `f64::INFINITY`.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().map(|bound| self.shown(*bound as f64)).chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied())
    }

    /// The value below which this share of all values lies (0.99: 99 of 100), guessed within its bucket; seconds where they
    /// are times. The last bound where it lies above that, none where there are no values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = self.count() as f64 * share;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, count) in self.buckets().filter(|(upper, _)| upper.is_finite()) {
            let count = count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (upper - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            (below, lower) = (below + count, upper);
        }
        (self.count() > 0).then_some(lower)
    }

    fn shown(&self, value: f64) -> f64 {
        match self.measure {
            Measure::Time => value / 1e6,
            Measure::Count => value,
        }
    }
}

/// How many values, their mean, and some quantiles; null where there are none.
impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = self.count();
        let mean = (count > 0).then(|| self.sum() / count as f64);
        let mut fields = serializer.serialize_struct("Distribution", 5)?;
        fields.serialize_field("count", &count)?;
        fields.serialize_field("mean", &mean)?;
        fields.serialize_field("p50", &self.quantile(0.5))?;
        fields.serialize_field("p90", &self.quantile(0.9))?;
        fields.serialize_field("p99", &self.quantile(0.99))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::of(&[1, 10]);
        for value in [0, 1, 2, 10, 11, 1_000] {
            histogram.record(value);
        }
        let distribution = histogram.distribution();
        assert_eq!(distribution.buckets().collect::<Vec<_>>(), [(1.0, 2), (10.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((distribution.count(), distribution.sum()), (6, 1_024.0));
    }

    #[test]
    fn quantiles_lie_within_the_bucket_that_has_them() {
        let histogram = Histogram::of(&[10, 20, 40]);
        assert_eq!(histogram.distribution().quantile(0.5), None);
        (0..90).for_each(|_| histogram.record(15));
        (0..10).for_each(|_| histogram.record(35));
        let distribution = histogram.distribution();
        assert_eq!(distribution.quantile(0.9), Some(20.0));
        assert_eq!(distribution.quantile(0.95), Some(30.0));
        histogram.record(100);
        assert_eq!(histogram.distribution().quantile(1.0), Some(40.0), "more isn't known");
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let histogram = Histogram::of_times();
        histogram.took(Duration::from_millis(2));
        let json = serde_json::to_value(histogram.distribution()).unwrap();
        assert_eq!((&json["count"], &json["mean"]), (&1.into(), &0.002.into()));
        assert!((0.001..=0.0025).contains(&json["p99"].as_f64().unwrap()), "{json}");
        let nothing = serde_json::to_value(Histogram::of_times().distribution()).unwrap();
        assert!(nothing["mean"].is_null() && nothing["p50"].is_null());
    }
}
