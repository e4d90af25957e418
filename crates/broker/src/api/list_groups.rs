//! ListGroups, key 16, versions 0-5.
//!
//! Behaviour
//! - Every group of this broker, filtered by state (KIP-518) and type (KIP-848). All groups here
//!   are of the classic type.

use super::{Pace, text};
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{Event, GroupState, List, Listed, Reply};
use gnomon_protocol::messages::{
    GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup,
};
use std::collections::BTreeSet;

/// The only type of group that exists here.
const TYPE_CLASSIC: &str = "classic";

pub async fn handle(context: RequestContext, request: ListGroupsRequest) -> ListGroupsResponse {
    let types = &request.types_filter;
    if !types.is_empty()
        && !types
            .iter()
            .any(|name| name.eq_ignore_ascii_case(TYPE_CLASSIC))
    {
        return ListGroupsResponse::default();
    }
    let mut pace = Pace::default();
    let mut states = BTreeSet::new();
    for name in &request.states_filter {
        pace.step().await;
        states.extend(GroupState::from_name(name));
    }
    let states = (!request.states_filter.is_empty()).then_some(states);
    let mut groups = Vec::new();
    for coordinator in context.services.groups.all() {
        let asked = coordinator
            .submit(Event::List(List {
                states: states.clone(),
            }))
            .await;
        match asked.and_then(Reply::into_listed) {
            Ok(listed) => {
                for listed in listed {
                    pace.step().await;
                    groups.push(group(listed));
                }
            }
            Err(error) => {
                return ListGroupsResponse::default().with_error_code(error.code().code());
            }
        }
    }
    ListGroupsResponse::default().with_groups(groups)
}

fn group(listed: Listed) -> ListedGroup {
    ListedGroup::default()
        .with_group_id(GroupId(text(&*listed.group)))
        .with_protocol_type(text(&*listed.protocol_type))
        .with_group_state(text(listed.state.name()))
        .with_group_type(text(TYPE_CLASSIC))
}
