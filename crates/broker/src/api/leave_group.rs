//! LeaveGroup, key 13, versions 0-5.
//!
//! Behaviour
//! - Takes members out of their group; each is answered for itself from version 3 on, where one
//!   request may name several (KIP-345). Very many are several steps, and rebalances, of the group.

use super::{Pace, text};
use crate::{
    config::limits::GROUP_STEP_ELEMENTS_MAX, context::RequestContext, error_code::Refusal,
};
use gnomon_groups::{Event, GroupError, Leave, LeaveMember, Left, Name};
use gnomon_protocol::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse,
};

const MANY_SINCE: i16 = 3;

/// Takes members out of their group.
pub async fn handle(context: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = Name::from(&*request.group_id.0);
    if context.version < MANY_SINCE {
        let member = LeaveMember {
            member_id: Name::from(&*request.member_id),
            instance_id: None,
        };
        return match leave(&context, &group, vec![member]).await {
            Ok(left) => LeaveGroupResponse::default().with_error_code(left.first().map_or(0, code)),
            Err(error) => LeaveGroupResponse::default().with_error_code(error.code().code()),
        };
    }
    let (mut pace, mut responses) = (Pace::default(), Vec::new());
    for members in request.members.chunks(GROUP_STEP_ELEMENTS_MAX) {
        pace.steps(members.len()).await;
        let members = members.iter().map(|member| LeaveMember {
            member_id: Name::from(&*member.member_id),
            instance_id: member.group_instance_id.as_deref().map(Name::from),
        });
        match leave(&context, &group, members.collect()).await {
            Ok(left) => responses.extend(left.into_iter().map(response)),
            Err(error) => {
                return LeaveGroupResponse::default().with_error_code(error.code().code());
            }
        }
    }
    LeaveGroupResponse::default().with_members(responses)
}

async fn leave(
    context: &RequestContext,
    group: &Name,
    members: Vec<LeaveMember>,
) -> Result<Vec<Left>, GroupError> {
    let event = Event::Leave(Leave {
        group: group.clone(),
        members,
    });
    let reply = context.services.groups.submit(group, event).await?;
    reply.into_left()
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
