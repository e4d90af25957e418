//! Why the group machine refuses a request: facts, with their numbers. Which Kafka code each
//! becomes is decided in the broker alone.

use crate::Name;

/// A refusal. The Kafka code that clients expect is named behind each, for the reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// INVALID_GROUP_ID.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// INVALID_SESSION_TIMEOUT.
    #[error("session timeout {asked_ms} ms is not within {min_ms} to {max_ms} ms")]
    InvalidSessionTimeout {
        /// What the member asked for.
        asked_ms: i32,
        /// The shortest allowed.
        min_ms: i32,
        /// The longest allowed.
        max_ms: i32,
    },
    /// UNKNOWN_MEMBER_ID.
    #[error("the group does not know member {member_id:?}")]
    UnknownMember {
        /// Who asked.
        member_id: Name,
    },
    /// MEMBER_ID_REQUIRED: join again with this id (KIP-394).
    #[error("join again as member {member_id}")]
    MemberIdRequired {
        /// The id that is kept for it.
        member_id: Name,
    },
    /// FENCED_INSTANCE_ID: another process has come with the same instance id (KIP-345).
    #[error("instance {instance_id} is another member now")]
    FencedInstance {
        /// The instance.
        instance_id: Name,
    },
    /// ILLEGAL_GENERATION.
    #[error("generation {asked} is not the group's generation {current}")]
    IllegalGeneration {
        /// What the member believes.
        asked: i32,
        /// What it is; -1 when there is no such group.
        current: i32,
    },
    /// INCONSISTENT_GROUP_PROTOCOL.
    #[error("no protocol in common: {why}")]
    InconsistentProtocol {
        /// What does not fit.
        why: &'static str,
    },
    /// REBALANCE_IN_PROGRESS.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// GROUP_MAX_SIZE_REACHED.
    #[error("the group has its {max} members")]
    GroupMaxSize {
        /// How many it may have.
        max: usize,
    },
    /// OFFSET_METADATA_TOO_LARGE.
    #[error("metadata of {bytes} bytes is longer than {max}")]
    MetadataTooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// INVALID_COMMIT_OFFSET_SIZE: one request of so many offsets that they are no batch any more.
    #[error("offsets of {bytes} bytes are more than the {max} of one commit")]
    CommitTooLarge {
        /// How much it would write, about.
        bytes: usize,
        /// How much it may.
        max: usize,
    },
    /// UNKNOWN_SERVER_ERROR, as Kafka answers it: the group would be too large to be written.
    #[error("the group's members say and are assigned {bytes} bytes, more than {max}")]
    GroupTooLarge {
        /// How much they would be.
        bytes: usize,
        /// How much they may be.
        max: usize,
    },
    /// INVALID_REQUEST: a name or text that Kafka's record formats have no room for.
    #[error("a name or text of {bytes} bytes is longer than {max}")]
    NameTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// UNKNOWN_TOPIC_OR_PARTITION: the commit waited while its topic was deleted; another topic may
    /// have the name now.
    #[error("the topic that the offset was committed on has been deleted")]
    TopicGone,
    /// NON_EMPTY_GROUP.
    #[error("the group has members")]
    NotEmpty,
    /// GROUP_ID_NOT_FOUND.
    #[error("there is no such group")]
    NotFound,
    /// NOT_COORDINATOR: this broker no longer leads the group's partition.
    #[error("not the coordinator of this group any more")]
    NotCoordinator,
}
