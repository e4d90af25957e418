//! Heartbeat, key 12, versions 0-4.
//!
//! Behaviour
//! - Keeps a member alive, and tells it of a rebalance. Version 3 has instance ids (KIP-345).

use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{Event, Heartbeat, Name, Reply};
use gnomon_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

/// A member is alive.
pub async fn handle(context: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = Name::from(&*request.group_id.0);
    let heartbeat = Heartbeat {
        group: group.clone(),
        member_id: Name::from(&*request.member_id),
        instance_id: request.group_instance_id.as_deref().map(Name::from),
        generation: request.generation_id,
    };
    match context
        .services
        .groups
        .submit(&group, Event::Heartbeat(heartbeat))
        .await
        .and_then(Reply::into_alive)
    {
        Ok(()) => HeartbeatResponse::default(),
        Err(error) => HeartbeatResponse::default().with_error_code(error.code().code()),
    }
}
