//! One file for each API key: facts first, then the logic. Only here messages become calls, and
//! results messages.

pub mod api_versions;
mod authorized_operations;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod errors;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
mod pace;
pub mod produce;
pub mod sync_group;

use crate::{config::Endpoint, context::RequestContext, error_code::Refusal};
use bytes::Bytes;
use gnomon_driver::NoReply;
use gnomon_partition::{Handle, Replica};
use gnomon_protocol::{
    error_code::ErrorCode, ids::LeaderEpoch, messages::TopicName, wire::StrBytes,
};
use pace::{Pace, distinct};
use std::collections::BTreeSet;

/// Text of ours as the protocol's strings are.
fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The error for a client whose change the metadata machine did not answer: that there is no
/// machine, or why nothing can be recorded.
fn unrecorded(no_reply: Option<NoReply>) -> (ErrorCode, Option<StrBytes>) {
    match no_reply {
        Some(refused @ NoReply::Refused { .. }) => {
            (refused.code(), Some(text(refused.to_string())))
        }
        Some(NoReply::Gone | NoReply::NotLeader) | None => (ErrorCode::NotController, None),
    }
}

/// Text of a request, as a copy: for what outlives the request. A slice would hold the whole frame
/// in memory.
fn kept_text(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.to_string())
}

/// Bytes of a request, as a copy: for what outlives the request.
fn kept(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A topic's name as the protocol has it.
fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The broker that leads a partition, as far as this broker knows, and its epoch. `broker_id` is
/// ours.
fn current_leader(handle: &Handle, broker_id: i32) -> (i32, LeaderEpoch) {
    match handle.role().replica {
        Replica::Leader(epoch) => (broker_id, epoch),
        Replica::Follower { leader, epoch } => (leader, epoch),
    }
}

/// The addresses of leaders for a client (KIP-951), by broker id.
fn leader_endpoints<'a>(
    context: &'a RequestContext,
    leaders: &'a BTreeSet<i32>,
) -> impl Iterator<Item = (i32, Endpoint)> + 'a {
    // No response names a leader unless it refuses something: then the image is not looked at.
    let image = (!leaders.is_empty()).then(|| context.image());
    leaders.iter().filter_map(move |id| {
        let broker = image.as_ref()?.brokers.get(id)?;
        Some((*id, context.endpoint_of(broker)?))
    })
}

#[cfg(test)]
pub mod test_broker;
#[cfg(test)]
mod tests;
