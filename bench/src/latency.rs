//! Latencies as people read them: quantiles of an HDR histogram of nanoseconds.

use crate::figure::Figure;
use hdrhistogram::Histogram;

/// Significant digits that are kept.
const DIGITS: u8 = 3;

/// An hour. What takes longer counts as that.
const HIGHEST: u64 = 3_600_000_000_000;

/// Where a distribution is drawn: as fine towards the end as the values allow.
const DRAWN: [f64; 16] = [
    0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99995,
    0.99999, 1.0,
];

/// Latencies of one run, or of several.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// The distribution of values in nanoseconds.
    pub fn of(nanoseconds: impl IntoIterator<Item = u64>) -> Latencies {
        let mut times =
            Histogram::<u64>::new_with_bounds(1, HIGHEST, DIGITS).expect("legal bounds");
        nanoseconds
            .into_iter()
            .for_each(|value| times.saturating_record(value));
        Latencies(times)
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// At a quantile between 0 and 1, in milliseconds; 0 of none.
    pub fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    /// The longest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }

    /// The quantiles that tables show. None of no values: nothing measured is not zero.
    pub fn figures(&self) -> Vec<(Figure, f64)> {
        if self.count() == 0 {
            return Vec::new();
        }
        vec![
            (Figure::P50, self.ms(0.5)),
            (Figure::P99, self.ms(0.99)),
            (Figure::P999, self.ms(0.999)),
            (Figure::Max, self.max_ms()),
        ]
    }

    /// Quantiles and milliseconds, up to the last quantile that has a value beyond it; then the
    /// maximum.
    pub fn distribution(&self) -> Vec<(f64, f64)> {
        let finest = 1.0 - 1.0 / (self.count() as f64).max(1.0);
        DRAWN
            .iter()
            .filter(|&&quantile| quantile <= finest || quantile == 1.0)
            .map(|&quantile| (quantile, self.ms(quantile)))
            .collect()
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the same bounds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds() {
        let latencies = Latencies::of((1..=1000).map(|ms| ms * 1_000_000));
        let near = |found: f64, wanted: f64| (found - wanted).abs() / wanted < 0.002;
        assert!(
            near(latencies.ms(0.5), 500.0)
                && near(latencies.ms(0.99), 990.0)
                && near(latencies.max_ms(), 1000.0),
            "{:?}",
            latencies.figures()
        );
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        assert_eq!(Latencies::of([]).figures(), []);
    }

    #[test]
    fn days_do_not_end_it() {
        assert_eq!(Latencies::of([u64::MAX]).count(), 1);
    }

    #[test]
    fn runs_add_up_and_few_values_draw_no_fine_tail() {
        let mut latencies = Latencies::of([1_000_000; 60]);
        latencies.merge(&Latencies::of([2_000_000; 40]));
        assert_eq!(latencies.count(), 100);
        let quantiles: Vec<f64> = latencies
            .distribution()
            .iter()
            .map(|point| point.0)
            .collect();
        assert_eq!(
            quantiles,
            [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 1.0]
        );
    }
}
