//! When records are due, and when they passed some point: nanoseconds since the start of a run.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The records to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    /// Records a second.
    pub rate: u32,
    /// At the start; not counted.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
    /// Bytes of the value; at least 16.
    pub record_bytes: usize,
    pub codec: String,
    /// Options of the producer, `KEY=VALUE`.
    pub options: Vec<String>,
}

#[cfg(test)]
impl Plan {
    /// For tests of what comes after it.
    pub fn of(rate: u32, warm_up: Duration, measured: Duration) -> Plan {
        let (bootstrap, topic, codec) = (String::new(), String::new(), "none".to_owned());
        Plan {
            bootstrap,
            topic,
            partitions: 1,
            rate,
            warm_up,
            measured,
            record_bytes: 16,
            codec,
            options: vec![],
        }
    }
}

impl Plan {
    /// All of them, those of the warm-up first.
    pub fn records(&self) -> u64 {
        self.counted().end
    }

    /// Those after the warm-up.
    pub fn counted(&self) -> Range<u64> {
        let within =
            |duration: Duration| (self.rate as u128 * duration.as_nanos() / 1_000_000_000) as u64;
        within(self.warm_up)..within(self.warm_up + self.measured)
    }

    /// When a record is due.
    pub fn due(&self, record: u64) -> u64 {
        (record as u128 * 1_000_000_000 / self.rate as u128) as u64
    }
}

/// When each record passed one point. Shared between threads; each record is stamped by one of
/// them.
pub struct Stamps {
    at: Vec<AtomicU64>,
    twice: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Stamps {
    /// None has passed.
    pub fn new(records: u64) -> Stamps {
        Stamps {
            at: (0..records).map(|_| AtomicU64::new(NEVER)).collect(),
            twice: AtomicU64::new(0),
        }
    }

    /// Keeps the first time and counts further ones. Records that nobody planned are passed over.
    pub fn stamp(&self, record: u64, nanoseconds: u64) {
        let Some(slot) = usize::try_from(record)
            .ok()
            .and_then(|record| self.at.get(record))
        else {
            return;
        };
        if slot
            .compare_exchange(NEVER, nanoseconds, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When a planned record passed.
    pub fn get(&self, record: u64) -> Option<u64> {
        match self.at[record as usize].load(Ordering::Relaxed) {
            NEVER => None,
            nanoseconds => Some(nanoseconds),
        }
    }

    /// How many have not passed.
    pub fn missing(&self) -> u64 {
        self.at
            .iter()
            .filter(|slot| slot.load(Ordering::Relaxed) == NEVER)
            .count() as u64
    }

    /// How often one passed again.
    pub fn twice(&self) -> u64 {
        self.twice.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rate: u32) -> Plan {
        Plan::of(rate, Duration::from_secs(3), Duration::from_secs(30))
    }

    #[test]
    fn the_warm_up_is_sent_and_not_counted() {
        assert_eq!((plan(10).records(), plan(10).counted()), (330, 30..330));
    }

    #[test]
    fn a_rate_that_divides_no_second_does_not_drift() {
        let plan = plan(7);
        assert_eq!(
            (plan.due(0), plan.due(7), plan.due(7_000_000)),
            (0, 1_000_000_000, 1_000_000_000_000_000)
        );
    }

    #[test]
    fn a_second_passage_is_counted_and_changes_nothing() {
        let stamps = Stamps::new(3);
        stamps.stamp(1, 50);
        stamps.stamp(1, 70);
        stamps.stamp(9, 80);
        assert_eq!(
            (
                stamps.get(1),
                stamps.get(0),
                stamps.missing(),
                stamps.twice()
            ),
            (Some(50), None, 2, 1)
        );
    }
}
