//! One verdict on a link: is it level with its source, is it behind, or is that not known?
//!
//! Invariant: a link is never called LEVEL on old news. Only topics that copy count: one that is
//! FAULTED or PAUSED says so by its own state, and hides nothing of the others.

use crate::status::{PartitionStatus, TopicStatus};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a link stands to its source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Every partition that is copied has all that the source has, as heard just now.
    Level,
    /// Every partition was heard just now, and some lack records.
    Behind,
    /// The source is silent, or has not told where some partitions end.
    NotKnown {
        /// For how many seconds.
        seconds: f64,
        /// Partitions that lag.
        partitions: usize,
        /// Partitions that are copied.
        of: usize,
    },
}

/// The verdict. `silent_seconds`: for how long the source has answered nothing at all, if that is
/// longer than an answer may take.
pub fn judge(topics: &[TopicStatus], silent_seconds: Option<f64>) -> Verdict {
    let copied = || {
        let topics = topics.iter().filter(|topic| topic.state.copies());
        topics.flat_map(|topic| &topic.partitions)
    };
    let of = copied().count();
    let unknown: Vec<&PartitionStatus> = copied().filter(|p| !is_known(p)).collect();
    let longest = unknown
        .iter()
        .filter_map(|p| p.silent_seconds)
        .chain(silent_seconds)
        .fold(0.0, f64::max);
    let not_known = |partitions| Verdict::NotKnown {
        seconds: longest,
        partitions,
        of,
    };
    if silent_seconds.is_some() {
        not_known(of)
    } else if !unknown.is_empty() {
        not_known(unknown.len())
    } else if copied().any(|p| p.lag.is_some_and(|lag| lag.records > 0)) {
        Verdict::Behind
    } else {
        Verdict::Level
    }
}

fn is_known(partition: &PartitionStatus) -> bool {
    partition.lag.is_some() && partition.silent_seconds.is_none()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Level => f.write_str("LEVEL"),
            Verdict::Behind => f.write_str("BEHIND"),
            Verdict::NotKnown {
                seconds,
                partitions,
                of,
            } if partitions == of => write!(f, "NOT KNOWN for {seconds:.1} s"),
            Verdict::NotKnown {
                seconds,
                partitions,
                of,
            } => write!(
                f,
                "NOT KNOWN of {partitions} of {of} partitions for {seconds:.1} s"
            ),
        }
    }
}
