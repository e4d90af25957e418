//! The meaning of a source's response for one partition's copy: go on, look again, wait, or stop
//! for good. Pure.
//!
//! The rules are 5 to 8 of "Copying" in the design. In doubt a partition waits: only what the
//! source states about its history, or bounds that leave our end outside, is a fault, and never a
//! failed connection or a high watermark that stands below our end (an election does that,
//! KIP-207).

use gnomon_catalog::Gap;
use gnomon_client::offsets::EpochEnd;
use gnomon_partition::{AppendAtError, FollowError, Unreadable};
use gnomon_protocol::{
    batch::BatchError,
    error_code::ErrorCode,
    ids::{BatchEpoch, Offset},
};
use std::time::Duration;

/// The reaction to an error of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnError {
    /// Our position is outside of the source's log: ask for its bounds.
    AskBounds,
    /// Its leader is another one, or the topic is gone: look at the source's metadata.
    AskMetadata,
    /// Wait and ask again.
    Retry,
}

/// Reads an error code of a fetch. A code that this build does not know is waited out like any
/// trouble of the source.
pub(crate) fn on_error(code: i16) -> OnError {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::OffsetOutOfRange) => OnError::AskBounds,
        Some(
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId,
        ) => OnError::AskMetadata,
        Some(_) | None => OnError::Retry,
    }
}

/// How our history compares with the source's for the epoch of our last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// The source has all that we have.
    Same,
    /// The source's history for our epoch ends earlier.
    Diverged { epoch: BatchEpoch, end: Offset },
    /// The source cannot tell.
    Unknown,
}

/// Judges an answer to OffsetForLeaderEpoch for `ours`, the epoch of our last batch.
pub(crate) fn judge_history(ours: BatchEpoch, our_end: Offset, source: EpochEnd) -> History {
    if source.epoch == BatchEpoch::NONE || source.end < 0 {
        History::Unknown
    } else if source.epoch < ours || source.end < our_end {
        History::Diverged {
            epoch: source.epoch,
            end: source.end,
        }
    } else {
        History::Same
    }
}

/// Where our end lies in relation to the source's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    Inside,
    /// Records between our end and the source's start are lost to us.
    Gap {
        source_start: Offset,
    },
    /// The source ends below us: an election, or divergence.
    Beyond {
        source_end: Offset,
    },
}

/// Judges the source's log start and high watermark.
pub(crate) fn judge_bounds(our_end: Offset, source_start: Offset, source_end: Offset) -> Bounds {
    if our_end < source_start {
        Bounds::Gap { source_start }
    } else if our_end > source_end {
        Bounds::Beyond { source_end }
    } else {
        Bounds::Inside
    }
}

/// For so long a source may stand below our end, without a word on its history, before that counts
/// as for good.
pub(crate) const BELOW_US_FOR_GOOD: Duration = Duration::from_secs(60);

/// Why a topic faults, in the operator's words.
pub(crate) fn diverged(
    partition: i32,
    ours: BatchEpoch,
    our_end: Offset,
    epoch: BatchEpoch,
    end: Offset,
) -> String {
    let more = if our_end > end {
        "this side has more"
    } else {
        "the source has more"
    };
    format!(
        "partition {partition} diverged: our log ends at {our_end} in epoch {}, the source's history for that epoch ends at {end} in epoch {} ({more})",
        ours.0, epoch.0
    )
}

/// Why a topic cannot go on, and the gap event if that is why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub reason: String,
    pub gap: Option<Gap>,
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault { reason, gap: None }
    }
}

/// How a gap came about: the source's log start went past our end.
pub(crate) const START_PASSED_US: &str = "the source's log start passed our end";
/// How a gap came about: in the midst of the source's log, which is not compacted.
pub(crate) const NOT_SENT: &str =
    "the source sent what comes behind them, and its topic is not compacted";

/// A gap event, in the operator's words.
pub(crate) fn gap(partition: i32, from: Offset, to: Offset, how: &str) -> Fault {
    let reason = format!(
        "partition {partition} has a gap: the source no longer has offsets {from} to {to} (exclusive), which were not copied. \
         Fail over to keep what is here, or delete the shadow topic here: the link then copies it again from the source's first record"
    );
    Fault {
        reason,
        gap: Some(Gap {
            partition,
            from,
            to,
            how: how.to_owned(),
        }),
    }
}

