//! Consumer groups and committed offsets as one [`Machine`](gnomon_machine::Machine): [`Groups`],
//! one instance for each partition of `__consumer_offsets`.
//!
//! Invariant: a client is told of a stable group's members and assignments, and of a committed
//! offset, only after the records that hold them. Everything that is under way (joining members,
//! parked replies, timers) is soft: a restart loses it, and clients join again, as they do when a
//! coordinator moves.
//!
//! Not here: clocks, randomness, logs, the existence of topics (the API handler looks that up in
//! the catalog), Kafka's error codes (the broker maps [`GroupError`]), the consumer protocol of
//! KIP-848 and transactional commits (not built yet). The README has a table of files.
#![forbid(unsafe_code)]

mod admit;
mod classic;
mod config;
mod describe;
mod durable;
mod error;
mod event;
mod group_state;
mod machine;
mod offsets;
mod record;
mod reply;
mod soft;

pub use config::GroupConfig;
pub use durable::Durable;
pub use error::GroupError;
pub use event::{
    Commit, CommitOffset, DeleteGroups, DeletedTopic, Describe, Event, Fetch, Heartbeat, Join,
    Leave, LeaveMember, List, OffsetSelection, Protocol, Sync, SyncEnded, SyncOffset, SyncOffsets,
    TopicsDeleted,
};
pub use group_state::GroupState;
pub use record::{Committed, GroupValue, MemberValue, Origin, Record};
pub use reply::{
    Deletion, Described, DescribedMember, Fetched, FetchedPartition, FetchedTopic, Joined,
    JoinedMember, Left, Listed, PartitionOutcome, Reply, SkipReason, SyncOutcome, Synced,
    SyncedPartition,
};
pub use soft::Soft;

/// The group coordinator of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Groups;

/// No variant: groups need no work outside the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {}

/// A name that a client chose: group, topic, member, instance. Cheap to clone, because keys and
/// records share it.
pub type Name = std::sync::Arc<str>;

/// The longest name or text, in bytes. Strings in Kafka's record formats have a 16-bit length, so
/// longer ones are refused when a request brings them.
pub const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// The maximum length, in bytes, of a client id in a member and in the member id made from it; the
/// rest is cut off. Kafka keeps all of it, so that one client could fill the memory; client ids are
/// a few dozen bytes long.
pub const CLIENT_ID_BYTES_MAX: usize = 255;

/// The part of a client id that is kept: [`CLIENT_ID_BYTES_MAX`] bytes, or a few less so that it
/// ends between two characters.
pub fn kept_client_id(client_id: &str) -> &str {
    let most = client_id.len().min(CLIENT_ID_BYTES_MAX);
    // Offset 0 is always between two characters.
    let end = (0..=most).rev().find(|at| client_id.is_char_boundary(*at));
    &client_id[..end.unwrap_or(0)]
}

/// The maximum number of protocols in a join. The work of a join grows with the square of that
/// number. Clients list one to five.
pub const PROTOCOLS_MAX: usize = 100;
