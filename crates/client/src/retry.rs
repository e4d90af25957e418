//! How long to wait before trying again: from 1 s to 10 s, with full jitter, so that many who
//! failed together do not come back together.
//!
//! Pure: the random number comes in as an argument, and nobody sleeps here.

use std::time::Duration;

/// The wait never is shorter than this: jitter must not make a hot loop.
const FLOOR: Duration = Duration::from_millis(50);

/// Consecutive failures of one thing, and what they mean for the next wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new(Duration::from_secs(1), Duration::from_secs(10))
    }
}

impl Backoff {
    /// The ceiling of the wait begins at `first`, doubles with every failure, and stays at `max`.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max: max.max(first),
            failures: 0,
        }
    }

    /// Counts one more failure and says how long to wait. `random` is any uniformly drawn number.
    pub fn failed(&mut self, random: u64) -> Duration {
        let wait = wait(self.first, self.max, self.failures, random);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// It worked: the next failure is the first one again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Uniform between the floor and `min(max, first * 2^failures)`.
fn wait(first: Duration, max: Duration, failures: u32, random: u64) -> Duration {
    let ceiling = first
        .saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX))
        .min(max);
    let share = random as f64 / u64::MAX as f64;
    ceiling.mul_f64(share).max(FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum_and_jitter_is_full() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<u64> = (0..6).map(|_| backoff.failed(u64::MAX).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 10, 10]);
        backoff.succeeded();
        assert_eq!(backoff.failed(0), FLOOR);
        assert_eq!(backoff.failed(u64::MAX / 2).as_millis(), 1000);
        for _ in 0..100 {
            assert!(backoff.failed(1) >= FLOOR);
        }
        assert_eq!(backoff.failed(u64::MAX), Duration::from_secs(10));
    }
}
