//! Latencies as people read them: a few quantiles of an HDR histogram of nanoseconds.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant digits that are kept.
const DIGITS: u8 = 3;

/// An hour. What takes longer counts as that.
const HIGHEST: u64 = 3_600_000_000_000;

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// With fewer than 1,000 values the same as `max_ms`.
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Summary {
    /// Of values in nanoseconds.
    pub fn of(nanoseconds: impl IntoIterator<Item = u64>) -> Summary {
        let mut times = Histogram::<u64>::new_with_bounds(1, HIGHEST, DIGITS).expect("legal bounds");
        nanoseconds.into_iter().for_each(|value| times.saturating_record(value));
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e6;
        Summary { count: times.len(), p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: times.max() as f64 / 1e6 }
    }

    /// The four quantiles as cells of a table.
    pub fn cells(&self) -> [String; 4] {
        [self.p50_ms, self.p99_ms, self.p999_ms, self.max_ms].map(|ms| if self.count == 0 { "-".to_owned() } else { format!("{ms:.2}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds() {
        let summary = Summary::of((1..=1000).map(|ms| ms * 1_000_000));
        let near = |found: f64, wanted: f64| (found - wanted).abs() / wanted < 0.002;
        assert!(
            near(summary.p50_ms, 500.0) && near(summary.p99_ms, 990.0) && near(summary.p999_ms, 999.0) && near(summary.max_ms, 1000.0),
            "{summary:?}"
        );
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        assert_eq!(Summary::of([]).cells(), ["-", "-", "-", "-"]);
    }

    #[test]
    fn days_do_not_end_it() {
        assert_eq!(Summary::of([u64::MAX]).count, 1);
    }
}
