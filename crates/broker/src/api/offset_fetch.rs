//! OffsetFetch, key 9, versions 1-9.
//!
//! Behaviour
//! - What was committed on an earlier topic of the name counts as nothing.
//! - Nothing committed is offset -1, epoch -1 and empty metadata, without an error.
//! - From version 2 no topics means all.
//!
//! Version notes
//! - Version 8 asks for many groups at once (KIP-709); errors then stand with their group.
//! - `require_stable` (version 7) changes nothing: without transactional commits every offset is
//!   stable.

use super::{distinct, text, topic_name};
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_groups::{Event, Fetch, FetchedPartition, FetchedTopic, GroupError, Name, Which};
use gnomon_protocol::messages::{
    GroupId, OffsetFetchRequest, OffsetFetchResponse,
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};

const MANY_SINCE: i16 = 8;
const ERROR_SINCE: i16 = 2;

/// Answers groups' committed positions.
pub async fn handle(context: RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version >= MANY_SINCE {
        let mut groups = Vec::new();
        for group in distinct(request.groups, |group| group.group_id.clone()) {
            let topics = group.topics.map(|topics| {
                each_once(
                    topics
                        .into_iter()
                        .map(|topic| (Name::from(&*topic.name.0), topic.partition_indexes)),
                )
            });
            groups.push(of_group(&context, group.group_id, topics).await);
        }
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let asked: Option<Vec<(Name, Vec<i32>)>> = request.topics.map(|topics| {
        each_once(
            topics
                .into_iter()
                .map(|topic| (Name::from(&*topic.name.0), topic.partition_indexes)),
        )
    });
    match fetch(&context, &request.group_id, asked.clone()).await {
        Ok(topics) => {
            OffsetFetchResponse::default().with_topics(topics.into_iter().map(old_topic).collect())
        }
        Err(error) if context.version >= ERROR_SINCE => {
            OffsetFetchResponse::default().with_error_code(error.code().code())
        }
        Err(error) => {
            let failed = |(name, partitions): (Name, Vec<i32>)| {
                let partition = |index| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(-1)
                        .with_metadata(Some(text("")))
                        .with_error_code(error.code().code())
                };
                OffsetFetchResponseTopic::default()
                    .with_name(topic_name(&name))
                    .with_partitions(partitions.into_iter().map(partition).collect())
            };
            OffsetFetchResponse::default()
                .with_topics(asked.unwrap_or_default().into_iter().map(failed).collect())
        }
    }
}

/// No partition twice: each brings its metadata along.
fn each_once(topics: impl Iterator<Item = (Name, Vec<i32>)>) -> Vec<(Name, Vec<i32>)> {
    distinct(topics, |(name, _)| name.clone())
        .into_iter()
        .map(|(name, indexes)| (name, distinct(indexes, |index| *index)))
        .collect()
}

async fn of_group(
    context: &RequestContext,
    group: GroupId,
    topics: Option<Vec<(Name, Vec<i32>)>>,
) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default();
    match fetch(context, &group, topics).await {
        Ok(topics) => response
            .with_group_id(group)
            .with_topics(topics.into_iter().map(topic).collect()),
        Err(error) => response
            .with_group_id(group)
            .with_error_code(error.code().code()),
    }
}

async fn fetch(
    context: &RequestContext,
    group: &GroupId,
    topics: Option<Vec<(Name, Vec<i32>)>>,
) -> Result<Vec<FetchedTopic>, GroupError> {
    let group = Name::from(&*group.0);
    let all = topics.is_none();
    let which = topics.map_or(Which::All, Which::Partitions);
    let reply = context
        .services
        .groups
        .submit(
            &group,
            Event::Fetch(Fetch {
                group: group.clone(),
                which,
            }),
        )
        .await?;
    let mut topics = reply.into_fetched()?.topics;
    // A planted bug.
    gnomon_failpoints::fail_point!("show_offsets_of_deleted_topics", |_| Ok(std::mem::take(
        &mut topics
    )));
    // Looked at after the machine has answered: what it knows of was committed on topics that this
    // image has, or that are gone.
    let image = context.image();
    for topic in &mut topics {
        let id = image.names.get(&*topic.topic).copied();
        for partition in &mut topic.partitions {
            partition.committed = partition
                .committed
                .take()
                .filter(|committed| committed.is_on(id));
        }
        if all {
            topic
                .partitions
                .retain(|partition| partition.committed.is_some());
        }
    }
    if all {
        topics.retain(|topic| !topic.partitions.is_empty());
    }
    Ok(topics)
}

/// Offset, leader epoch and metadata as the protocol has them.
fn position(partition: FetchedPartition) -> (i32, i64, i32, String) {
    match partition.committed {
        Some(committed) => (
            partition.partition,
            committed.offset,
            committed.leader_epoch,
            committed.metadata.to_string(),
        ),
        None => (partition.partition, -1, -1, String::new()),
    }
}

fn topic(topic: FetchedTopic) -> OffsetFetchResponseTopics {
    let partition = |partition| {
        let (index, offset, epoch, metadata) = position(partition);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(text(metadata)))
    };
    OffsetFetchResponseTopics::default()
        .with_name(topic_name(&topic.topic))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn old_topic(topic: FetchedTopic) -> OffsetFetchResponseTopic {
    let partition = |partition| {
        let (index, offset, epoch, metadata) = position(partition);
        OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(text(metadata)))
    };
    OffsetFetchResponseTopic::default()
        .with_name(topic_name(&topic.topic))
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}
