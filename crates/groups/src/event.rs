//! The events of the group machine: one struct for each request, with the request's own field
//! names.
//!
//! Each event is answered by the [`Reply`](crate::Reply) variant that its documentation names, or
//! by `Reply::Refused`. A string that is empty or null in Kafka's request is empty or `None` here.
//! Not here: the `reason` of a join or a leave; the API handler logs it.

use crate::{GroupState, Name};
use bytes::Bytes;
use gnomon_protocol::ids::{Offset, TopicId};
use std::collections::BTreeSet;

/// A request to the group machine, or a report of a change elsewhere that concerns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// JoinGroup; answered by `Reply::Joined`, parked until the join phase is complete.
    Join(Join),
    /// SyncGroup; answered by `Reply::Synced`, parked until the leader has given the assignments.
    Sync(Sync),
    /// Heartbeat; answered by `Reply::Alive`.
    Heartbeat(Heartbeat),
    /// LeaveGroup; answered by `Reply::Left`.
    Leave(Leave),
    /// OffsetCommit; answered by `Reply::Committed`.
    Commit(Commit),
    /// OffsetFetch; answered by `Reply::Fetched`. Every offset is stable as long as there are no
    /// transactional commits.
    Fetch(Fetch),
    /// ListGroups; answered by `Reply::Listed`.
    List(List),
    /// DescribeGroups; answered by `Reply::Described`.
    Describe(Describe),
    /// DeleteGroups; answered by `Reply::Deleted`.
    DeleteGroups(DeleteGroups),
    /// Topics were deleted here, so their offsets are erased. Answered by `Reply::Done` or
    /// `Reply::DoneInPart`.
    TopicsDeleted(TopicsDeleted),
    /// A link brings the source's offsets of one group. Answered by `Reply::OffsetsSynced`.
    SyncOffsets(SyncOffsets),
    /// A link no longer syncs these topics: from now on their offsets expire like any. Answered by
    /// `Reply::Done` or `Reply::DoneInPart`.
    SyncEnded(SyncEnded),
}

impl Event {
    /// Marks every position with whether its topic still has its name. The driver MUST call this
    /// with the metadata as published when it hands the event to the machine.
    ///
    /// Topic ids have no order, so another id does not tell which of two topics is the earlier one.
    /// Only the metadata knows: the topic that has the name now is the latest. A commit or a sync
    /// that waited while its topic was deleted and created again must not be taken for the newer
    /// one. `has_name` tells whether the topic with this id has this name.
    pub fn look_up(&mut self, has_name: impl Fn(TopicId, &str) -> bool) {
        match self {
            Event::Commit(request) => {
                for offset in &mut request.offsets {
                    offset.is_current = has_name(offset.topic_id, &offset.topic);
                }
            }
            Event::SyncOffsets(request) => {
                for offset in &mut request.offsets {
                    offset.is_current = has_name(offset.topic_id, &offset.topic);
                }
            }
            Event::Join(_)
            | Event::Sync(_)
            | Event::Heartbeat(_)
            | Event::Leave(_)
            | Event::Fetch(_)
            | Event::List(_)
            | Event::Describe(_)
            | Event::DeleteGroups(_)
            | Event::TopicsDeleted(_)
            | Event::SyncEnded(_) => {}
        }
    }
}

/// A protocol that a member supports. Members list them in their order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The name of the assignor: "range".
    pub name: Name,
    /// Input for the assignor; for consumers a `ConsumerProtocolSubscription`.
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    pub group: Name,
    /// The member's id, empty for a member that has none yet.
    pub member_id: Name,
    /// The static member's instance id (KIP-345).
    pub instance_id: Option<Name>,
    /// The id to use if the member needs a new one: client id (or instance id), `-`, and a fresh
    /// UUID, made by the driver.
    pub fresh_member_id: Name,
    pub client_id: Name,
    /// The client's address, as Kafka writes it: `/127.0.0.1`.
    pub client_host: Name,
    /// After this long without a heartbeat the member is dropped.
    pub session_timeout_ms: i32,
    /// How long a rebalance may wait for this member; version 0 has none and gives the session
    /// timeout.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", ...
    pub protocol_type: Name,
    /// In the order of preference of the member.
    pub protocols: Vec<Protocol>,
    /// Whether a dynamic member without an id is refused with MEMBER_ID_REQUIRED (version 4 and
    /// later, KIP-394).
    pub require_known_member_id: bool,
    /// Whether the client understands `skip_assignment` (version 9 and later, KIP-814).
    pub supports_skip_assignment: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    pub group: Name,
    pub member_id: Name,
    /// The static member's instance id.
    pub instance_id: Option<Name>,
    /// The generation that the join was answered with.
    pub generation: i32,
    /// The protocol type that the member was told (version 5 and later); it must be the group's.
    pub protocol_type: Option<Name>,
    /// The protocol that the member was told (version 5 and later); it must be the chosen one.
    pub protocol: Option<Name>,
    /// Member id and assignment; empty unless the leader sends it.
    pub assignments: Vec<(Name, Bytes)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub group: Name,
    pub member_id: Name,
    /// The static member's instance id.
    pub instance_id: Option<Name>,
    pub generation: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    pub group: Name,
    /// Exactly one up to version 2.
    pub members: Vec<LeaveMember>,
}

