//! The durable changes of groups, as records of `__consumer_offsets`.
//!
//! Groups and offsets stand there exactly as Kafka writes them (OffsetCommitKey 1,
//! OffsetCommitValue 1, 3 or 4, GroupMetadataKey 2, GroupMetadataValue 3), so Kafka's own tools
//! read them; all versions up to 4 are read back. What Kafka has no word for, the origin of a
//! topic's offsets, has a key version far outside Kafka's, which those tools skip. Not here: the
//! bytes, see `record/format.rs`.

mod format;

use crate::Name;
use bytes::Bytes;
use gnomon_machine::{DurableRecord, EncodedRecord, UnreadableRecord};
use gnomon_protocol::ids::{Offset, TopicId};

/// One durable change; `None` as value is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group with its members.
    Group {
        /// The group.
        group: Name,
        /// What it is now.
        value: Option<GroupValue>,
    },
    /// A committed offset.
    Offset {
        /// The group.
        group: Name,
        /// The topic.
        topic: Name,
        /// The partition.
        partition: i32,
        /// What is committed now.
        value: Option<Committed>,
    },
    /// Whose a group's offsets on a topic are. No mark: an ordinary topic's, or committed here
    /// before it was paired.
    Origin {
        /// The group.
        group: Name,
        /// The topic.
        topic: Name,
        /// The mark now.
        value: Option<Origin>,
    },
}

/// A group as Kafka's GroupMetadataValue has it: written when its assignments are known, and when
/// it becomes empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// "consumer", ...; empty when there never was a member.
    pub protocol_type: Name,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol.
    pub protocol: Option<Name>,
    /// The leader's member id.
    pub leader: Option<Name>,
    /// Wall time in milliseconds since when it is in this state: what an empty group's offsets
    /// expire from (KIP-211).
    pub since_ms: i64,
    /// Its members; none when it is empty.
    pub members: Vec<MemberValue>,
}

/// A member of a stable group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    /// Its id.
    pub member_id: Name,
    /// Its instance id, when static.
    pub instance_id: Option<Name>,
    /// Its client's id.
    pub client_id: Name,
    /// Its client's address.
    pub client_host: Name,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it said to the chosen protocol's assignor.
    pub subscription: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, or -1; always -1 when `expires_at_ms` is set,
    /// since Kafka's format has room for one of them.
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: Name,
    /// Wall time of the commit in milliseconds.
    pub committed_at_ms: i64,
    /// When it expires, if the commit said so.
    pub expires_at_ms: Option<i64>,
    /// The topic that it was committed on, since a name can be used again. `None` in logs of
    /// before, and always when `expires_at_ms` is set: Kafka's format has room for one of them.
    pub topic_id: Option<TopicId>,
}

impl Committed {
    /// Whether it stands for this topic, as far as can be told: without an id of its own for any.
    pub fn is_on(&self, topic: Option<TopicId>) -> bool {
        self.topic_id.is_none() || self.topic_id == topic
    }
}

/// Whose a group's offsets on a topic are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The group has committed here on a paired topic: no link touches it.
    Local,
    /// This link brought them: they do not expire while the source has them.
    Link(Name),
}

impl DurableRecord for Record {
    fn encode(&self) -> EncodedRecord {
        format::encode(self)
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, UnreadableRecord> {
        format::decode(key, value)
    }
}
