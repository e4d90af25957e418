//! The replies of the group machine: one variant for each kind of event.
//!
//! A handler that has sent an event knows the variant of its reply: the `into_...` functions take
//! it out, and panic on any other.

use crate::{Committed, GroupError, GroupState, Name};
use bytes::Bytes;
use gnomon_protocol::ids::Offset;

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
    /// To the same events, when the records of all that is to be done do not fit into one batch:
    /// the event must be sent again until the reply is `Done`.
    DoneInPart,
}

macro_rules! into {
    ($($name:ident, $variant:ident => $of:ty;)*) => {
        impl Reply {
            $(
                /// This variant's content, or the refusal.
                ///
                /// # Panics
                /// On any other variant: the machine has then answered another request, which is a
                /// bug.
                pub fn $name(self) -> Result<$of, GroupError> {
                    match self {
                        Reply::$variant(answer) => Ok(answer),
                        Reply::Refused(error) => Err(error),
                        other => unreachable!("expected {}, got {other:?}", stringify!($variant)),
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
    /// Whether the member is alive in its generation.
    ///
    /// # Panics
    /// On any other variant, which is a bug.
    pub fn into_alive(self) -> Result<(), GroupError> {
        match self {
            Reply::Alive => Ok(()),
            Reply::Refused(error) => Err(error),
            other => unreachable!("expected Alive, got {other:?}"),
        }
    }

    /// Whether everything is done. If not, the event must be sent again.
    ///
    /// # Panics
    /// On any other variant, which is a bug.
    pub fn into_done(self) -> Result<bool, GroupError> {
        match self {
            Reply::Done => Ok(true),
            Reply::DoneInPart => Ok(false),
            Reply::Refused(error) => Err(error),
            other => unreachable!("expected Done, got {other:?}"),
        }
    }
}

/// A member of a new generation, or of the present one if nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    /// "consumer", ...
    pub protocol_type: Option<Name>,
    /// The chosen protocol, which all members support.
    pub protocol: Option<Name>,
    pub leader: Name,
    pub member_id: Name,
    /// All members, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
    /// The leader must not assign: the assignments of the generation stand (KIP-814).
    pub skip_assignment: bool,
}

/// A member as its group's leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: Name,
    pub instance_id: Option<Name>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: Option<Name>,
    pub protocol: Option<Name>,
    /// From the leader. A member that the leader left out gets zero bytes, never null.
    pub assignment: Bytes,
}

/// The result of one member of a LeaveGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// As in the request, also if an instance id alone named the member.
    pub member_id: Name,
    pub instance_id: Option<Name>,
    pub result: Result<(), GroupError>,
}

/// The result of one partition of an OffsetCommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    pub topic: Name,
    pub partition: i32,
    pub result: Result<(), GroupError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// In the order of the request; by name if it selected everything.
    pub topics: Vec<FetchedTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    pub topic: Name,
    /// In the order of the request; by number if it selected everything.
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    pub partition: i32,
    /// `None` is answered to clients as offset -1, epoch -1 and empty metadata, without an error.
    pub committed: Option<Committed>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub group: Name,
    /// "consumer", ...; empty for a group that only has offsets.
    pub protocol_type: Name,
    pub state: GroupState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub group: Name,
    /// Its state; `None` when there is no such group, which clients know as "Dead" (up to version
    /// 5) or GROUP_ID_NOT_FOUND.
    pub state: Option<GroupState>,
    /// "consumer", ..., or empty.
    pub protocol_type: Name,
    /// The chosen protocol, when stable; else empty.
    pub protocol: Name,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: Name,
    pub instance_id: Option<Name>,
    pub client_id: Name,
    pub client_host: Name,
    /// Its metadata for the chosen protocol, when stable; else empty.
    pub metadata: Bytes,
    /// Its assignment, when stable; else empty.
    pub assignment: Bytes,
}

/// The result of one group of a DeleteGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub group: Name,
    pub result: Result<(), GroupError>,
}

/// The result of one partition of a `SyncOffsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncedPartition {
    pub topic: Name,
    pub partition: i32,
    pub outcome: SyncOutcome,
    /// The committed offset of the group on this partition afterwards; `None` if it has none.
    pub stands: Option<Offset>,
}

/// Whether an offset from a link was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    Applied,
    /// The same offset was committed here already: nothing was written.
    Unchanged,
    Skipped(SkipReason),
}

/// Why an offset from a link was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The group has live members here.
    LiveMembers,
    /// The group is marked local on this topic: a client has committed here.
    Local,
    /// The topic of the offset was deleted; another may have its name.
    TopicGone,
}
