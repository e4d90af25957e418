//! Why the group machine refuses a request, with the numbers that the sentence needs. The broker
//! maps each to a Kafka error code (`broker/src/error_code.rs`).

use crate::Name;

/// A refusal. The documentation of each variant names the Kafka error code that the broker answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    #[error("the group id is empty")]
    InvalidGroupId,
    #[error("session timeout {requested_ms} ms is not within {min_ms} to {max_ms} ms")]
    InvalidSessionTimeout {
        requested_ms: i32,
        min_ms: i32,
        max_ms: i32,
    },
    #[error("the group does not know member {member_id:?}")]
    UnknownMember { member_id: Name },
    /// MEMBER_ID_REQUIRED: join again with this id (KIP-394).
    #[error("join again with member id {member_id}")]
    MemberIdRequired {
        /// The id that the member must use in its next join.
        member_id: Name,
    },
    /// FENCED_INSTANCE_ID: another process has joined with the same instance id (KIP-345).
    #[error("another member has joined with instance id {instance_id}")]
    FencedInstance { instance_id: Name },
    #[error("generation {requested} is not the group's generation {current}")]
    IllegalGeneration {
        requested: i32,
        /// The present generation; -1 when there is no such group.
        current: i32,
    },
    /// INCONSISTENT_GROUP_PROTOCOL.
    #[error("the protocols do not match: {why}")]
    InconsistentProtocol { why: &'static str },
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// GROUP_MAX_SIZE_REACHED.
    #[error("the group is full, it has its maximum of {max} members")]
    GroupMaxSize { max: usize },
    /// OFFSET_METADATA_TOO_LARGE.
    #[error("the metadata has {bytes} bytes, more than the maximum of {max}")]
    MetadataTooLarge { bytes: usize, max: usize },
    /// INVALID_COMMIT_OFFSET_SIZE: the offsets of one request are too large for one batch.
    #[error("the offsets take {bytes} bytes, more than the maximum of {max} for one request")]
    CommitTooLarge {
        /// An estimate of the batch, from above.
        bytes: usize,
        max: usize,
    },
    /// UNKNOWN_SERVER_ERROR, as Kafka answers it: the group would be too large to be written.
    #[error(
        "the members' metadata and assignments take {bytes} bytes, more than the maximum of {max}"
    )]
    GroupTooLarge {
        /// With this request.
        bytes: usize,
        max: usize,
    },
    /// INVALID_REQUEST: the name or text does not fit into Kafka's record formats, whose lengths
    /// have 16 bits.
    #[error("a name or text has {bytes} bytes, more than the maximum of {max}")]
    NameTooLong { bytes: usize, max: usize },
    /// UNKNOWN_TOPIC_OR_PARTITION: the topic was deleted while the commit waited for the machine;
    /// another topic may have its name now.
    #[error("the topic that the offset was committed on has been deleted")]
    TopicGone,
    /// NON_EMPTY_GROUP.
    #[error("the group has members")]
    NotEmpty,
    /// COORDINATOR_LOAD_IN_PROGRESS, with which clients send the deletion again: the groups of the
    /// request have more offsets than one batch can erase.
    #[error("a part of the group's offsets is deleted, delete the group again")]
    DeletionUnfinished,
    /// GROUP_ID_NOT_FOUND.
    #[error("there is no such group")]
    NotFound,
    /// NOT_COORDINATOR: this broker no longer leads the group's partition.
    #[error("this broker is no longer the coordinator of the group")]
    NotCoordinator,
}