/// A member that leaves, named by its member id, or by its instance id with an empty member id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveMember {
    /// The member's id, or empty.
    pub member_id: Name,
    /// The static member's instance id.
    pub instance_id: Option<Name>,
}

/// OffsetCommit. An admin's or a simple consumer's commit has generation -1 and an empty member id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub group: Name,
    /// The member's id, or empty.
    pub member_id: Name,
    /// The static member's instance id.
    pub instance_id: Option<Name>,
    /// The member's generation, or -1.
    pub generation: i32,
    /// How long the offsets are kept, if the request says so (versions 2 to 4); such offsets keep
    /// no leader epoch, as in Kafka.
    pub retention_ms: Option<i64>,
    /// Without topics that do not exist: the handler has refused those.
    pub offsets: Vec<CommitOffset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffset {
    pub topic: Name,
    /// The topic that had the name when the request was prepared. All offsets of a request with one
    /// topic name have the same id.
    pub topic_id: TopicId,
    /// Whether `topic_id` still has the name: see [`Event::look_up`].
    pub is_current: bool,
    pub partition: i32,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was consumed, or -1.
    pub leader_epoch: i32,
    /// A text of the client; empty if the request has null.
    pub metadata: Name,
    /// Whether the topic is a shadow here, or is ours and a peer shadows it. A commit on such a
    /// topic marks the group local on it, so that no link overwrites the commit.
    pub paired: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    pub group: Name,
    pub which: OffsetSelection,
}

/// The selection of an OffsetFetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetSelection {
    All,
    /// These partitions. Each is answered, also those without an offset.
    Partitions(Vec<(Name, Vec<i32>)>),
}

/// ListGroups. All groups here are of the classic type: the handler applies a filter by types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Only groups in these states; `None` for all. A name that [`GroupState::from_name`] does not
    /// know selects nothing.
    pub states: Option<BTreeSet<GroupState>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Describe {
    pub groups: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteGroups {
    pub groups: Vec<Name>,
}

/// Topics that were deleted. Offsets on other topics of the same names stay, however late this
/// event comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsDeleted {
    pub topics: Vec<DeletedTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeletedTopic {
    pub name: Name,
    /// The id of the deleted topic. Offsets that were written without a topic id are erased in any
    /// case; only those are if this is `None`.
    pub id: Option<TopicId>,
}

/// The source's offsets of one group, for topics of one link. The machine decides which of them it
/// takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOffsets {
    /// The name of the link; it becomes the mark of origin.
    pub link: Name,
    pub group: Name,
    /// The offsets at the source, already limited to the records that are here.
    pub offsets: Vec<SyncOffset>,
    /// Whether `offsets` is everything that the source has for this group on the link's topics.
    /// Then offsets that the link brought earlier and that the source no longer has begin to expire
    /// like any offset; they are not deleted.
    pub complete: bool,
    /// Whether the link syncs these topics for the last time, at a failover: from now on the
    /// offsets expire like any.
    pub last: bool,
    /// Answer as if the offsets were taken over, and write nothing.
    pub validate_only: bool,
}

/// The committed offset of one partition at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOffset {
    pub topic: Name,
    /// The topic here that had the name when the positions were prepared.
    pub topic_id: TopicId,
    /// Whether `topic_id` still has the name: see [`Event::look_up`].
    pub is_current: bool,
    pub partition: i32,
    /// The next offset to read.
    pub offset: Offset,
    /// -1 when the offset was limited, or when the epoch is newer than the copied records.
    pub leader_epoch: i32,
    pub metadata: Name,
}

/// A link that no longer syncs some topics: failed over, promoted or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncEnded {
    pub link: Name,
    /// `None` means all topics that the link has ever synced.
    pub topics: Option<Vec<Name>>,
}
