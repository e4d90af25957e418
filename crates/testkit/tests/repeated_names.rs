//! A name that comes often in a request is answered once: a few bytes must not stand for a large
//! answer again and again.

use gnomon_client::{
    Client,
    admin::NewTopic,
    groups::{CommittedOffset, GroupOffsets},
};
use gnomon_protocol::{
    ids::LeaderEpoch,
    messages::{
        DescribeConfigsRequest, DescribeGroupsRequest, GroupId, MetadataRequest,
        OffsetFetchRequest, TopicName,
        describe_configs_request::DescribeConfigsResource,
        metadata_request::MetadataRequestTopic,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
    wire::StrBytes,
};
use gnomon_testkit::{MemDisk, Site};
use std::collections::BTreeMap;

const TIMES: usize = 20;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name() -> TopicName {
    TopicName(text("orders"))
}

async fn prepare(client: &Client) {
    let topic = NewTopic {
        name: "orders".into(),
        partitions: 3,
        replication_factor: -1,
        configs: BTreeMap::new(),
    };
    client
        .create_topics(&[topic], false)
        .await
        .expect("created");
    let commit = |partition| {
        let commit = CommittedOffset {
            offset: 1,
            leader_epoch: LeaderEpoch::NONE,
            metadata: Some("long".repeat(1_000)),
        };
        (("orders".to_owned(), partition), commit)
    };
    client
        .commit_offsets("readers", &GroupOffsets::from([commit(0), commit(1)]))
        .await
        .expect("committed");
}

#[test]
fn what_is_named_often_is_answered_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let site = Site::start(&MemDisk::new()).expect("a site");
    let client = site.client();
    runtime.block_on(async {
        prepare(&client).await;

        let topics = vec![MetadataRequestTopic::default().with_name(Some(topic_name())); TIMES];
        let answer = client
            .ask_any(MetadataRequest::default().with_topics(Some(topics)))
            .await
            .expect("metadata");
        assert_eq!(
            (answer.topics.len(), answer.topics[0].partitions.len()),
            (1, 3)
        );

        let resource = |kind: i8, name: &str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
        };
        let mut resources = vec![resource(2, "orders"); TIMES];
        resources.extend(vec![resource(4, ""); TIMES]);
        let answer = client
            .ask_any(DescribeConfigsRequest::default().with_resources(resources))
            .await
            .expect("configs");
        assert_eq!(
            answer
                .results
                .iter()
                .map(|result| result.resource_type)
                .collect::<Vec<_>>(),
            [2, 4]
        );

        let groups = vec![GroupId(text("readers")); TIMES];
        let answer = client
            .ask_any(DescribeGroupsRequest::default().with_groups(groups))
            .await
            .expect("groups");
        assert_eq!(answer.groups.len(), 1);

        let indexes = [vec![1; TIMES], vec![0; TIMES], vec![7; TIMES]].concat();
        let topics = vec![
            OffsetFetchRequestTopics::default()
                .with_name(topic_name())
                .with_partition_indexes(indexes);
            TIMES
        ];
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text("readers")))
            .with_member_epoch(-1)
            .with_topics(Some(topics));
        let answer = client
            .ask_any(OffsetFetchRequest::default().with_groups(vec![group; TIMES]))
            .await
            .expect("offsets");
        assert_eq!((answer.groups.len(), answer.groups[0].topics.len()), (1, 1));
        let partitions = answer.groups[0].topics[0].partitions.iter();
        assert_eq!(
            partitions
                .map(|p| (p.partition_index, p.committed_offset))
                .collect::<Vec<_>>(),
            [(1, 1), (0, 1), (7, -1)]
        );
    });
}
