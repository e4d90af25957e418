//! What the group machine answers, one variant a kind of event.
//!
//! A handler that asked knows which variant comes; the `into_...` functions say so once and for
//! all.

use crate::{Committed, GroupError, GroupState, Name};
use bytes::Bytes;
use gnomon_protocol::ids::Offset;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The request as a whole was refused.
    Refused(GroupError),
    /// To `Event::Join`.
    Joined(Joined),
    /// To `Event::Sync`.
    Synced(Synced),
    /// To `Event::Heartbeat`.
    Alive,
    /// To `Event::Leave`: one for each member named, in order.
    Left(Vec<Left>),
    /// To `Event::Commit`: one for each partition, in order.
    Committed(Vec<PartitionOutcome>),
    /// To `Event::Fetch`.
    Fetched(Fetched),
    /// To `Event::List`, in order of group ids.
    Listed(Vec<Listed>),
    /// To `Event::Describe`: one for each group named, in order.
    Described(Vec<Described>),
    /// To `Event::DeleteGroups`: one for each group named, in order.
    Deleted(Vec<Deletion>),
    /// To `Event::SyncOffsets`: one for each partition, in order.
    OffsetsSynced(Vec<SyncedPartition>),
    /// To `Event::TopicsDeleted` and `Event::SyncEnded`.
    Done,
    /// To the same, when more was to be done than fits into one batch: they must be told again.
    DoneInPart,
}

macro_rules! into {
    ($($name:ident, $variant:ident => $of:ty;)*) => {
        impl Reply {
            $(
                /// The answer of this kind, or the refusal.
                ///
                /// # Panics
                /// On another kind of answer: the machine answered another question, which is a bug
                /// of ours.
                pub fn $name(self) -> Result<$of, GroupError> {
                    match self {
                        Reply::$variant(answer) => Ok(answer),
                        Reply::Refused(error) => Err(error),
                        other => unreachable!("asked for {}, answered {other:?}", stringify!($variant)),
                    }
                }
            )*
        }
    };
}

into! {
    into_joined, Joined => Joined;
    into_synced, Synced => Synced;
    into_left, Left => Vec<Left>;
    into_committed, Committed => Vec<PartitionOutcome>;
    into_fetched, Fetched => Fetched;
    into_listed, Listed => Vec<Listed>;
    into_described, Described => Vec<Described>;
    into_deleted, Deleted => Vec<Deletion>;
    into_offsets_synced, OffsetsSynced => Vec<SyncedPartition>;
}

impl Reply {
    /// A heartbeat's answer.
    ///
    /// # Panics
    /// On another kind of answer, which is a bug of ours.
    pub fn into_alive(self) -> Result<(), GroupError> {
        match self {
            Reply::Alive => Ok(()),
            Reply::Refused(error) => Err(error),
            other => unreachable!("asked for Alive, answered {other:?}"),
        }
    }

    /// The answer to news: whether all is done, or they must be told again.
    ///
    /// # Panics
    /// On another kind of answer, which is a bug of ours.
    pub fn into_done(self) -> Result<bool, GroupError> {
        match self {
            Reply::Done => Ok(true),
            Reply::DoneInPart => Ok(false),
            Reply::Refused(error) => Err(error),
            other => unreachable!("asked for Done, answered {other:?}"),
        }
    }
}

/// A member's place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// "consumer", ...
    pub protocol_type: Option<Name>,
    /// The protocol that all members can do.
    pub protocol: Option<Name>,
    /// The leader's member id.
    pub leader: Name,
    /// The member's own id.
    pub member_id: Name,
    /// All members, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
    /// The leader shall not assign: what was assigned stands (KIP-814).
    pub skip_assignment: bool,
}

/// A member as its group's leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Name,
    /// Its instance id.
    pub instance_id: Option<Name>,
    /// What it says to the assignor of the chosen protocol.
    pub metadata: Bytes,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Name>,
    /// The chosen protocol.
    pub protocol: Option<Name>,
    /// What the leader assigned; zero bytes, never null, if nothing.
    pub assignment: Bytes,
}

/// How one member's leaving went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The member id as asked.
    pub member_id: Name,
    /// The instance id as asked.
    pub instance_id: Option<Name>,
    /// Whether it left.
    pub result: Result<(), GroupError>,
}

/// How one partition's commit went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    /// The topic.
    pub topic: Name,
    /// The partition.
    pub partition: i32,
    /// Whether it is committed.
    pub result: Result<(), GroupError>,
}

/// A group's committed offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// By topic: in the order asked, or by name.
    pub topics: Vec<FetchedTopic>,
}

/// A topic's committed offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic.
    pub topic: Name,
    /// By partition: in the order asked, or by number.
    pub partitions: Vec<FetchedPartition>,
}

/// A partition's committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: i32,
    /// What is committed; `None` is answered to clients as offset -1, epoch -1 and empty metadata,
    /// without an error.
    pub committed: Option<Committed>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The group.
    pub group: Name,
    /// "consumer", ...; empty for a group that only has offsets.
    pub protocol_type: Name,
    /// Its state.
    pub state: GroupState,
}

/// A group described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The group.
    pub group: Name,
    /// Its state; `None` when there is no such group, which clients know as "Dead" (up to version
    /// 5) or GROUP_ID_NOT_FOUND.
    pub state: Option<GroupState>,
    /// "consumer", ..., or empty.
    pub protocol_type: Name,
    /// The chosen protocol, when stable; else empty.
    pub protocol: Name,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Name,
    /// Its instance id.
    pub instance_id: Option<Name>,
    /// Its client's id.
    pub client_id: Name,
    /// Its client's address.
    pub client_host: Name,
    /// What it said to the chosen assignor, when stable; else empty.
    pub metadata: Bytes,
    /// What it was assigned, when stable; else empty.
    pub assignment: Bytes,
}

/// How one group's deletion went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The group.
    pub group: Name,
    /// Whether it is gone.
    pub result: Result<(), GroupError>,
}

/// What became of one partition's position from a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedPartition {
    /// The topic.
    pub topic: Name,
    /// The partition.
    pub partition: i32,
    /// What became of it.
    pub outcome: SyncOutcome,
    /// Where the group stands on the partition after it; `None` if it has no position.
    pub stands: Option<Offset>,
}

/// What became of a position from a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Written.
    Applied,
    /// It stood here already: nothing was written.
    Unchanged,
    /// Left alone.
    Skipped(SkipReason),
}

/// Why a position from a link was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The group has live members here.
    LiveMembers,
    /// The group has committed here on this topic.
    Local,
    /// The topic that the position was prepared for no longer has its name.
    TopicGone,
}
