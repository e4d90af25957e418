//! The table of calls this client makes: key, name and the versions it can speak of each.
//!
//! The upper ends are stable versions of Kafka 4.1; the lower ends reach back to what Kafka 2.1 and
//! Redpanda answer, as far as the message crate can write them. What is settled with a peer is the
//! highest version in both ranges.

use gnomon_protocol::messages::{RequestKind, ResponseKind};

/// One request type with its response type.
pub trait Call: Into<RequestKind> + Send {
    /// Kafka's API key.
    const KEY: i16;
    /// Kafka's API name.
    const NAME: &'static str;
    /// The lowest and highest version this client speaks.
    const VERSIONS: (i16, i16);
    /// The response.
    type Response: Send;

    /// The response out of the union; `None` when it is another API's.
    fn response(kind: ResponseKind) -> Option<Self::Response>;
}

macro_rules! calls {
    ($($name:ident, $request:ident, $response:ident, $key:literal, $min:literal, $max:literal;)*) => {
        $(impl Call for gnomon_protocol::messages::$request {
            const KEY: i16 = $key;
            const NAME: &'static str = stringify!($name);
            const VERSIONS: (i16, i16) = ($min, $max);
            type Response = gnomon_protocol::messages::$response;

            fn response(kind: ResponseKind) -> Option<Self::Response> {
                if let ResponseKind::$name(response) = kind { Some(response) } else { None }
            }
        })*
    };
}

calls! {
    Produce, ProduceRequest, ProduceResponse, 0, 3, 12; // 13 names topics by id, which a producer that has only a name would have to look up
    Fetch, FetchRequest, FetchResponse, 1, 4, 17; // 18 adds a field for followers only
    ListOffsets, ListOffsetsRequest, ListOffsetsResponse, 2, 1, 10;
    Metadata, MetadataRequest, MetadataResponse, 3, 1, 13;
    OffsetCommit, OffsetCommitRequest, OffsetCommitResponse, 8, 2, 9;
    OffsetFetch, OffsetFetchRequest, OffsetFetchResponse, 9, 2, 9;
    FindCoordinator, FindCoordinatorRequest, FindCoordinatorResponse, 10, 1, 6;
    DescribeGroups, DescribeGroupsRequest, DescribeGroupsResponse, 15, 0, 6;
    ListGroups, ListGroupsRequest, ListGroupsResponse, 16, 0, 5;
    ApiVersions, ApiVersionsRequest, ApiVersionsResponse, 18, 0, 3;
    CreateTopics, CreateTopicsRequest, CreateTopicsResponse, 19, 2, 7;
    DeleteTopics, DeleteTopicsRequest, DeleteTopicsResponse, 20, 1, 6;
    InitProducerId, InitProducerIdRequest, InitProducerIdResponse, 22, 0, 5;
    OffsetForLeaderEpoch, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, 23, 2, 4;
    DescribeConfigs, DescribeConfigsRequest, DescribeConfigsResponse, 32, 1, 4;
    DescribeCluster, DescribeClusterRequest, DescribeClusterResponse, 60, 0, 2;
}
