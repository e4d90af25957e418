//! DescribeCluster, key 60, versions 0-2 (KIP-700, KIP-919).
//!
//! Behaviour
//! - Answers the brokers of the catalog image, with the address of the listener that was used.
//! - The endpoint type "controllers" is not served: UNSUPPORTED_ENDPOINT_TYPE.

use super::text;
use crate::context::RequestContext;
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
};

/// The only endpoint type served: brokers.
const ENDPOINT_BROKERS: i8 = 1;

/// Answers the cluster's id and brokers.
pub async fn handle(
    context: RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    if context.version >= 1 && request.endpoint_type != ENDPOINT_BROKERS {
        return DescribeClusterResponse::default()
            .with_error_code(ErrorCode::UnsupportedEndpointType.code())
            .with_error_message(Some(text("only the brokers' endpoints can be described")));
    }
    let image = context.image();
    let brokers = image.brokers.values().filter_map(|broker| {
        let endpoint = context.endpoint_of(broker)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(broker.id))
                .with_host(text(endpoint.host))
                .with_port(i32::from(endpoint.port)),
        )
    });
    DescribeClusterResponse::default()
        .with_endpoint_type(ENDPOINT_BROKERS)
        .with_cluster_id(text(image.cluster_id()))
        .with_controller_id(BrokerId(image.controller_id()))
        .with_brokers(brokers.collect())
}
