//! The delay between attempts at something local that failed: it doubles up to a maximum.
//!
//! Without jitter, unlike the backoff of links (`gnomon_client`): nobody else competes for a local
//! disk or task, so attempts need not be spread.

use std::time::Duration;

/// The delay before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryDelay {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl RetryDelay {
    /// The first delay, and the longest.
    pub const fn new(first: Duration, max: Duration) -> RetryDelay {
        RetryDelay {
            first,
            max,
            next: first,
        }
    }

    /// An attempt failed: how long to wait before the next one.
    pub fn failed(&mut self) -> Duration {
        let delay = self.next;
        self.next = (2 * self.next).min(self.max);
        delay
    }

    /// The next failure counts as the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Whether no attempt has failed since the start or the last reset.
    pub fn is_first(&self) -> bool {
        self.next == self.first
    }

    /// The longest delay.
    pub fn max(&self) -> Duration {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_maximum_and_starts_over_after_a_success() {
        let ms = Duration::from_millis;
        let mut delay = RetryDelay::new(ms(100), ms(350));
        let delays = [(); 4].map(|()| delay.failed());
        assert_eq!(delays, [ms(100), ms(200), ms(350), ms(350)]);
        delay.reset();
        assert_eq!(delay.failed(), ms(100));
    }
}
