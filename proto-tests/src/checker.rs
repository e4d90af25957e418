//! Record by record: is what can be read now what clients were told?
//!
//! Law, for each partition's log as read from its beginning:
//! 1. every acknowledged record is at its offset, with its key and value as sent;
//! 2. no record is there twice, nothing is there that nobody sent, nothing that was refused;
//! 3. records of one producer stand in the order in which it sent them;
//! 4. no offset was given to two records: not by acknowledgements, not between earlier reads and
//!    the log.
//!
//! Proven by `tests/checker.rs`, which plants each fault and wants it found. What `acks=0` may lose
//! is not asked here.

use crate::client::Seen;
use crate::history::{Fate, History, Sent};
use std::collections::BTreeMap;
use std::fmt;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Lost {
        place: String,
        value: String,
    },
    Misplaced {
        place: String,
        value: String,
        found: String,
    },
    Altered {
        place: String,
        sent: String,
        found: String,
    },
    Duplicated {
        value: String,
        first: String,
        second: String,
    },
    Unknown {
        place: String,
        value: String,
    },
    RefusedButThere {
        place: String,
        value: String,
    },
    Swapped {
        producer: String,
        earlier: String,
        later: String,
    },
    OffsetReused {
        place: String,
        first: String,
        second: String,
    },
    NotAscending {
        place: String,
        after: i64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Lost { place, value } => write!(
                f,
                "LOST: {value} was acknowledged at {place}, and is not in the log"
            ),
            Fault::Misplaced {
                place,
                value,
                found,
            } => write!(
                f,
                "MISPLACED: {value} was acknowledged at {place}, and is at {found}"
            ),
            Fault::Altered { place, sent, found } => {
                write!(f, "ALTERED: at {place} stands {found}, sent was {sent}")
            }
            Fault::Duplicated {
                value,
                first,
                second,
            } => write!(f, "DUPLICATED: {value} at {first} and {second}"),
            Fault::Unknown { place, value } => {
                write!(f, "UNKNOWN: at {place} stands {value}, which nobody sent")
            }
            Fault::RefusedButThere { place, value } => {
                write!(f, "REFUSED BUT THERE: {value} at {place}")
            }
            Fault::Swapped {
                producer,
                earlier,
                later,
            } => write!(f, "SWAPPED: {producer} sent {earlier} before {later}"),
            Fault::OffsetReused {
                place,
                first,
                second,
            } => write!(f, "OFFSET REUSED: {place} was {first}, and is {second}"),
            Fault::NotAscending { place, after } => {
                write!(f, "NOT ASCENDING: {place} was read after offset {after}")
            }
        }
    }
}

fn place(topic: &str, partition: i32, offset: i64) -> String {
    format!("{topic}-{partition}@{offset}")
}

fn shown(record: &Seen) -> String {
    format!("{:?}={:?}", record.key, record.value)
}

