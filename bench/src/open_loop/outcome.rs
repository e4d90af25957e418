//! How one run of a load went: from stamps to latencies and errors.

use super::timeline::{Plan, Stamps};
use crate::latency::Latencies;
use std::sync::{Mutex, PoisonError};

/// How one run went. Latencies count from when a record was due.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// Counted records a second, by the times at which they were handed to the client.
    pub achieved_rate: f64,
    /// Until a record was handed to the client: how far the generator itself was behind.
    pub generator: Latencies,
    pub acknowledged: Latencies,
    /// At each place.
    pub consumed: Vec<Latencies>,
    /// The latency of each record from the first place to the last: what the way between them
    /// costs. Where the later one was faster it is 0.
    pub hop: Latencies,
    pub errors: Errors,
}

/// The errors of a run; warm-up included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Refused by the client, or reported as not delivered.
    pub failed: u64,
    /// The first of them.
    pub first_failure: Option<String>,
    /// Neither acknowledged nor failed.
    pub unanswered: u64,
    /// Not consumed in time, at each place.
    pub missing: Vec<u64>,
    /// Consumed once more, at each place.
    pub twice: Vec<u64>,
}

/// The timestamps of one run.
pub struct Stamped {
    /// Handed to the client.
    pub sent: Stamps,
    pub acknowledged: Stamps,
    /// At each place.
    pub seen: Vec<Stamps>,
    failed: Mutex<(u64, Option<String>)>,
}

impl Stamped {
    /// None is sent.
    pub fn new(records: u64, places: usize) -> Stamped {
        let seen = (0..places).map(|_| Stamps::new(records)).collect();
        Stamped {
            sent: Stamps::new(records),
            acknowledged: Stamps::new(records),
            seen,
            failed: Mutex::default(),
        }
    }

    /// Counts a record that was not delivered, and keeps the first reason.
    pub fn fail(&self, why: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.0 += 1;
        failed.1.get_or_insert_with(|| why.to_owned());
    }

    /// Sums it up.
    pub fn outcome(&self, plan: &Plan) -> RunResult {
        let (failed, first_failure) = self
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let counted = plan.counted();
        let since_due =
            |stamps: &Stamps| {
                Latencies::of(counted.clone().filter_map(|record| {
                    Some(stamps.get(record)?.saturating_sub(plan.due(record)))
                }))
            };
        let (first, last) = (&self.seen[0], &self.seen[self.seen.len() - 1]);
        let handed_over = counted.clone().filter_map(|record| self.sent.get(record));
        let took = handed_over
            .clone()
            .max()
            .unwrap_or(0)
            .saturating_sub(handed_over.clone().min().unwrap_or(0));
        let handed_over = handed_over.count() as u64;
        RunResult {
            // Between n records there are n - 1 intervals.
            achieved_rate: if took == 0 {
                0.0
            } else {
                (handed_over - 1) as f64 * 1e9 / took as f64
            },
            generator: since_due(&self.sent),
            acknowledged: since_due(&self.acknowledged),
            consumed: self.seen.iter().map(since_due).collect(),
            hop: Latencies::of(
                counted.clone().filter_map(|record| {
                    Some(last.get(record)?.saturating_sub(first.get(record)?))
                }),
            ),
            errors: Errors {
                failed,
                first_failure,
                unanswered: self.acknowledged.missing().saturating_sub(failed),
                missing: self.seen.iter().map(Stamps::missing).collect(),
                twice: self.seen.iter().map(Stamps::twice).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    #[test]
    fn latency_counts_from_when_a_record_was_due_and_the_hop_from_the_first_place() {
        let second = Duration::from_secs(1);
        let plan = Plan::of(10, second, second);
        let stamped = Stamped::new(plan.records(), 2);
        for record in 0..plan.records() {
            // The warm-up is a hundred times as slow.
            let slow = if record < 10 { 100 } else { 1 };
            let due = plan.due(record);
            stamped.sent.stamp(record, due + MS);
            stamped.acknowledged.stamp(record, due + 2 * MS * slow);
            stamped.seen[0].stamp(record, due + 3 * MS * slow);
            if record != 15 {
                stamped.seen[1].stamp(record, due + 5 * MS * slow);
            }
        }
        stamped.seen[1].stamp(3, 0);
        let outcome = stamped.outcome(&plan);
        let near = |found: f64, wanted: f64| (found - wanted).abs() < 0.01;
        assert!(near(outcome.achieved_rate, 10.0), "{outcome:?}");
        assert!(
            near(outcome.generator.max_ms(), 1.0) && near(outcome.acknowledged.max_ms(), 2.0),
            "{outcome:?}"
        );
        assert!(
            near(outcome.consumed[0].max_ms(), 3.0) && near(outcome.consumed[1].max_ms(), 5.0),
            "{outcome:?}"
        );
        assert!(
            near(outcome.hop.ms(0.5), 2.0) && outcome.hop.count() == 9,
            "{outcome:?}"
        );
        assert_eq!(
            outcome.errors,
            Errors {
                missing: vec![0, 1],
                twice: vec![0, 1],
                ..Errors::default()
            }
        );
    }

    #[test]
    fn a_run_without_an_answer_has_no_latencies() {
        let second = Duration::from_secs(1);
        let plan = Plan::of(5, second, second);
        let outcome = Stamped::new(plan.records(), 1).outcome(&plan);
        assert_eq!(
            (
                outcome.acknowledged.count(),
                outcome.achieved_rate,
                outcome.errors.unanswered
            ),
            (0, 0.0, 10)
        );
    }
}
