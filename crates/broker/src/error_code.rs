//! Our errors become Kafka's codes here and nowhere else. Every match is exhaustive: an unknown
//! failure never looks retriable by accident.

use gnomon_driver::NoReply;
use gnomon_groups::GroupError;
use gnomon_host::Unavailable;
use gnomon_partition::{
    AppendError, EpochMismatch, Lost, OpenError, ReadError, RoleRefusal, SequenceError,
};
use gnomon_protocol::{batch::BatchError, error_code::ErrorCode};

/// A refusal that clients know by a code.
pub trait Refusal {
    fn code(&self) -> ErrorCode;
}

impl Refusal for AppendError {
    fn code(&self) -> ErrorCode {
        match self {
            AppendError::Refused(refusal) => refusal.code(),
            AppendError::Sequence(error) => error.code(),
            AppendError::EpochBehind { .. } => ErrorCode::NotLeaderOrFollower,
            AppendError::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            AppendError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
            AppendError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            AppendError::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
            AppendError::Corrupt(error) => batch(error),
            AppendError::Closed { .. } | AppendError::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl Refusal for RoleRefusal {
    fn code(&self) -> ErrorCode {
        match self {
            RoleRefusal::NotLeader { .. } => ErrorCode::NotLeaderOrFollower,
            RoleRefusal::Shadow { .. } | RoleRefusal::Internal | RoleRefusal::Nobody { .. } => {
                ErrorCode::PolicyViolation
            }
            RoleRefusal::FailingOver => ErrorCode::NotEnoughReplicas,
        }
    }
}

impl Refusal for SequenceError {
    fn code(&self) -> ErrorCode {
        match self {
            SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            SequenceError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        }
    }
}

impl Refusal for EpochMismatch {
    fn code(&self) -> ErrorCode {
        match self {
            EpochMismatch::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            EpochMismatch::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
        }
    }
}

impl Refusal for Lost {
    fn code(&self) -> ErrorCode {
        match self {
            Lost::Closed { .. } => ErrorCode::KafkaStorageError,
            Lost::Deleted => ErrorCode::UnknownTopicOrPartition,
            Lost::RoleChanged => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl Refusal for NoReply {
    fn code(&self) -> ErrorCode {
        match self {
            NoReply::Gone => ErrorCode::CoordinatorNotAvailable,
            NoReply::NotLeader => ErrorCode::NotCoordinator,
            NoReply::Refused { .. } => ErrorCode::KafkaStorageError,
        }
    }
}

impl Refusal for GroupError {
    fn code(&self) -> ErrorCode {
        match self {
            GroupError::InvalidGroupId => ErrorCode::InvalidGroupId,
            GroupError::InvalidSessionTimeout { .. } => ErrorCode::InvalidSessionTimeout,
            GroupError::UnknownMember { .. } => ErrorCode::UnknownMemberId,
            GroupError::MemberIdRequired { .. } => ErrorCode::MemberIdRequired,
            GroupError::FencedInstance { .. } => ErrorCode::FencedInstanceId,
            GroupError::IllegalGeneration { .. } => ErrorCode::IllegalGeneration,
            GroupError::InconsistentProtocol { .. } => ErrorCode::InconsistentGroupProtocol,
            GroupError::RebalanceInProgress => ErrorCode::RebalanceInProgress,
            GroupError::GroupMaxSize { .. } => ErrorCode::GroupMaxSizeReached,
            GroupError::MetadataTooLarge { .. } => ErrorCode::OffsetMetadataTooLarge,
            GroupError::TopicGone => ErrorCode::UnknownTopicOrPartition,
            GroupError::NotEmpty => ErrorCode::NonEmptyGroup,
            GroupError::NotFound => ErrorCode::GroupIdNotFound,
            GroupError::DeletionUnfinished => ErrorCode::CoordinatorLoadInProgress,
            GroupError::NameTooLong { .. } => ErrorCode::InvalidRequest,
            GroupError::CommitTooLarge { .. } => ErrorCode::InvalidCommitOffsetSize,
            GroupError::GroupTooLarge { .. } => ErrorCode::UnknownServerError,
            GroupError::NotCoordinator => ErrorCode::NotCoordinator,
        }
    }
}

/// A partition that cannot be had.
pub fn unavailable(error: &Unavailable) -> ErrorCode {
    match error {
        Unavailable::UnknownTopic | Unavailable::UnknownPartition => {
            ErrorCode::UnknownTopicOrPartition
        }
        Unavailable::UnknownTopicId => ErrorCode::UnknownTopicId,
        // To be tried again.
        Unavailable::Opening | Unavailable::Stopping => ErrorCode::NotLeaderOrFollower,
        Unavailable::Open(error) => match **error {
            OpenError::Look(_)
            | OpenError::Lost { .. }
            | OpenError::Log(_)
            | OpenError::Replay { .. } => ErrorCode::KafkaStorageError,
        },
    }
}

/// A read without an answer.
pub fn read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::NotYet { .. } => ErrorCode::OffsetNotAvailable,
        ReadError::Damaged { .. } | ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::Closed { .. } | ReadError::Io(_) => ErrorCode::KafkaStorageError,
    }
}

/// A batch that is none: bytes that were damaged on their way, to be sent again, or records that
/// will never do.
pub fn batch(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Truncated { .. } | BatchError::Length { .. } | BatchError::Crc { .. } => {
            ErrorCode::CorruptMessage
        }
        BatchError::Magic { .. }
        | BatchError::BaseOffset { .. }
        | BatchError::LastOffsetDelta { .. }
        | BatchError::RecordCount { .. }
        | BatchError::OffsetOverflow { .. }
        | BatchError::Trailing { .. }
        | BatchError::UnknownCodec { .. }
        | BatchError::Decompress { .. }
        | BatchError::DecompressedTooLarge { .. }
        | BatchError::Record { .. }
        | BatchError::RecordsTrailing { .. } => ErrorCode::InvalidRecord,
    }
}
