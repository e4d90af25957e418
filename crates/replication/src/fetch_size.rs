//! How much one fetch asks for: more when the way is long, so that 200 ms do not limit a link. Pure.
//!
//! One request is in flight on a connection, so a connection moves at most one answer per round trip. A full answer that took long to come asks for
//! more next time; an answer that is mostly empty goes back. Short ways never need it, and memory stays small there.

use std::time::Duration;

/// A full answer that took this long was limited by the way, not by the disk at its end.
const LONG: Duration = Duration::from_millis(10);
/// As many times what is configured, at most.
const GROWTH_MAX: i32 = 8;

/// An answer never is asked for that our client would not take (`gnomon_client::Config::response_bytes_max`, 256 MiB), the one batch included by which a
/// source may go beyond what was asked.
const ANSWER_BYTES_MAX: i32 = 192 << 20;

/// What the next fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetchSize {
    base: (i32, i32),
    factor: i32,
}

impl FetchSize {
    /// Begins with what is configured: bytes of an answer, bytes of one partition in it.
    pub fn new(max_bytes: i32, partition_max_bytes: i32) -> FetchSize {
        FetchSize { base: (max_bytes.max(1), partition_max_bytes.max(1)), factor: 1 }
    }

    /// Bytes of the next answer at most.
    pub fn max_bytes(&self) -> i32 {
        self.base.0.saturating_mul(self.factor).min(ANSWER_BYTES_MAX)
    }

    /// Bytes of one partition in it at most.
    pub fn partition_max_bytes(&self) -> i32 {
        self.base.1.saturating_mul(self.factor).min(self.max_bytes())
    }

    /// An answer came: its bytes, those of the fullest partition, and how long after it was asked for.
    pub fn answered(&mut self, bytes: usize, fullest: usize, elapsed: Duration) {
        let full = bytes >= share(self.max_bytes(), 3) || fullest >= share(self.partition_max_bytes(), 3);
        if full && elapsed >= LONG {
            self.factor = (self.factor * 2).min(GROWTH_MAX);
        } else if bytes < share(self.base.0, 1) && fullest < share(self.base.1, 1) {
            self.factor = 1;
        }
    }
}

fn share(of: i32, quarters: usize) -> usize {
    usize::try_from(of).unwrap_or(0) / 4 * quarters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ways_get_larger_answers_and_short_ways_do_not() {
        let mut size = FetchSize::new(20 << 20, 5 << 20);
        size.answered(5 << 20, 5 << 20, Duration::from_millis(1));
        assert_eq!(size.partition_max_bytes(), 5 << 20);
        for _ in 0..5 {
            size.answered(size.max_bytes() as usize, size.partition_max_bytes() as usize, Duration::from_millis(200));
        }
        assert_eq!((size.max_bytes(), size.partition_max_bytes()), (160 << 20, 40 << 20));
        size.answered(100, 100, Duration::from_millis(200));
        assert_eq!(size.max_bytes(), 20 << 20);
    }

    #[test]
    fn no_answer_is_asked_for_that_would_not_be_taken() {
        for base in [64 << 20, 1 << 30, i32::MAX] {
            let mut size = FetchSize::new(base, base);
            (0..5).for_each(|_| size.answered(1 << 30, 1 << 30, Duration::from_millis(200)));
            assert_eq!((size.max_bytes(), size.partition_max_bytes()), (192 << 20, 192 << 20));
            assert!((size.max_bytes() as usize) < gnomon_client::Config::default().response_bytes_max);
        }
    }
}
