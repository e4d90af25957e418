//! The answers that clients got, and the checker that compares a log with them.
//!
//! Invariants checked: L1 and L2 of `docs/architecture.md`.
//! Values must be unique in a history, so that a record is known by its value.

use gnomon_protocol::ids::Offset;
use std::collections::BTreeMap;

/// A record that a client was told is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    pub offset: Offset,
    /// The leader epoch that it was written under.
    pub epoch: i32,
    pub value: String,
    /// Whether it was promised to survive power loss (acks=all).
    pub durable: bool,
}

/// A fault of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A record that was promised, or that a consumer saw, is not where it was.
    Lost {
        /// Where it was.
        offset: Offset,
        /// The value that is lost.
        value: String,
        /// The value that is there now.
        found: Option<String>,
    },
    /// A record is there more than once.
    Twice { value: String, offsets: Vec<Offset> },
    /// An offset was handed out again under the same epoch.
    Reused {
        offset: Offset,
        /// Under which epoch.
        epoch: i32,
        /// The value that was acknowledged there before.
        before: String,
        /// The value that is there now.
        now: String,
    },
}

/// Everything that clients were told of one partition, over all lives of its site.
#[derive(Debug, Default)]
pub struct History {
    acked: Vec<Acked>,
    seen: BTreeMap<Offset, String>,
}

impl History {
    /// A producer was told that a record is written.
    pub fn acked(&mut self, acked: Acked) {
        self.acked.push(acked);
    }

    /// A consumer was given a record.
    pub fn saw(&mut self, offset: Offset, value: &str) {
        self.seen.insert(offset, value.to_owned());
    }

    /// Records acknowledged so far.
    pub fn len(&self) -> usize {
        self.acked.len()
    }

    /// Whether nothing was acknowledged yet.
    pub fn is_empty(&self) -> bool {
        self.acked.is_empty()
    }

    /// Holds a log, given as (offset, epoch in the batch's header, value), against the history.
    pub fn check(&self, log: &[(Offset, i32, String)]) -> Vec<Violation> {
        let at: BTreeMap<Offset, (i32, &str)> = log
            .iter()
            .map(|(offset, epoch, value)| (*offset, (*epoch, value.as_str())))
            .collect();
        let mut places: BTreeMap<&str, Vec<Offset>> = BTreeMap::new();
        for (offset, _, value) in log {
            places.entry(value).or_default().push(*offset);
        }
        let twice = places.into_iter().filter(|(_, offsets)| offsets.len() > 1);
        let mut violations: Vec<Violation> = twice
            .map(|(value, offsets)| Violation::Twice {
                value: value.to_owned(),
                offsets,
            })
            .collect();

        let promised = self
            .acked
            .iter()
            .filter(|acked| acked.durable)
            .map(|acked| (acked.offset, acked.value.as_str()));
        for (offset, value) in promised.chain(
            self.seen
                .iter()
                .map(|(offset, value)| (*offset, value.as_str())),
        ) {
            let found = at.get(&offset).map(|(_, value)| *value);
            if found != Some(value) {
                violations.push(Violation::Lost {
                    offset,
                    value: value.to_owned(),
                    found: found.map(str::to_owned),
                });
            }
        }
        for acked in &self.acked {
            if let Some((epoch, value)) = at.get(&acked.offset)
                && *epoch == acked.epoch
                && *value != acked.value
            {
                let (before, now) = (acked.value.clone(), (*value).to_owned());
                violations.push(Violation::Reused {
                    offset: acked.offset,
                    epoch: *epoch,
                    before,
                    now,
                });
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(values: &[&str]) -> Vec<(Offset, i32, String)> {
        values
            .iter()
            .zip(0..)
            .map(|(value, offset)| (offset, 7, (*value).to_owned()))
            .collect()
    }

    fn acked(offset: Offset, value: &str, durable: bool) -> Acked {
        Acked {
            offset,
            epoch: 7,
            value: value.to_owned(),
            durable,
        }
    }

    #[test]
    fn a_whole_log_passes_and_each_fault_is_found() {
        let mut history = History::default();
        history.acked(acked(0, "a", true));
        history.acked(acked(1, "b", false));
        history.saw(0, "a");
        assert_eq!(history.check(&log(&["a", "b"])), []);
        assert_eq!(
            history.check(&log(&["a"])),
            [],
            "acks=1 may be lost to power loss"
        );
        assert!(matches!(
            history.check(&log(&[]))[..],
            [
                Violation::Lost { offset: 0, .. },
                Violation::Lost { offset: 0, .. }
            ]
        ));
        assert!(matches!(
            history.check(&log(&["a", "b", "b"]))[..],
            [Violation::Twice { .. }]
        ));
        assert!(matches!(
            history.check(&log(&["a", "c"]))[..],
            [Violation::Reused {
                offset: 1,
                epoch: 7,
                ..
            }]
        ));
    }
}
