//! The reasons for which a write of a client is refused, as an operator sees them: finer than
//! Kafka's codes, which name a shadow, an internal topic and a topic without an owner alike.

use gnomon_partition::{AppendError, RoleRefusal, SequenceError};
use gnomon_protocol::error_code::ErrorCode;

/// Why a batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    Shadow,
    FailingOver,
    InternalTopic,
    NotWritable,
    NotLeader,
    UnknownPartition,
    DiskError,
    OutOfOrderSequence,
    FencedProducer,
    Transaction,
    TooLarge,
    InvalidRecord,
    InvalidTimestamp,
    UnsupportedCompression,
    Corrupt,
    InvalidRequest,
}

impl WriteRefusal {
    /// Every reason, in the order of declaration.
    pub const ALL: [WriteRefusal; 16] = [
        WriteRefusal::Shadow,
        WriteRefusal::FailingOver,
        WriteRefusal::InternalTopic,
        WriteRefusal::NotWritable,
        WriteRefusal::NotLeader,
        WriteRefusal::UnknownPartition,
        WriteRefusal::DiskError,
        WriteRefusal::OutOfOrderSequence,
        WriteRefusal::FencedProducer,
        WriteRefusal::Transaction,
        WriteRefusal::TooLarge,
        WriteRefusal::InvalidRecord,
        WriteRefusal::InvalidTimestamp,
        WriteRefusal::UnsupportedCompression,
        WriteRefusal::Corrupt,
        WriteRefusal::InvalidRequest,
    ];

    /// As the value of a label.
    pub fn name(self) -> &'static str {
        match self {
            WriteRefusal::Shadow => "shadow",
            WriteRefusal::FailingOver => "failing_over",
            WriteRefusal::InternalTopic => "internal_topic",
            WriteRefusal::NotWritable => "not_writable",
            WriteRefusal::NotLeader => "not_leader",
            WriteRefusal::UnknownPartition => "unknown_partition",
            WriteRefusal::DiskError => "disk_error",
            WriteRefusal::OutOfOrderSequence => "out_of_order_sequence",
            WriteRefusal::FencedProducer => "fenced_producer",
            WriteRefusal::Transaction => "transaction",
            WriteRefusal::TooLarge => "too_large",
            WriteRefusal::InvalidRecord => "invalid_record",
            WriteRefusal::InvalidTimestamp => "invalid_timestamp",
            WriteRefusal::UnsupportedCompression => "unsupported_compression",
            WriteRefusal::Corrupt => "corrupt",
            WriteRefusal::InvalidRequest => "invalid_request",
        }
    }

    /// The reason behind a code that was given before the partition was asked.
    pub fn of_code(code: ErrorCode) -> WriteRefusal {
        match code {
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
                WriteRefusal::UnknownPartition
            }
            ErrorCode::NotLeaderOrFollower => WriteRefusal::NotLeader,
            ErrorCode::KafkaStorageError => WriteRefusal::DiskError,
            ErrorCode::CorruptMessage => WriteRefusal::Corrupt,
            ErrorCode::InvalidRecord => WriteRefusal::InvalidRecord,
            ErrorCode::InvalidTxnState | ErrorCode::TransactionalIdAuthorizationFailed => {
                WriteRefusal::Transaction
            }
            _ => WriteRefusal::InvalidRequest,
        }
    }
}

impl From<&AppendError> for WriteRefusal {
    fn from(error: &AppendError) -> WriteRefusal {
        match error {
            AppendError::Refused(refusal) => match refusal {
                RoleRefusal::Shadow { .. } => WriteRefusal::Shadow,
                RoleRefusal::FailingOver => WriteRefusal::FailingOver,
                RoleRefusal::Internal => WriteRefusal::InternalTopic,
                RoleRefusal::Nobody { .. } => WriteRefusal::NotWritable,
                RoleRefusal::NotLeader { .. } => WriteRefusal::NotLeader,
            },
            AppendError::Sequence(error) => match error {
                SequenceError::OutOfOrder { .. } => WriteRefusal::OutOfOrderSequence,
                SequenceError::StaleEpoch { .. } => WriteRefusal::FencedProducer,
            },
            AppendError::EpochBehind { .. } => WriteRefusal::NotLeader,
            AppendError::InvalidTxnState { .. } | AppendError::CoordinatorFenced { .. } => {
                WriteRefusal::Transaction
            }
            AppendError::TooLarge { .. } | AppendError::LargerThanSegment { .. } => {
                WriteRefusal::TooLarge
            }
            AppendError::InvalidRecord { .. } => WriteRefusal::InvalidRecord,
            AppendError::InvalidTimestamp { .. } => WriteRefusal::InvalidTimestamp,
            AppendError::UnsupportedCompression => WriteRefusal::UnsupportedCompression,
            AppendError::Corrupt(_) => WriteRefusal::Corrupt,
            AppendError::Closed { .. } | AppendError::Storage(_) => WriteRefusal::DiskError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        for (place, reason) in WriteRefusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason:?}");
        }
        let names: BTreeSet<&str> = WriteRefusal::ALL
            .iter()
            .map(|reason| reason.name())
            .collect();
        assert_eq!(names.len(), WriteRefusal::ALL.len());
    }
}
