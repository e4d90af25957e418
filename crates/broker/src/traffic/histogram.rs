//! How often durations were how long: a histogram with fixed bounds.
//!
//! Invariant: recording is two relaxed additions. Not here: the cumulative counts that are shown,
//! which are summed up when they are read.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, in microseconds and as they are shown, in seconds. Above the last
/// one there is one more bucket.
pub const BOUNDS: [(u64, &str); 6] = [
    (1_000, "0.001"),
    (5_000, "0.005"),
    (25_000, "0.025"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (2_500_000, "2.5"),
];

/// Durations since the start.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// Durations up to each of [`BOUNDS`], and last all of them.
    pub fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        self.buckets.each_ref().map(|bucket| {
            sum += bucket.load(Relaxed);
            sum
        })
    }

    /// All durations together, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros.load(Relaxed) as f64 / 1e6
    }

    /// How many were recorded.
    #[cfg(test)]
    pub fn count(&self) -> u64 {
        self.cumulative()[BOUNDS.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_takes_its_upper_bound_and_all_below() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 5_000, 2_500_000, 2_500_001, u64::MAX / 4] {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.cumulative(), [2, 4, 4, 4, 4, 5, 7]);
        assert_eq!(histogram.count(), 7);
    }

    #[test]
    fn bounds_ascend_and_are_shown_as_they_are() {
        assert!(BOUNDS.is_sorted_by(|one, next| one.0 < next.0));
        for (micros, shown) in BOUNDS {
            assert_eq!(shown.parse(), Ok(micros as f64 / 1e6));
        }
    }
}
