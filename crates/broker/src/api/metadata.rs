//! Metadata, key 3, versions 0-13.
//!
//! Behaviour
//! - Version 0: no topics means all; later: null means all, none means none.
//! - A topic that is missing is created when the client allows it (versions 0-3 always do) and the
//!   broker does, and is in the same answer.
//! - A name that a link claims is never created here: UNKNOWN_TOPIC_OR_PARTITION, and the link
//!   looks for it at its source at once.
//! - One request creates a bounded number of topics, and tells UNKNOWN_TOPIC_OR_PARTITION of the
//!   rest: clients ask again.
//! - Brokers are answered with the address of the listener that was used (KIP-103).
//!
//! Version notes
//! - Leader epochs from version 7 (KIP-320), topic ids from version 10 (KIP-516), topics asked for
//!   by id from version 12.

use super::{Pace, distinct, text, topic_name};
use crate::{
    config::limits::{AUTO_CREATE_TOPICS_MAX, PARTITIONS_PER_TOPIC_MAX},
    context::RequestContext,
};
use gnomon_catalog::{
    CreateTopicError, CreateTopics, Event, Image, NewTopic, Origin, Reply, Topic,
};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::Uuid,
    messages::{
        BrokerId, MetadataRequest, MetadataResponse,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// First version in which a client may forbid creation.
const CREATION_FLAG_SINCE: i16 = 4;

/// First version in which no topics means none.
const NONE_MEANS_NONE_SINCE: i16 = 1;

/// Answers brokers and topics.
pub async fn handle(context: RequestContext, request: MetadataRequest) -> MetadataResponse {
    let everything = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version < NONE_MEANS_NONE_SINCE,
    };
    let may_create = context.services.config.auto_create_topics
        && (context.version < CREATION_FLAG_SINCE || request.allow_auto_topic_creation);
    let mut pace = Pace::default();
    let mut topics = Vec::new();
    if everything {
        for topic in context.image().topics.values() {
            pace.steps(1 + topic.partitions.len()).await;
            topics.push(known(topic));
        }
    } else {
        let asked = request.topics.unwrap_or_default().into_iter();
        let asked: Vec<(Option<String>, Uuid)> = distinct(
            asked.map(|topic| (topic.name.map(|name| name.0.to_string()), topic.topic_id)),
            &mut pace,
            Clone::clone,
        )
        .await;
        let refused = if may_create {
            create_missing(&context, &asked).await
        } else {
            BTreeMap::new()
        };
        let image = context.image();
        for (name, id) in asked {
            let topic = answer(&context, &image, name, id, &refused);
            pace.steps(1 + topic.partitions.len()).await;
            topics.push(topic);
        }
    }
    let image = context.image();
    let brokers = image.brokers.values().filter_map(|broker| {
        let endpoint = context.endpoint_of(broker)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.id))
                .with_host(text(endpoint.host))
                .with_port(i32::from(endpoint.port)),
        )
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(image.cluster_id())))
        .with_controller_id(BrokerId(image.controller_id()))
        .with_topics(topics)
}

/// Creates what is asked for by name and is not there; what could not be created is answered with
/// why.
async fn create_missing(
    context: &RequestContext,
    asked: &[(Option<String>, Uuid)],
) -> BTreeMap<String, ErrorCode> {
    let image = context.image();
    let missing: BTreeSet<&String> = asked
        .iter()
        .filter_map(|(name, _)| name.as_ref())
        .filter(|name| !image.names.contains_key(*name))
        .take(AUTO_CREATE_TOPICS_MAX)
        .collect();
    if missing.is_empty() {
        return BTreeMap::new();
    }
    let topic = |name: &&String| NewTopic {
        partitions: context.services.config.default_partitions,
        ..NewTopic::named((*name).clone(), context.services.random.id())
    };
    let event = CreateTopics {
        topics: missing.iter().map(topic).collect(),
        origin: Origin::AutoCreate,
        validate_only: false,
    };
    match context
        .services
        .metadata
        .submit(Event::CreateTopics(event))
        .await
    {
        Ok(Reply::CreateTopics(outcomes)) => {
            let refused = outcomes
                .into_iter()
                .filter_map(|outcome| Some((outcome.name, outcome.result.err()?)));
            refused
                .filter_map(|(name, error)| Some((name, refusal(&error)?)))
                .collect()
        }
        _ => missing
            .into_iter()
            .map(|name| (name.clone(), ErrorCode::LeaderNotAvailable))
            .collect(),
    }
}

/// What a client that only looked is told of a refused creation; `None` where the topic is there
/// after all.
fn refusal(error: &CreateTopicError) -> Option<ErrorCode> {
    match error {
        CreateTopicError::Name { .. } | CreateTopicError::Collision { .. } => {
            Some(ErrorCode::InvalidTopicException)
        }
        CreateTopicError::Exists { .. } | CreateTopicError::Duplicate { .. } => None,
        CreateTopicError::NotRegistered(_) => Some(ErrorCode::LeaderNotAvailable),
        CreateTopicError::NotOurs(_)
        | CreateTopicError::Internal { .. }
        | CreateTopicError::TooManyAtOnce { .. } => Some(ErrorCode::UnknownTopicOrPartition),
        CreateTopicError::Partitions { .. } => Some(ErrorCode::InvalidPartitions),
        CreateTopicError::ReplicationFactor { .. } => Some(ErrorCode::InvalidReplicationFactor),
        CreateTopicError::Assignment { .. } => Some(ErrorCode::InvalidReplicaAssignment),
        CreateTopicError::Config { .. } => Some(ErrorCode::InvalidConfig),
    }
}

fn answer(
    context: &RequestContext,
    image: &Image,
    name: Option<String>,
    id: Uuid,
    refused: &BTreeMap<String, ErrorCode>,
) -> MetadataResponseTopic {
    let unknown = |code: ErrorCode| MetadataResponseTopic::default().with_error_code(code.code());
    let Some(name) = name else {
        return image.topic(id).map_or_else(
            || unknown(ErrorCode::UnknownTopicId).with_topic_id(id),
            |topic| known(topic),
        );
    };
    if let Some(topic) = image.topic_by_name(&name) {
        return known(topic);
    }
    context.services.links.wake_discovery(&name);
    let code = refused
        .get(&name)
        .copied()
        .unwrap_or(ErrorCode::UnknownTopicOrPartition);
    unknown(code).with_name(Some(topic_name(&name)))
}

fn known(topic: &Topic) -> MetadataResponseTopic {
    debug_assert!(topic.partitions.len() <= PARTITIONS_PER_TOPIC_MAX as usize);
    let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect::<Vec<_>>();
    let partitions = topic.partitions.iter().zip(0..).map(|(partition, index)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(partition.leader))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(ids(&partition.replicas))
            .with_isr_nodes(ids(&partition.isr))
    });
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
}
