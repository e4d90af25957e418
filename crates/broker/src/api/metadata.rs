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
//! - A request that has any topic id is one by ids: its names are ignored, since clients send empty
//!   ones beside ids.
//! - Brokers are answered with the address of the listener that was used (KIP-103).
//!
//! Version notes
//! - Leader epochs from version 7 (KIP-320), topic ids from version 10 (KIP-516), topics asked for
//!   by id from version 12; before, an id or a missing name is INVALID_REQUEST.
//! - Authorised operations (KIP-430): of topics from version 8, of the cluster from 8 to 10.

use super::{
    Pace,
    authorized_operations::{CLUSTER, TOPIC, if_asked},
    distinct, text, topic_name,
};
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
        metadata_request::MetadataRequestTopic,
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

/// First version in which topics are asked for by id.
const BY_ID_SINCE: i16 = 12;

/// The topics that a request asks for, each once.
enum Wanted {
    Everything,
    Names(Vec<String>),
    Ids(Vec<Uuid>),
}

/// Answers brokers and topics.
pub async fn handle(context: RequestContext, request: MetadataRequest) -> MetadataResponse {
    let operations = if_asked(request.include_topic_authorized_operations, TOPIC);
    let cluster_operations = if_asked(request.include_cluster_authorized_operations, CLUSTER);
    let may_create = context.services.config.auto_create_topics
        && (context.version < CREATION_FLAG_SINCE || request.allow_auto_topic_creation);
    let mut pace = Pace::default();
    let mut topics = match wanted(context.version, request.topics, &mut pace).await {
        Ok(wanted) => find(&context, wanted, may_create, &mut pace).await,
        Err(refused) => refused,
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = operations;
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
        .with_cluster_authorized_operations(cluster_operations)
        .with_topics(topics)
}

/// Reads which topics are asked for. The error is the refusal of every topic: before ids could be
/// asked for, Kafka refuses a request with an id or without a name as a whole.
async fn wanted(
    version: i16,
    topics: Option<Vec<MetadataRequestTopic>>,
    pace: &mut Pace,
) -> Result<Wanted, Vec<MetadataResponseTopic>> {
    let topics = match topics {
        None => return Ok(Wanted::Everything),
        Some(topics) if topics.is_empty() && version < NONE_MEANS_NONE_SINCE => {
            return Ok(Wanted::Everything);
        }
        Some(topics) => topics,
    };
    let topics = distinct(topics, pace, |topic| (topic.name.clone(), topic.topic_id)).await;
    if version < BY_ID_SINCE {
        let by_name =
            |topic: &MetadataRequestTopic| topic.name.is_some() && topic.topic_id.is_nil();
        if !topics.iter().all(by_name) {
            let refused = topics.into_iter().map(|topic| {
                MetadataResponseTopic::default()
                    .with_error_code(ErrorCode::InvalidRequest.code())
                    .with_name(Some(topic.name.unwrap_or_default()))
                    .with_topic_id(topic.topic_id)
            });
            return Err(refused.collect());
        }
    }
    let ids = topics.iter().map(|topic| topic.topic_id);
    let ids: BTreeSet<Uuid> = ids.filter(|id| !id.is_nil()).collect();
    if !ids.is_empty() {
        return Ok(Wanted::Ids(ids.into_iter().collect()));
    }
    let names = topics
        .into_iter()
        .map(|topic| topic.name.unwrap_or_default());
    Ok(Wanted::Names(
        names.map(|name| name.0.to_string()).collect(),
    ))
}

async fn find(
    context: &RequestContext,
    wanted: Wanted,
    may_create: bool,
    pace: &mut Pace,
) -> Vec<MetadataResponseTopic> {
    let mut topics = Vec::new();
    match wanted {
        Wanted::Everything => {
            for topic in context.image().topics.values() {
                pace.steps(1 + topic.partitions.len()).await;
                topics.push(known(topic));
            }
        }
        Wanted::Ids(ids) => {
            let image = context.image();
            for id in ids {
                let topic = image.topic(id).map_or_else(
                    || {
                        // Kafka answers no name: clients know it from a topic that was found.
                        let unknown = refused(ErrorCode::UnknownTopicId).with_topic_id(id);
                        unknown.with_name(None)
                    },
                    |topic| known(topic),
                );
                pace.steps(1 + topic.partitions.len()).await;
                topics.push(topic);
            }
        }
        Wanted::Names(names) => {
            let not_created = match may_create {
                true => create_missing(context, &names).await,
                false => BTreeMap::new(),
            };
            let image = context.image();
            for name in names {
                let topic = by_name(context, &image, &name, &not_created);
                pace.steps(1 + topic.partitions.len()).await;
                topics.push(topic);
            }
        }
    }
    topics
}

/// Creates the topics that do not exist. Returns the ones that could not be created, with the
/// error for the client.
async fn create_missing(context: &RequestContext, names: &[String]) -> BTreeMap<String, ErrorCode> {
    let image = context.image();
    let missing: BTreeSet<&String> = names
        .iter()
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

/// The error for a client whose metadata request could not create the topic; `None` if the topic
/// exists after all.
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

fn by_name(
    context: &RequestContext,
    image: &Image,
    name: &str,
    not_created: &BTreeMap<String, ErrorCode>,
) -> MetadataResponseTopic {
    if let Some(topic) = image.topic_by_name(name) {
        return known(topic);
    }
    context.services.links.wake_discovery(name);
    let code = not_created.get(name).copied();
    refused(code.unwrap_or(ErrorCode::UnknownTopicOrPartition)).with_name(Some(topic_name(name)))
}

fn refused(code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code.code())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{
        authorized_operations::NOT_ASKED,
        test_broker::{context, create_topic, start},
    };

    fn asked(name: Option<&str>, topic_id: Uuid) -> MetadataRequestTopic {
        MetadataRequestTopic::default()
            .with_name(name.map(topic_name))
            .with_topic_id(topic_id)
    }

    fn request(topics: Vec<MetadataRequestTopic>) -> MetadataRequest {
        MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(false)
    }

    #[tokio::test]
    async fn a_request_with_any_id_is_one_by_ids_and_names_do_not_count() {
        let broker = start().await;
        create_topic(&broker, "t").await;
        let context = context(&broker, 13);
        let id = context.image().topic_by_name("t").expect("created").id;
        let unknown = Uuid::from_u128(7);
        let wanted = vec![
            asked(Some(""), id),
            asked(None, unknown),
            asked(Some("ignored"), Uuid::nil()),
        ];
        let mut topics = handle(context, request(wanted)).await.topics;
        topics.sort_by_key(|topic| topic.error_code);
        let [found, missing] = &topics[..] else {
            panic!("two ids were asked for: {topics:?}");
        };
        assert_eq!((found.error_code, found.topic_id), (0, id));
        assert_eq!(found.name, Some(topic_name("t")));
        let code = ErrorCode::UnknownTopicId.code();
        assert_eq!((missing.error_code, missing.topic_id), (code, unknown));
        assert_eq!(missing.name, None);
        broker.stop().await;
    }

    #[tokio::test]
    async fn ids_are_refused_before_the_version_that_has_them() {
        let broker = start().await;
        create_topic(&broker, "t").await;
        let context = context(&broker, 11);
        let id = context.image().topic_by_name("t").expect("created").id;
        for topic in [asked(Some("t"), id), asked(None, Uuid::nil())] {
            let response = handle(context.clone(), request(vec![topic])).await;
            let code = response.topics[0].error_code;
            assert_eq!(code, ErrorCode::InvalidRequest.code());
            assert!(response.topics[0].name.is_some(), "null cannot be written");
        }
        broker.stop().await;
    }

    #[tokio::test]
    async fn operations_are_told_to_clients_that_ask_for_them() {
        let broker = start().await;
        create_topic(&broker, "t").await;
        let request = || request(vec![asked(Some("t"), Uuid::nil())]);
        let silent = handle(context(&broker, 10), request()).await;
        assert_eq!(silent.topics[0].topic_authorized_operations, NOT_ASKED);
        assert_eq!(silent.cluster_authorized_operations, NOT_ASKED);
        let request = request()
            .with_include_topic_authorized_operations(true)
            .with_include_cluster_authorized_operations(true);
        let told = handle(context(&broker, 10), request).await;
        // READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
        assert_eq!(told.topics[0].topic_authorized_operations, 0b1101_1111_1000);
        assert_eq!(told.cluster_authorized_operations, 0b1_1111_1010_0000);
        broker.stop().await;
    }
}
