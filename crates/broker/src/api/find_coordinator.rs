//! FindCoordinator, key 10, versions 0-6.
//!
//! Behaviour
//! - A group's coordinator is the broker that leads its partition of `__consumer_offsets`.
//! - Transactions have no coordinator yet: TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which no client
//!   retries, with a message that says so.
//! - Share groups: INVALID_REQUEST.
//! - A key that is named twice is answered once.
//!
//! Version notes
//! - Version 4 asks for many keys at once (KIP-699).

use super::{Pace, distinct, text};
use crate::{config::Endpoint, context::RequestContext, coordinators::groups::OFFSETS_TOPIC};
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
    wire::StrBytes,
};

/// First version that asks for many keys.
const BATCHED_SINCE: i16 = 4;

const KEY_TYPE_GROUP: i8 = 0;
const KEY_TYPE_TRANSACTION: i8 = 1;

/// Answers who coordinates each key.
pub async fn handle(
    context: RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.version >= BATCHED_SINCE {
        let mut pace = Pace::default();
        let mut coordinators = Vec::new();
        for key in distinct(request.coordinator_keys, &mut pace, Clone::clone).await {
            pace.step().await;
            coordinators.push(coordinator(&context, request.key_type, key));
        }
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = coordinator(&context, request.key_type, request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn coordinator(context: &RequestContext, key_type: i8, key: StrBytes) -> Coordinator {
    let refused = |key, error: ErrorCode, why: &str| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.code())
            .with_error_message(Some(text(why)))
    };
    match key_type {
        KEY_TYPE_GROUP if key.is_empty() => refused(
            key,
            ErrorCode::InvalidGroupId,
            "a group id must not be empty",
        ),
        KEY_TYPE_GROUP => match group_coordinator(context, &key) {
            Some((broker, endpoint)) => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(broker))
                .with_host(text(endpoint.host))
                .with_port(i32::from(endpoint.port)),
            None => refused(
                key,
                ErrorCode::CoordinatorNotAvailable,
                "no broker leads the group's partition at the moment",
            ),
        },
        KEY_TYPE_TRANSACTION => refused(
            key,
            ErrorCode::TransactionalIdAuthorizationFailed,
            "transactions are not supported by this version of Gnomon",
        ),
        _ => refused(
            key,
            ErrorCode::InvalidRequest,
            "only groups have coordinators here",
        ),
    }
}

/// The broker that leads a group's partition of `__consumer_offsets`, and its address.
fn group_coordinator(context: &RequestContext, group: &str) -> Option<(i32, Endpoint)> {
    let image = context.image();
    let partition = context.services.groups.partition_of(group);
    let leader = image
        .topic_by_name(OFFSETS_TOPIC)?
        .partition(partition)?
        .leader;
    let endpoint = context.endpoint_of(image.brokers.get(&leader)?)?;
    Some((leader, endpoint))
}
