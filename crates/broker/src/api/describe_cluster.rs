//! DescribeCluster, key 60, versions 0-2 (KIP-700, KIP-919).
//!
//! Behaviour
//! - Answers the brokers of the catalog image, with the address of the listener that was used.
//! - Authorised operations on the cluster are told to clients that ask (KIP-430).
//! - The endpoint type "controllers" is not served: UNSUPPORTED_ENDPOINT_TYPE.

use super::{
    authorized_operations::{CLUSTER, if_asked},
    text,
};
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
        .with_cluster_authorized_operations(if_asked(
            request.include_cluster_authorized_operations,
            CLUSTER,
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        authorized_operations::NOT_ASKED,
        test_broker::{context, start},
    };

    #[tokio::test]
    async fn operations_are_told_to_clients_that_ask_for_them() {
        let broker = start().await;
        for (asked, operations) in [(false, NOT_ASKED), (true, CLUSTER)] {
            let request = DescribeClusterRequest::default()
                .with_endpoint_type(ENDPOINT_BROKERS)
                .with_include_cluster_authorized_operations(asked);
            let response = handle(context(&broker, 2), request).await;
            assert_eq!(response.cluster_authorized_operations, operations);
        }
        broker.stop().await;
    }
}
