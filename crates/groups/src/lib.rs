//! Consumer groups and committed offsets as one [`Machine`](gnomon_machine::Machine): [`Groups`],
//! one instance per partition of `__consumer_offsets`.
//!
//! Invariant: whatever a client was told rests on records before it: a stable group's members and
//! assignments, and every committed offset. What is only under way (joining members, parked
//! replies, timers) is soft and is lost with the process, as clients expect of a coordinator that
//! moved.
//!
//! Not here: clocks, randomness, logs, topics' existence (the API handler asks the catalog),
//! Kafka's error codes (the broker maps [`GroupError`]), the consumer protocol of KIP-848 and
//! transactional commits (later issues). See the README for where is what.

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
    Leave, LeaveMember, List, Protocol, Sync, SyncEnded, SyncOffset, SyncOffsets, TopicsDeleted,
    Which,
};
pub use group_state::GroupState;
pub use machine::{Action, Groups};
pub use record::{Committed, GroupValue, MemberValue, Origin, Record};
pub use reply::{
    Deletion, Described, DescribedMember, Fetched, FetchedPartition, FetchedTopic, Joined,
    JoinedMember, Left, Listed, PartitionOutcome, Reply, SkipReason, SyncOutcome, Synced,
    SyncedPartition,
};
pub use soft::Soft;

/// A name as clients gave it: group, topic, member, instance. Cheap to clone, because keys and
/// records share it.
pub type Name = std::sync::Arc<str>;

/// Strings in Kafka's record formats have a 16-bit length: longer ones are refused where they come
/// in.
pub const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// The most bytes of a client id that are kept, in a member and in the member id made from it.
/// Kafka keeps all of it; clients' own are a few dozen bytes long.
pub const CLIENT_ID_BYTES_MAX: usize = 255;

/// The part of a client id that is kept: [`CLIENT_ID_BYTES_MAX`] bytes, or a few less so that it
/// ends between two characters.
pub fn kept_client_id(client_id: &str) -> &str {
    let most = client_id.len().min(CLIENT_ID_BYTES_MAX);
    // Offset 0 is always between two characters.
    let end = (0..=most).rev().find(|at| client_id.is_char_boundary(*at));
    &client_id[..end.unwrap_or(0)]
}

/// The most protocols that a member may offer: what all members can do is found by comparing each
/// with each. Clients offer one to five.
pub const PROTOCOLS_MAX: usize = 100;
