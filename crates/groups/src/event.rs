//! What is asked of the group machine, one struct a request, in the requests' own words.
//!
//! Every event is answered by the [`Reply`](crate::Reply) variant named at it, or by
//! `Reply::Refused`. Strings that Kafka's requests leave empty or null are empty or `None` here.
//! Not here: `reason` texts, which only the handler's log wants.

use crate::{GroupState, Name};
use bytes::Bytes;
use gnomon_protocol::ids::{Offset, TopicId};
use std::collections::BTreeSet;

/// A request to the group machine, or news that concern it.
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
    /// Topics were deleted here: their offsets vanish. Answered by `Reply::Done` or
    /// `Reply::DoneInPart`.
    TopicsDeleted(TopicsDeleted),
    /// A link brings the source's offsets of one group. Answered by `Reply::OffsetsSynced`.
    SyncOffsets(SyncOffsets),
    /// A link no longer syncs these topics: their offsets are ours. Answered by `Reply::Done` or
    /// `Reply::DoneInPart`.
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

/// One way of assigning that a member offers, in its order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The assignor's name: "range".
    pub name: Name,
    /// What the member says to the assignor; for consumers a `ConsumerProtocolSubscription`.
    pub metadata: Bytes,
}

/// JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: Name,
    /// The member's id, empty for a member that has none yet.
    pub member_id: Name,
    /// The static member's instance id (KIP-345).
    pub instance_id: Option<Name>,
    /// The id to use if the member needs a new one: client id (or instance id), `-`, and a fresh
    /// UUID, made by the driver.
    pub fresh_member_id: Name,
    /// The client's id.
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
    /// What the member can do, in its order of preference.
    pub protocols: Vec<Protocol>,
    /// Whether a dynamic member must come with an id (version 4 and later, KIP-394).
    pub require_known_member_id: bool,
    /// Whether the client understands `skip_assignment` (version 9 and later, KIP-814).
    pub supports_skip_assignment: bool,
}

/// SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The group.
    pub group: Name,
    /// The member's id.
    pub member_id: Name,
    /// The static member's instance id.
    pub instance_id: Option<Name>,
    /// The generation that the join was answered with.
    pub generation: i32,
    /// What the member believes the group's protocol type is (version 5 and later).
    pub protocol_type: Option<Name>,
    /// What the member believes the chosen protocol is (version 5 and later).
    pub protocol: Option<Name>,
    /// From the leader: member id and assignment.
    pub assignments: Vec<(Name, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: Name,
    /// The member's id.
    pub member_id: Name,
    /// The static member's instance id.
    pub instance_id: Option<Name>,
    /// The member's generation.
    pub generation: i32,
}

/// LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: Name,
    /// Who leaves; one member up to version 2.
    pub members: Vec<LeaveMember>,
}

/// Who leaves: by member id, or by instance id with an empty member id.
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
    /// The group.
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
    /// What is committed. The handler has already refused topics that do not exist.
    pub offsets: Vec<CommitOffset>,
}

/// One partition's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffset {
    /// The topic.
    pub topic: Name,
    /// The topic that had the name when the request was prepared; the same in the whole request.
    pub topic_id: TopicId,
    /// Whether `topic_id` still has the name: see [`Event::look_up`].
    pub is_current: bool,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// The client's own text, empty when null.
    pub metadata: Name,
    /// Whether the topic is a shadow here, or our own and shadowed by a peer: such a commit marks
    /// the group local on it.
    pub paired: bool,
}

/// OffsetFetch of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The group.
    pub group: Name,
    /// What is asked for.
    pub which: Which,
}

/// What an OffsetFetch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Everything committed.
    All,
    /// These partitions, answered each, committed or not.
    Partitions(Vec<(Name, Vec<i32>)>),
}

/// ListGroups. All groups here are of the classic type: a filter by types is the handler's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Only groups in these states; `None` for all. A name that [`GroupState::from_name`] does not
    /// know selects nothing.
    pub states: Option<BTreeSet<GroupState>>,
}

/// DescribeGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Describe {
    /// Which groups.
    pub groups: Vec<Name>,
}

/// DeleteGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteGroups {
    /// Which groups.
    pub groups: Vec<Name>,
}

/// Topics that are gone. What is committed on others of their names stays, whenever this comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsDeleted {
    /// Which.
    pub topics: Vec<DeletedTopic>,
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Name,
    /// Its id. What was written without one goes in any case, and alone if this is `None`.
    pub id: Option<TopicId>,
}

/// The source's offsets of one group, for topics of one link. The machine decides which of
/// them it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOffsets {
    /// The link that brings them.
    pub link: Name,
    /// The group.
    pub group: Name,
    /// The source's positions, clamped already to what is here.
    pub offsets: Vec<SyncOffset>,
    /// Whether `offsets` is all that the source has for this group on the link's topics. Then what
    /// the link brought earlier and the source has no longer begins to expire like any offset; it
    /// is not deleted.
    pub complete: bool,
    /// Whether this is the link's last word on these topics, at failover (step g): the offsets are
    /// ours from now on and expire like any offset.
    pub last: bool,
    /// Only say what would be.
    pub validate_only: bool,
}

/// One partition's position at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOffset {
    /// The topic.
    pub topic: Name,
    /// The topic here that had the name when the positions were prepared.
    pub topic_id: TopicId,
    /// Whether `topic_id` still has the name: see [`Event::look_up`].
    pub is_current: bool,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: Offset,
    /// Its leader epoch, -1 when clamped or newer than what was copied.
    pub leader_epoch: i32,
    /// The client's own text.
    pub metadata: Name,
}

/// A link that no longer syncs some topics: failed over, promoted or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncEnded {
    /// The link.
    pub link: Name,
    /// Which topics; `None` means all that the link ever synced.
    pub topics: Option<Vec<Name>>,
}