/// A batch of the source, in the operator's words, whose records no consumer can read.
pub(crate) fn unreadable(
    link: &str,
    topic: &str,
    partition: i32,
    unreadable: &Unreadable,
) -> String {
    format!(
        "link {link}: topic {topic}, partition {partition}: {unreadable}; delete the records up to and with this batch at the source, or copy it as it is with record-validation = \"header\" at this site"
    )
}

/// The source stays below us.
pub(crate) fn below(partition: i32, our_end: Offset, source_end: Offset) -> String {
    format!(
        "partition {partition} diverged: our log ends at {our_end}, and the source ends at {source_end} for good (this side has more)"
    )
}

/// The reaction to a refused append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    /// The link no longer owns the partition: stop.
    End,
    /// The topic cannot go on.
    Fault(Fault),
    /// Our own trouble: wait and try again.
    Retry(String),
}

/// Reads why batches were not admitted.
pub(crate) fn on_append(partition: i32, error: &AppendAtError) -> OnRefusal {
    match error {
        AppendAtError::Fenced(_) => OnRefusal::End,
        AppendAtError::Gap { expected, found } => {
            OnRefusal::Fault(gap(partition, *expected, *found, NOT_SENT))
        }
        AppendAtError::Overlap { .. } | AppendAtError::EpochBack { .. } => {
            OnRefusal::Fault(format!("partition {partition} diverged: {error}").into())
        }
        AppendAtError::Corrupt(why) => OnRefusal::Fault(
            format!("partition {partition}: a control batch of the source cannot be read: {why}")
                .into(),
        ),
        AppendAtError::BelowStart { .. }
        | AppendAtError::Closed { .. }
        | AppendAtError::Storage(_) => OnRefusal::Retry(error.to_string()),
    }
}

/// Reads why the source's start was not followed. `Gap` is the caller's to judge, since an empty
/// partition has no gap.
pub(crate) fn on_follow(error: &FollowError) -> OnRefusal {
    match error {
        FollowError::Fenced(_) => OnRefusal::End,
        FollowError::Gap { .. } | FollowError::Closed { .. } | FollowError::Storage(_) => {
            OnRefusal::Retry(error.to_string())
        }
    }
}

/// Reads why bytes are no batches: old formats are a fault, damage on the way or at the source is
/// asked for again.
pub(crate) fn on_batch(partition: i32, error: &BatchError) -> OnRefusal {
    if let BatchError::Magic { magic } = error {
        let reason = format!(
            "partition {partition} holds message format {magic} at the source; only format 2 (Kafka 0.11 and newer) can be copied"
        );
        return OnRefusal::Fault(reason.into());
    }
    OnRefusal::Retry(format!("what the source sent cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_judged_by_epoch_and_end() {
        let at = |epoch, end| EpochEnd {
            epoch: BatchEpoch(epoch),
            end,
        };
        let ours = |source| judge_history(BatchEpoch(5), 100, source);
        assert_eq!(ours(at(5, 100)), History::Same);
        assert_eq!(ours(at(5, 250)), History::Same);
        assert_eq!(
            ours(at(5, 99)),
            History::Diverged {
                epoch: BatchEpoch(5),
                end: 99
            }
        );
        assert_eq!(
            ours(at(4, 120)),
            History::Diverged {
                epoch: BatchEpoch(4),
                end: 120
            }
        );
        assert_eq!(ours(at(-1, -1)), History::Unknown);
    }

    #[test]
    fn bounds() {
        assert_eq!(judge_bounds(10, 0, 10), Bounds::Inside);
        assert_eq!(judge_bounds(10, 10, 20), Bounds::Inside);
        assert_eq!(judge_bounds(10, 11, 20), Bounds::Gap { source_start: 11 });
        assert_eq!(judge_bounds(10, 0, 9), Bounds::Beyond { source_end: 9 });
    }
}
