//! SyncGroup, key 14, versions 0-5.
//!
//! Behaviour
//! - The leader brings the assignments, the others wait for theirs. Nothing assigned is zero bytes,
//!   never null.
//!
//! Version notes
//! - Version 3 has instance ids; version 5 checks and echoes protocol type and name (KIP-559).

use super::{Pace, kept, text};
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{Event, Name, Reply, Sync};
use gnomon_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

const PROTOCOL_SINCE: i16 = 5;

/// Gives a member its assignment.
pub async fn handle(context: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    let group = Name::from(&*request.group_id.0);
    let (mut pace, mut assignments) = (Pace::default(), Vec::new());
    for given in &request.assignments {
        pace.step().await;
        assignments.push((Name::from(&*given.member_id), kept(&given.assignment)));
    }
    let sync = Sync {
        group: group.clone(),
        member_id: Name::from(&*request.member_id),
        instance_id: request.group_instance_id.as_deref().map(Name::from),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_deref().map(Name::from),
        protocol: request.protocol_name.as_deref().map(Name::from),
        assignments,
    };
    match context
        .services
        .groups
        .submit(&group, Event::Sync(sync))
        .await
        .and_then(Reply::into_synced)
    {
        Ok(synced) if context.version >= PROTOCOL_SINCE => SyncGroupResponse::default()
            .with_protocol_type(synced.protocol_type.map(|name| text(&*name)))
            .with_protocol_name(synced.protocol.map(|name| text(&*name)))
            .with_assignment(synced.assignment),
        Ok(synced) => SyncGroupResponse::default().with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code().code()),
    }
}
