//! DescribeGroups, key 15, versions 0-6.
//!
//! Behaviour
//! - Members, their metadata and their assignments.
//! - A group that does not exist is "Dead" without an error up to version 5, GROUP_ID_NOT_FOUND
//!   from version 6 (KIP-1043).
//! - Authorised operations are told to clients that ask (KIP-430), of groups without an error.

use super::{
    Pace,
    authorized_operations::{GROUP, if_asked},
    distinct, text,
};
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{Describe, Described, DescribedMember, Event, Name, Reply};
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
};

const NOT_FOUND_SINCE: i16 = 6;

/// Kafka's state of a group that does not exist.
const DEAD: &str = "Dead";

/// Describes groups, each on its own coordinator.
pub async fn handle(
    context: RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let operations = if_asked(request.include_authorized_operations, GROUP);
    let mut groups = Vec::new();
    let mut pace = Pace::default();
    for id in distinct(request.groups, &mut pace, Clone::clone).await {
        pace.step().await;
        let name = Name::from(&*id.0);
        let reply = context
            .services
            .groups
            .submit(
                &name,
                Event::Describe(Describe {
                    groups: vec![name.clone()],
                }),
            )
            .await;
        match reply.and_then(Reply::into_described) {
            Ok(described) => {
                for described in described {
                    pace.steps(described.members.len()).await;
                    groups.push(group(&context, described));
                }
            }
            Err(error) => groups.push(
                DescribedGroup::default()
                    .with_group_id(id)
                    .with_error_code(error.code().code()),
            ),
        }
    }
    for group in groups
        .iter_mut()
        .filter(|group: &&mut DescribedGroup| group.error_code == 0)
    {
        group.authorized_operations = operations;
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

fn group(context: &RequestContext, described: Described) -> DescribedGroup {
    let response = DescribedGroup::default().with_group_id(GroupId(text(&*described.group)));
    let Some(state) = described.state else {
        return match context.version >= NOT_FOUND_SINCE {
            true => response
                .with_group_state(text(DEAD))
                .with_error_code(ErrorCode::GroupIdNotFound.code())
                .with_error_message(Some(text(format!("there is no group {}", described.group)))),
            false => response.with_group_state(text(DEAD)),
        };
    };
    response
        .with_group_state(text(state.name()))
        .with_protocol_type(text(&*described.protocol_type))
        .with_protocol_data(text(&*described.protocol))
        .with_members(described.members.into_iter().map(member).collect())
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(text(&*member.member_id))
        .with_group_instance_id(member.instance_id.map(|id| text(&*id)))
        .with_client_id(text(&*member.client_id))
        .with_client_host(text(&*member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        authorized_operations::NOT_ASKED,
        test_broker::{context, start},
    };

    #[tokio::test]
    async fn operations_are_told_of_groups_without_an_error() {
        let broker = start().await;
        // Up to version 5 a group that does not exist is "Dead" without an error.
        for (version, asked, operations) in [
            (5, false, NOT_ASKED),
            (5, true, GROUP),
            (6, true, NOT_ASKED),
        ] {
            let request = DescribeGroupsRequest::default()
                .with_groups(vec![GroupId(text("g"))])
                .with_include_authorized_operations(asked);
            let response = handle(context(&broker, version), request).await;
            assert_eq!(response.groups[0].authorized_operations, operations);
        }
        broker.stop().await;
    }
}
