//! A handler that goes through many elements lets the other tasks of its thread run.

use super::test_broker::{connection, start};
use crate::{config::limits::YIELD_EVERY, dispatch::dispatch, net::answer::Answer};
use bytes::Bytes;
use gnomon_protocol::{
    api::keys,
    header::RequestHeader,
    messages::{
        DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest,
        GroupId, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
        OffsetForLeaderEpochRequest, ProduceRequest, RequestKind, TopicName,
        describe_configs_request::DescribeConfigsResource,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    request::encode_request,
    wire::StrBytes,
};
use std::{future::poll_fn, task::Poll};

const MANY: i32 = 20_000;

fn name(number: i32) -> StrBytes {
    StrBytes::from_string(format!("n{number}"))
}

/// Requests of [`MANY`] elements, each with its key and version.
fn requests() -> Vec<(i16, i16, RequestKind)> {
    let topic = || TopicName(StrBytes::from_static_str("t"));
    let produced = |index| PartitionProduceData::default().with_index(index);
    let produced = TopicProduceData::default()
        .with_name(topic())
        .with_partition_data((0..MANY).map(produced).collect());
    let fetched = |index| FetchPartition::default().with_partition(index);
    let fetched = FetchTopic::default()
        .with_topic(topic())
        .with_partitions((0..MANY).map(fetched).collect());
    let listed = |index| ListOffsetsPartition::default().with_partition_index(index);
    let listed = ListOffsetsTopic::default()
        .with_name(topic())
        .with_partitions((0..MANY).map(listed).collect());
    let ended = |index| OffsetForLeaderPartition::default().with_partition(index);
    let ended = OffsetForLeaderTopic::default()
        .with_topic(topic())
        .with_partitions((0..MANY).map(ended).collect());
    let committed = |index| OffsetCommitRequestPartition::default().with_partition_index(index);
    let committed = OffsetCommitRequestTopic::default()
        .with_name(topic())
        .with_partitions((0..MANY).map(committed).collect());
    let named = |number| MetadataRequestTopic::default().with_name(Some(TopicName(name(number))));
    let resource = |number| {
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name(number))
    };
    let names = || (0..MANY).map(name);
    vec![
        (
            keys::PRODUCE,
            9,
            RequestKind::Produce(
                ProduceRequest::default()
                    .with_acks(1)
                    .with_topic_data(vec![produced]),
            ),
        ),
        (
            keys::FETCH,
            12,
            RequestKind::Fetch(FetchRequest::default().with_topics(vec![fetched])),
        ),
        (
            keys::LIST_OFFSETS,
            5,
            RequestKind::ListOffsets(ListOffsetsRequest::default().with_topics(vec![listed])),
        ),
        (
            keys::OFFSET_FOR_LEADER_EPOCH,
            4,
            RequestKind::OffsetForLeaderEpoch(
                OffsetForLeaderEpochRequest::default().with_topics(vec![ended]),
            ),
        ),
        (
            keys::OFFSET_COMMIT,
            8,
            RequestKind::OffsetCommit(OffsetCommitRequest::default().with_topics(vec![committed])),
        ),
        (
            keys::METADATA,
            9,
            RequestKind::Metadata(
                MetadataRequest::default()
                    .with_topics(Some((0..MANY).map(named).collect()))
                    .with_allow_auto_topic_creation(false),
            ),
        ),
        (
            keys::DESCRIBE_CONFIGS,
            4,
            RequestKind::DescribeConfigs(
                DescribeConfigsRequest::default().with_resources((0..MANY).map(resource).collect()),
            ),
        ),
        (
            keys::FIND_COORDINATOR,
            4,
            RequestKind::FindCoordinator(
                FindCoordinatorRequest::default().with_coordinator_keys(names().collect()),
            ),
        ),
        (
            keys::DESCRIBE_GROUPS,
            5,
            RequestKind::DescribeGroups(
                DescribeGroupsRequest::default().with_groups(names().map(GroupId).collect()),
            ),
        ),
        (
            keys::LIST_GROUPS,
            4,
            RequestKind::ListGroups(
                ListGroupsRequest::default().with_states_filter(names().collect()),
            ),
        ),
    ]
}

/// A request as it comes off a connection.
fn frame(key: i16, version: i16, request: &RequestKind) -> Bytes {
    let header = RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id: 1,
        client_id: None,
    };
    let encoded = encode_request(&header, request).expect("encoded");
    encoded.freeze().slice(4..)
}

#[tokio::test]
async fn requests_of_many_elements_let_others_run() {
    let (broker, connection) = (start().await, connection());
    for (key, version, request) in requests() {
        let frame = frame(key, version, &request);
        let Answer::Exclusive(mut answer) = dispatch(broker.services(), &connection, frame).answer
        else {
            panic!("API {key}: answered without a break")
        };
        let mut breaks = 0;
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => {
                breaks += 1;
                Poll::Pending
            }
        })
        .await;
        let least = MANY as usize / YIELD_EVERY / 2;
        assert!(
            breaks >= least,
            "API {key}: {breaks} breaks in {MANY} elements"
        );
    }
    broker.stop().await;
}
