//! LeaveGroup, key 13, versions 0-5.
//!
//! Behaviour
//! - Takes members out of their group; each is answered for itself from version 3 on, where one
//!   request may name several (KIP-345).

use super::text;
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{Event, Leave, LeaveMember, Left, Name, Reply};
use gnomon_protocol::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse,
};

const MANY_SINCE: i16 = 3;

/// Takes members out of their group.
pub async fn handle(context: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = Name::from(&*request.group_id.0);
    let members = if context.version >= MANY_SINCE {
        let member =
            |member: &gnomon_protocol::messages::leave_group_request::MemberIdentity| LeaveMember {
                member_id: Name::from(&*member.member_id),
                instance_id: member.group_instance_id.as_deref().map(Name::from),
            };
        request.members.iter().map(member).collect()
    } else {
        vec![LeaveMember {
            member_id: Name::from(&*request.member_id),
            instance_id: None,
        }]
    };
    match context
        .services
        .groups
        .submit(
            &group,
            Event::Leave(Leave {
                group: group.clone(),
                members,
            }),
        )
        .await
        .and_then(Reply::into_left)
    {
        Ok(left) if context.version >= MANY_SINCE => {
            LeaveGroupResponse::default().with_members(left.into_iter().map(response).collect())
        }
        Ok(left) => LeaveGroupResponse::default().with_error_code(left.first().map_or(0, code)),
        Err(error) => LeaveGroupResponse::default().with_error_code(error.code().code()),
    }
}

fn code(left: &Left) -> i16 {
    left.result
        .as_ref()
        .map_or_else(|error| error.code().code(), |()| 0)
}

fn response(left: Left) -> MemberResponse {
    MemberResponse::default()
        .with_error_code(code(&left))
        .with_member_id(text(&*left.member_id))
        .with_group_instance_id(left.instance_id.map(|id| text(&*id)))
}
