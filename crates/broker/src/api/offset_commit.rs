//! OffsetCommit, key 8, versions 2-9.
//!
//! Behaviour
//! - Answered when the commit would survive the loss of power.
//! - A topic or partition that does not exist is UNKNOWN_TOPIC_OR_PARTITION for itself; the others
//!   are committed.
//! - Commits on shadows, and on own topics that a peer shadows, mark the group as local there: a
//!   link no longer moves its offsets.

use super::Pace;
use crate::{context::RequestContext, error_code::Refusal};
use gnomon_catalog::{Image, Topic};
use gnomon_groups::{Commit, CommitOffset, Event, GroupError, Name, Reply};
use gnomon_links::{LinkState, peer::PeerLink, selects};
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestTopic,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};
use std::{collections::HashMap, sync::Arc};

/// Commits a group's positions.
pub async fn handle(context: RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let group = Name::from(&*request.group_id.0);
    // One image for all of it: what is committed and what is answered.
    let image = context.image();
    let mut pace = Pace::default();
    let offsets = known_offsets(&image, &request.topics, &mut pace).await;
    let commit = Commit {
        group: group.clone(),
        member_id: Name::from(&*request.member_id),
        instance_id: request.group_instance_id.as_deref().map(Name::from),
        generation: request.generation_id_or_member_epoch,
        retention_ms: (request.retention_time_ms >= 0).then_some(request.retention_time_ms),
        offsets,
    };
    let committed = context
        .services
        .groups
        .submit(&group, Event::Commit(commit))
        .await
        .and_then(Reply::into_committed);
    let outcome: Result<HashMap<(Name, i32), i16>, GroupError> = committed.map(|partitions| {
        let code = |result: Result<(), GroupError>| {
            result.map_or_else(|error| error.code().code(), |()| 0)
        };
        partitions
            .into_iter()
            .map(|partition| {
                (
                    (partition.topic, partition.partition),
                    code(partition.result),
                )
            })
            .collect()
    });
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let name = Name::from(&*topic.name.0);
        pace.steps(1 + topic.partitions.len()).await;
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let code = match &outcome {
                _ if known(&image, &name, index).is_none() => {
                    ErrorCode::UnknownTopicOrPartition.code()
                }
                Ok(codes) => codes
                    .get(&(name.clone(), index))
                    .copied()
                    .unwrap_or(ErrorCode::UnknownTopicOrPartition.code()),
                Err(error) => error.code().code(),
            };
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        });
        topics.push(
            OffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name),
        );
    }
    OffsetCommitResponse::default().with_topics(topics)
}

/// The topic, if it has this partition.
fn known<'a>(image: &'a Image, topic: &str, partition: i32) -> Option<&'a Arc<Topic>> {
    image
        .topic_by_name(topic)
        .filter(|topic| topic.partition(partition).is_some())
}

/// The offsets on partitions that exist.
async fn known_offsets(
    image: &Image,
    topics: &[OffsetCommitRequestTopic],
    pace: &mut Pace,
) -> Vec<CommitOffset> {
    let mut offsets = Vec::new();
    // Looked up once for a topic, however often it is named: that goes over all links.
    let mut paired: HashMap<Name, bool> = HashMap::new();
    for topic in topics {
        pace.step().await;
        let name = Name::from(&*topic.name.0);
        for partition in &topic.partitions {
            pace.step().await;
            let Some(known) = known(image, &name, partition.partition_index) else {
                continue;
            };
            let paired = *paired
                .entry(name.clone())
                .or_insert_with(|| is_paired(image, &name));
            let metadata = partition.committed_metadata.as_deref();
            offsets.push(CommitOffset {
                topic: name.clone(),
                topic_id: known.id,
                // Looked up when the machine takes the event: `Event::look_up`.
                is_current: false,
                partition: partition.partition_index,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: metadata.unwrap_or_default().into(),
                paired,
            });
        }
    }
    offsets
}

/// Whether two sites have this topic: a shadow here, or our own and shadowed by a peer. A group's
/// commit on it marks the group as local.
fn is_paired(image: &Image, name: &str) -> bool {
    let Some(topic) = image.topic_by_name(name) else {
        return false;
    };
    let shadows_it = |link: &PeerLink| {
        link.source_cluster_id.as_deref() == Some(image.cluster_id())
            && link.state != LinkState::FailedOver
            && selects(&link.topic_filters, name)
    };
    topic.is_shadow()
        || image
            .links
            .values()
            .filter_map(|link| link.source_site.as_ref())
            .any(|peer| peer.links.iter().any(shadows_it))
}
