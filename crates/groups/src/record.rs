//! The durable changes of groups, as records of `__consumer_offsets`.
//!
//! Groups and offsets are written exactly as Kafka writes them (OffsetCommitKey 1,
//! OffsetCommitValue 1, 3 or 4, GroupMetadataKey 2, GroupMetadataValue 3), so that Kafka's own
//! tools read them; all versions up to 4 are read. Kafka has no record for the origin of a topic's
//! offsets: it has a key version far outside Kafka's, which those tools skip. Not here: the bytes,
//! see `record/format.rs`.

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
        group: Name,
        value: Option<GroupValue>,
    },
    Offset {
        group: Name,
        topic: Name,
        partition: i32,
        value: Option<Committed>,
    },
    /// The origin of a group's offsets on a topic. There is no mark on an ordinary topic, nor on
    /// one on which the group committed before it was paired.
    Origin {
        group: Name,
        topic: Name,
        value: Option<Origin>,
    },
}

/// A group as Kafka's GroupMetadataValue has it: written when its assignments are known, and when
/// it becomes empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// "consumer", ...; empty when there never was a member.
    pub protocol_type: Name,
    pub generation: i32,
    pub protocol: Option<Name>,
    pub leader: Option<Name>,
    /// The wall time, in milliseconds, since which the group is in this state. The retention of an
    /// empty group's offsets is counted from it (KIP-211).
    pub since_ms: i64,
    /// Its members; none when it is empty.
    pub members: Vec<MemberValue>,
}

/// A member of a stable group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    pub member_id: Name,
    /// Its instance id, when static.
    pub instance_id: Option<Name>,
    pub client_id: Name,
    pub client_host: Name,
    /// The maximum time, in milliseconds, that a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// The time without a sign of life, in milliseconds, after which it is dropped.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, or -1; always -1 when `expires_at_ms` is set,
    /// since Kafka's format has room for one of them.
    pub leader_epoch: i32,
    pub metadata: Name,
    /// Wall time of the commit in milliseconds.
    pub committed_at_ms: i64,
    /// The wall time of expiry in milliseconds, if the commit named one.
    pub expires_at_ms: Option<i64>,
    /// The topic that it was committed on: a later topic may have the same name. `None` in logs of
    /// earlier versions, and always when `expires_at_ms` is set: Kafka's format has room for one of
    /// them.
    pub topic_id: Option<TopicId>,
}

impl Committed {
    /// Whether it was committed on this topic, as far as is known: one without a topic id counts
    /// for any.
    pub fn is_on(&self, topic: Option<TopicId>) -> bool {
        self.topic_id.is_none() || self.topic_id == topic
    }
}

/// The origin of a group's offsets on a topic.
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
