//! JoinGroup, key 11, versions 0-9.
//!
//! Behaviour
//! - Hands the request to the group's machine and waits until the join phase is over. All rules are
//!   `groups/src/classic/join.rs`'s.
//!
//! Version notes
//! - Version 0 has no rebalance timeout: the session timeout counts. From version 4 a new member
//!   must come twice (KIP-394).
//! - Version 5 has instance ids (KIP-345); version 7 names the protocol type; version 9 may skip
//!   the assignment (KIP-814).

use super::{kept, text};
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{
    Event, GroupError, Join, Joined, Name, PROTOCOLS_MAX, Protocol, Reply, kept_client_id,
};
use gnomon_protocol::{
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
    wire::StrBytes,
};

const REBALANCE_TIMEOUT_SINCE: i16 = 1;
const KNOWN_MEMBER_ID_SINCE: i16 = 4;
const PROTOCOL_TYPE_SINCE: i16 = 7;
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// Joins a member to its group.
pub async fn handle(context: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let group = Name::from(&*request.group_id.0);
    let client_id = kept_client_id(context.client_id.as_deref().unwrap_or_default());
    // A member id stays in memory for as long as its member, so its stem is bounded like a client id.
    let stem = kept_client_id(request.group_instance_id.as_deref().unwrap_or(client_id));
    let join = Join {
        group: group.clone(),
        member_id: Name::from(&*member_id),
        instance_id: request.group_instance_id.as_deref().map(Name::from),
        fresh_member_id: format!("{stem}-{}", context.services.random.id()).into(),
        client_id: client_id.into(),
        client_host: format!("/{}", context.connection.peer.ip()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if context.version >= REBALANCE_TIMEOUT_SINCE {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        protocol_type: Name::from(&*request.protocol_type),
        protocols: request
            .protocols
            .iter()
            // One more than the machine takes, for it to refuse.
            .take(PROTOCOLS_MAX + 1)
            .map(|protocol| Protocol {
                name: Name::from(&*protocol.name),
                metadata: kept(&protocol.metadata),
            })
            .collect(),
        require_known_member_id: context.version >= KNOWN_MEMBER_ID_SINCE,
        supports_skip_assignment: context.version >= SKIP_ASSIGNMENT_SINCE,
    };
    match context
        .services
        .groups
        .submit(&group, Event::Join(join))
        .await
        .and_then(Reply::into_joined)
    {
        Ok(joined) => accepted(&context, joined),
        Err(error) => refused(&context, member_id, &error),
    }
}

fn accepted(context: &RequestContext, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&*member.member_id))
            .with_group_instance_id(member.instance_id.map(|id| text(&*id)))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.map(|name| text(&*name)))
        .with_protocol_name(nullable(context, joined.protocol))
        .with_leader(text(&*joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&*joined.member_id))
        .with_members(members.collect())
}

fn refused(context: &RequestContext, member_id: StrBytes, error: &GroupError) -> JoinGroupResponse {
    let member_id = match error {
        GroupError::MemberIdRequired { member_id } => text(&**member_id),
        _ => member_id,
    };
    JoinGroupResponse::default()
        .with_error_code(error.code().code())
        .with_generation_id(-1)
        .with_protocol_name(nullable(context, None))
        .with_member_id(member_id)
}

/// The protocol's name may be null from version 7 on; before, it is empty.
fn nullable(context: &RequestContext, name: Option<Name>) -> Option<StrBytes> {
    match name {
        Some(name) => Some(text(&*name)),
        None if context.version >= PROTOCOL_TYPE_SINCE => None,
        None => Some(StrBytes::default()),
    }
}
