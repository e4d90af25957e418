//! How much one fetch asks for: little while answers come at once, more when the way is long, so
//! that 200 ms do not limit a link. Pure.
//!
//! One request is in flight on a connection, so a connection moves at most one answer per round
//! trip. A full answer that was waited for asks for more next time; an answer that is mostly empty
//! goes back. What fits the processor's caches moves fastest: short ways begin with a quarter of
//! what is configured and stay there, and memory stays small.

use std::time::Duration;

/// The size, as a power of two times what is configured: at first, and at most.
const FIRST: i32 = -2;
const MOST: i32 = 3;

/// A fetch that waited so long for a full answer was limited by the network, not by the disk at
/// either end: long enough to ask for what is configured, and long enough for more than that.
const LONG: Duration = Duration::from_millis(5);
const VERY_LONG: Duration = Duration::from_millis(30);

/// An answer never is asked for that our client would not take
/// (`gnomon_client::Config::response_bytes_max`, 256 MiB), the one batch included by which a source
/// may go beyond what was asked.
const ANSWER_BYTES_MAX: i32 = 192 << 20;

/// The size of the next fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetchSize {
    base: (i32, i32),
    power: i32,
}

impl FetchSize {
    /// For what is configured: bytes of an answer, bytes of one partition in it.
    pub fn new(max_bytes: i32, partition_max_bytes: i32) -> FetchSize {
        FetchSize {
            base: (max_bytes, partition_max_bytes),
            power: FIRST,
        }
    }

    /// Bytes of the next answer at most.
    pub fn max_bytes(&self) -> i32 {
        self.scaled(self.base.0).min(ANSWER_BYTES_MAX)
    }

    /// Bytes of one partition in it at most.
    pub fn partition_max_bytes(&self) -> i32 {
        self.scaled(self.base.1).min(self.max_bytes())
    }

    fn scaled(&self, base: i32) -> i32 {
        let scaled = if self.power < 0 {
            base >> -self.power
        } else {
            base.saturating_mul(1 << self.power)
        };
        scaled.max(1)
    }

    /// An answer came: its bytes, those of the fullest partition, and how long nothing else was
    /// left to do before it came.
    pub fn answered(&mut self, bytes: usize, fullest: usize, waited: Duration) {
        let quarters = |of: i32, count: usize| usize::try_from(of).unwrap_or(0) / 4 * count;
        let full = bytes >= quarters(self.max_bytes(), 3)
            || fullest >= quarters(self.partition_max_bytes(), 3);
        let long = if self.power < 0 { LONG } else { VERY_LONG };
        if full && waited >= long {
            self.power = (self.power + 1).min(MOST);
        } else if bytes < quarters(self.max_bytes(), 1)
            && fullest < quarters(self.partition_max_bytes(), 1)
        {
            self.power = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i32 = 1 << 20;

    fn full(size: &mut FetchSize, waited_ms: u64) {
        size.answered(
            size.max_bytes() as usize,
            size.partition_max_bytes() as usize,
            Duration::from_millis(waited_ms),
        );
    }

    #[test]
    fn long_ways_get_larger_answers_and_short_ways_do_not() {
        let mut size = FetchSize::new(20 * MIB, 4 * MIB);
        (0..9).for_each(|_| full(&mut size, 1));
        assert_eq!(
            (size.max_bytes(), size.partition_max_bytes()),
            (5 * MIB, MIB)
        );
        (0..9).for_each(|_| full(&mut size, 10));
        assert_eq!(
            (size.max_bytes(), size.partition_max_bytes()),
            (20 * MIB, 4 * MIB),
            "what is configured"
        );
        (0..9).for_each(|_| full(&mut size, 200));
        assert_eq!(
            (size.max_bytes(), size.partition_max_bytes()),
            (160 * MIB, 32 * MIB)
        );
        size.answered(100, 100, Duration::from_millis(200));
        assert_eq!(size.partition_max_bytes(), MIB);
    }

    #[test]
    fn no_answer_is_asked_for_that_would_not_be_taken() {
        for base in [64 << 20, 1 << 30, i32::MAX] {
            let mut size = FetchSize::new(base, base);
            (0..9).for_each(|_| size.answered(1 << 30, 1 << 30, Duration::from_millis(200)));
            assert_eq!(
                (size.max_bytes(), size.partition_max_bytes()),
                (192 << 20, 192 << 20)
            );
            assert!(
                (size.max_bytes() as usize) < gnomon_client::Config::default().response_bytes_max
            );
        }
    }

    #[test]
    fn something_is_asked_for_whatever_is_configured() {
        for base in [i32::MIN, 0, 1, 3] {
            let size = FetchSize::new(base, base);
            assert_eq!((size.max_bytes(), size.partition_max_bytes()), (1, 1));
        }
    }
}