/// Compares the history with a log: all records of some partitions, each partition's in the order
/// read.
pub fn check(history: &History, log: &[Seen]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let sent = history.sent();
    let by_value: BTreeMap<&str, &(Sent, Fate)> = sent
        .iter()
        .map(|entry| (entry.0.value.as_str(), entry))
        .collect();
    assert_eq!(
        by_value.len(),
        sent.len(),
        "a value of this history is not unique: the test is wrong"
    );

    let mut by_place: BTreeMap<(&str, i32, i64), &Seen> = BTreeMap::new();
    let mut found: BTreeMap<&str, &Seen> = BTreeMap::new();
    let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let mut order: BTreeMap<(&str, &str, i32), &Sent> = BTreeMap::new();
    for record in log {
        let here = place(&record.topic, record.partition, record.offset);
        if let Some(after) = last
            .insert((&record.topic, record.partition), record.offset)
            .filter(|&after| after >= record.offset)
        {
            faults.push(Fault::NotAscending {
                place: here.clone(),
                after,
            });
        }
        by_place.insert((&record.topic, record.partition, record.offset), record);
        let value = record.value.as_deref().unwrap_or_default();
        let Some((original, fate)) = by_value.get(value) else {
            faults.push(Fault::Unknown {
                place: here,
                value: shown(record),
            });
            continue;
        };
        if original.topic != record.topic
            || original.partition != record.partition
            || original.key != record.key
        {
            faults.push(Fault::Altered {
                place: here.clone(),
                sent: format!("{original:?}"),
                found: shown(record),
            });
        }
        if *fate == Fate::Refused {
            faults.push(Fault::RefusedButThere {
                place: here.clone(),
                value: value.into(),
            });
        }
        if let Some(first) = found.insert(value, record) {
            let first = place(&first.topic, first.partition, first.offset);
            faults.push(Fault::Duplicated {
                value: value.into(),
                first,
                second: here,
            });
            continue;
        }
        let writer = (
            original.producer.as_str(),
            record.topic.as_str(),
            record.partition,
        );
        if let Some(before) = order
            .insert(writer, original)
            .filter(|before| before.sequence > original.sequence)
        {
            faults.push(Fault::Swapped {
                producer: original.producer.clone(),
                earlier: original.value.clone(),
                later: before.value.clone(),
            });
        }
    }

    let mut acked: BTreeMap<(&str, i32, i64), &str> = BTreeMap::new();
    for (record, fate) in &sent {
        let Fate::Acked(offset) = *fate else { continue };
        let here = place(&record.topic, record.partition, offset);
        if let Some(first) = acked.insert((&record.topic, record.partition, offset), &record.value)
        {
            faults.push(Fault::OffsetReused {
                place: here.clone(),
                first: first.into(),
                second: record.value.clone(),
            });
        }
        match found.get(record.value.as_str()) {
            Some(there) if there.offset == offset => {}
            Some(there) => {
                let found = place(&there.topic, there.partition, there.offset);
                faults.push(Fault::Misplaced {
                    place: here,
                    value: record.value.clone(),
                    found,
                });
            }
            None => match by_place.get(&(record.topic.as_str(), record.partition, offset)) {
                Some(other) => faults.push(Fault::Altered {
                    place: here,
                    sent: record.value.clone(),
                    found: shown(other),
                }),
                None => faults.push(Fault::Lost {
                    place: here,
                    value: record.value.clone(),
                }),
            },
        }
    }

    for earlier in history.read() {
        let record = &earlier.record;
        let here = || {
            format!(
                "{} (read by {})",
                place(&record.topic, record.partition, record.offset),
                earlier.by
            )
        };
        match by_place.get(&(record.topic.as_str(), record.partition, record.offset)) {
            Some(now)
                if (&now.key, &now.value, &now.headers, now.timestamp)
                    == (
                        &record.key,
                        &record.value,
                        &record.headers,
                        record.timestamp,
                    ) => {}
            Some(now) => faults.push(Fault::OffsetReused {
                place: here(),
                first: shown(record),
                second: shown(now),
            }),
            None if last.contains_key(&(record.topic.as_str(), record.partition)) => {
                faults.push(Fault::Lost {
                    place: here(),
                    value: shown(record),
                })
            }
            // A partition that this log does not cover.
            None => {}
        }
    }
    faults
}

/// Compares two sites' logs of the same partitions, record by record.
pub fn differences(one: &[Seen], other: &[Seen]) -> Vec<String> {
    let index = |log: &[Seen]| -> BTreeMap<(String, i32, i64), Seen> {
        log.iter()
            .map(|record| {
                (
                    (record.topic.clone(), record.partition, record.offset),
                    record.clone(),
                )
            })
            .collect()
    };
    let (one, other) = (index(one), index(other));
    let mut all = Vec::new();
    for (at, record) in &one {
        match other.get(at) {
            None => all.push(format!("{at:?}: only on the first: {}", shown(record))),
            Some(copy) if copy != record => all.push(format!("{at:?}: {record:?} became {copy:?}")),
            Some(_) => {}
        }
    }
    all.extend(
        other
            .iter()
            .filter(|(at, _)| !one.contains_key(at))
            .map(|(at, record)| format!("{at:?}: only on the second: {}", shown(record))),
    );
    all
}

/// # Panics
/// When a promise is broken, with the first ones.
pub fn assert_kept(history: &History, log: &[Seen]) {
    let faults = check(history, log);
    let first: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
    assert!(
        faults.is_empty(),
        "{} broken promises, {} acknowledged:\n{}",
        faults.len(),
        history.acked(),
        first.join("\n")
    );
}

/// # Panics
/// When the logs differ, with the first places.
pub fn assert_equal(one: &[Seen], other: &[Seen]) {
    let all = differences(one, other);
    assert!(
        all.is_empty(),
        "{} differences:\n{}",
        all.len(),
        all[..all.len().min(20)].join("\n")
    );
}
