//! The errors of a partition, one enum per operation, as facts with their numbers. Kafka's codes
//! are the broker's.

use crate::{
    Offsets,
    producer::SequenceError,
    role::{FenceRefusal, RoleRefusal},
};
use gnomon_protocol::{
    batch::BatchError,
    ids::{BatchEpoch, LeaderEpoch, Offset, ProducerId},
};
use gnomon_storage::LogError;
use std::{io, path::PathBuf, sync::Arc};
use thiserror::Error;

/// Opening a partition failed; nothing was changed on the disk but what recovery cuts.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log could not be looked for.
    #[error("the partition's folder cannot be read: {0}")]
    Look(#[source] io::Error),
    /// The partition had files, and has none. It is neither read nor written until they are back,
    /// or their loss is accepted ([`crate::presence::accept_loss`]).
    #[error("the partition's files are lost: {}: {why}; it is not used until they are back", folder.display())]
    Lost {
        /// Where they were.
        folder: PathBuf,
        /// The files that are missing.
        why: String,
    },
    /// The log could not be opened or recovered.
    #[error("the partition's log cannot be opened: {0}")]
    Log(#[from] LogError),
    /// The batches that recovery left could not be read back.
    #[error("the partition's log cannot be read back: {0}")]
    Replay(#[source] io::Error),
}

impl OpenError {
    /// Whether the process has no file handle left: the disk says so by itself, once.
    pub fn is_out_of_handles(&self) -> bool {
        matches!(self, OpenError::Log(error) if error.is_out_of_handles())
    }
}

/// A partition that a disk error closed cannot be opened again, now.
#[derive(Debug, Error)]
pub enum ReopenError {
    /// It is open, or closed for good.
    #[error("the partition was not closed by a disk error")]
    NotFailed,
    /// Offsets that were handed out under this epoch may have been taken back: it must be raised
    /// first.
    #[error("epoch {} is not above epoch {}, under which offsets were handed out that may be gone", own.0, used.0)]
    EpochUsed { own: BatchEpoch, used: BatchEpoch },
    /// The disk does not work yet.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A batch was not appended. Nothing changed, but that [`AppendError::Storage`] may have closed the
/// partition.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The role does not admit this writer.
    #[error(transparent)]
    Refused(#[from] RoleRefusal),
    /// A sequence gap, or a fenced producer epoch.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A plain batch of a producer whose transaction is open, since offset `open_since`.
    #[error(
        "producer {producer_id} has a transaction open since offset {open_since} and sent a batch outside of it"
    )]
    InvalidTxnState {
        producer_id: ProducerId,
        open_since: Offset,
    },
    /// A marker of a coordinator that has a successor.
    #[error(
        "marker for producer {producer_id} under coordinator epoch {found}, {current} was seen"
    )]
    CoordinatorFenced {
        producer_id: ProducerId,
        current: i32,
        found: i32,
    },
    /// The role's epoch is below the log's newest batch: the role was given wrongly, and no offset
    /// is handed out under it.
    #[error("the partition's epoch {} is below epoch {} of its log", own.0, newest.0)]
    EpochBehind { own: BatchEpoch, newest: BatchEpoch },
    /// Larger than `max.message.bytes`.
    #[error("the batch has {bytes} bytes, the topic takes at most {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the batch has {bytes} bytes, a segment takes at most {bytes_max}")]
    LargerThanSegment { bytes: usize, bytes_max: u64 },
    /// The batch as a whole breaks a rule, or the records at `indices` do, of which the first
    /// hundred are named.
    #[error("{why}")]
    InvalidRecord {
        why: &'static str,
        indices: Vec<i32>,
    },
    /// A timestamp outside of the topic's window, or of a type that clients may not set.
    /// Milliseconds.
    #[error(
        "timestamp {timestamp} is outside of [{earliest}, {latest}], or of a type that only the broker sets"
    )]
    InvalidTimestamp {
        timestamp: i64,
        earliest: i64,
        latest: i64,
    },
    /// zstd from a client whose protocol version does not know it.
    #[error("this protocol version does not know the batch's compression")]
    UnsupportedCompression,
    /// The batch cannot be read.
    #[error("corrupt batch: {0}")]
    Corrupt(#[from] BatchError),
    /// The partition takes no more writes: an earlier disk error, a stop, or it was deleted.
    #[error("the partition is closed: {why}")]
    Closed { why: Arc<str> },
    /// Writing failed: the disk was full, or the partition is closed to writing from now on.
    #[error("writing failed: {0}")]
    Storage(#[source] LogError),
}

impl AppendError {
    /// Whether the same batch may be appended later, and clients are told to send it again. Must
    /// agree with the Kafka codes that the broker gives these errors.
    pub fn is_transient(&self) -> bool {
        match self {
            AppendError::Refused(RoleRefusal::NotLeader { .. } | RoleRefusal::FailingOver)
            | AppendError::EpochBehind { .. }
            | AppendError::Closed { .. }
            | AppendError::Storage(_) => true,
            AppendError::Refused(
                RoleRefusal::Shadow { .. } | RoleRefusal::Internal | RoleRefusal::Nobody { .. },
            )
            | AppendError::Sequence(_)
            | AppendError::InvalidTxnState { .. }
            | AppendError::CoordinatorFenced { .. }
            | AppendError::TooLarge { .. }
            | AppendError::LargerThanSegment { .. }
            | AppendError::InvalidRecord { .. }
            | AppendError::InvalidTimestamp { .. }
            | AppendError::UnsupportedCompression
            | AppendError::Corrupt(_) => false,
        }
    }
}

/// A copied batch was not appended; none of its call was, save after [`AppendAtError::Storage`].
#[derive(Debug, Error)]
pub enum AppendAtError {
    /// The link no longer owns the partition.
    #[error(transparent)]
    Fenced(#[from] FenceRefusal),
    /// Offsets between are missing, and the topic is not known to be compacted: a gap event.
    #[error("offsets {expected} to {found} (exclusive) are missing")]
    Gap { expected: Offset, found: Offset },
    /// The batch begins below our end: divergence.
    #[error("the batch begins at {base}, our log ends at {end}")]
    Overlap { base: Offset, end: Offset },
    /// The batch's epoch is below our newest: divergence.
    #[error("the batch at {base} has epoch {}, ours ends with epoch {}", found.0, newest.0)]
    EpochBack {
        base: Offset,
        newest: BatchEpoch,
        found: BatchEpoch,
    },
    /// The batch lies below the log start altogether.
    #[error("the batch ends at {next}, the log starts at {start}")]
    BelowStart { next: Offset, start: Offset },
    /// A control batch cannot be read.
    #[error("corrupt batch: {0}")]
    Corrupt(#[from] BatchError),
    /// The partition takes no more writes.
    #[error("the partition is closed: {why}")]
    Closed { why: Arc<str> },
    /// Writing failed: the disk was full, or the partition is closed to writing from now on.
    #[error("writing failed: {0}")]
    Storage(#[source] LogError),
}

/// The source's bounds could not be followed.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The link no longer owns the partition.
    #[error(transparent)]
    Fenced(#[from] FenceRefusal),
    /// The source's log starts beyond our end: records were lost to us. A gap event, see
    /// [`crate::PartitionCopier::restart_at`].
    #[error("the source starts at {source_start}, our log ends at {end}")]
    Gap { end: Offset, source_start: Offset },
    /// The partition takes no more writes.
    #[error("the partition is closed: {why}")]
    Closed { why: Arc<str> },
    /// Writing failed: the disk was full, or the partition is closed to writing from now on.
    #[error("writing failed: {0}")]
    Storage(#[source] LogError),
}

/// DeleteRecords or retention could not move the log start.
#[derive(Debug, Error)]
pub enum TrimError {
    /// The role does not admit it.
    #[error(transparent)]
    Refused(#[from] RoleRefusal),
    /// Beyond the high watermark, or negative.
    #[error(
        "offset {offset} is not within the log start {log_start} and the high watermark {high_watermark}"
    )]
    OutOfRange {
        offset: Offset,
        log_start: Offset,
        high_watermark: Offset,
    },
    /// The partition takes no more writes.
    #[error("the partition is closed: {why}")]
    Closed { why: Arc<str> },
    /// The disk refused.
    #[error("moving the log start failed: {0}")]
    Storage(#[source] LogError),
}

/// A read has no answer.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Below the log start or above the end.
    #[error("outside of the log: {offsets:?}")]
    OutOfRange { offsets: Offsets },
    /// A shadow, and the position may exist at the source. Not here yet.
    #[error("not copied yet: {offsets:?}")]
    NotYet { offsets: Offsets },
    /// The bytes between are damaged on the disk.
    #[error("offsets {from} to {to} (exclusive) are damaged on the disk")]
    Damaged { from: Offset, to: Offset },
    /// The partition was deleted or is stopped.
    #[error("the partition is closed: {why}")]
    Closed { why: Arc<str> },
    /// A batch on the disk cannot be taken apart.
    #[error("the batch at {offset} cannot be read: {why}")]
    Corrupt { offset: Offset, why: BatchError },
    /// The disk refused.
    #[error("reading failed: {0}")]
    Io(#[source] io::Error),
}

/// A request's leader epoch is not the partition's (KIP-320).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EpochMismatch {
    /// The client knows an older leader.
    #[error("epoch {} is over, the present one is {}", given.0, current.0)]
    Fenced {
        given: LeaderEpoch,
        current: LeaderEpoch,
    },
    /// The client knows a newer leader than we do.
    #[error("epoch {} is not known here, the present one is {}", given.0, current.0)]
    Unknown {
        given: LeaderEpoch,
        current: LeaderEpoch,
    },
}

/// Closing or deleting could not be completed.
#[derive(Debug, Error)]
pub enum CloseError {
    /// The last batches are not flushed, or the checkpoint is not written; recovery will look at
    /// it.
    #[error("the partition could not be closed cleanly: {0}")]
    Storage(#[from] LogError),
    /// A disk error had closed it before.
    #[error("the partition was closed before: {why}")]
    AlreadyClosed { why: Arc<str> },
    /// The runtime is shutting down.
    #[error("the runtime takes no more work")]
    NoRuntime,
    /// The producer snapshot or the folder.
    #[error("the partition's folder: {0}")]
    Io(#[from] io::Error),
}
