//! CreateTopics, key 19, versions 2-7.
//!
//! Behaviour
//! - Each topic is answered for itself; those that can be made are made, and are durable when
//!   answered.
//! - A name that a link claims or another site owns is POLICY_VIOLATION, with a message that says
//!   whose it is and what to do.
//! - More topics than one request may make are all POLICY_VIOLATION.
//! - -1 partitions and replication factor are the defaults (KIP-464).
//!
//! Version notes
//! - Version 5 answers the settings in force (KIP-525); version 7 the topic id (KIP-516).

use super::{Pace, describe_configs::in_force, text, topic_name};
use crate::{config::limits::CREATE_TOPICS_MAX, context::RequestContext};
use gnomon_catalog::{
    CONFIG_KEYS, CreateTopicError, CreateTopics, CreatedTopic, Event, NewTopic, Origin, Reply,
};
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
};

pub async fn handle(context: RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let failed = |name, code: ErrorCode, why| {
        CreatableTopicResult::default()
            .with_name(name)
            .with_error_code(code.code())
            .with_error_message(why)
    };
    if names.len() > CREATE_TOPICS_MAX {
        let why = text(format!(
            "{} topics in one request; make at most {CREATE_TOPICS_MAX} at once",
            names.len()
        ));
        let refused = |name| failed(name, ErrorCode::PolicyViolation, Some(why.clone()));
        return CreateTopicsResponse::default()
            .with_topics(names.into_iter().map(refused).collect());
    }
    let (mut pace, mut topics) = (Pace::default(), Vec::with_capacity(names.len()));
    for topic in request.topics {
        pace.steps(1 + topic.configs.len() + topic.assignments.len())
            .await;
        topics.push(new_topic(&context, topic));
    }
    let event = CreateTopics {
        topics,
        origin: origin(),
        validate_only: request.validate_only,
    };
    let results = match context
        .services
        .metadata
        .submit(Event::CreateTopics(event))
        .await
    {
        Ok(Reply::CreateTopics(outcomes)) => {
            let mut results = Vec::with_capacity(outcomes.len());
            for outcome in outcomes {
                results.push(match outcome.result {
                    Ok(created) => {
                        pace.steps(CONFIG_KEYS.len()).await;
                        made(&context, &outcome.name, created)
                    }
                    Err(error) => refused(&outcome.name, &error),
                });
            }
            results
        }
        unanswered => {
            let (code, why) = super::unrecorded(unanswered.err());
            let refused = |name| failed(name, code, why.clone());
            names.into_iter().map(refused).collect()
        }
    };
    CreateTopicsResponse::default().with_topics(results)
}

fn origin() -> Origin {
    // Planted fault for tests of ownership: nobody asks whose a name is.
    gnomon_failpoints::fail_point!("create_unowned", |_| Origin::Site);
    Origin::Client
}

fn new_topic(context: &RequestContext, topic: CreatableTopic) -> NewTopic {
    let partitions = if topic.num_partitions == -1 && topic.assignments.is_empty() {
        context.services.config.default_partitions
    } else {
        topic.num_partitions
    };
    NewTopic {
        name: topic.name.0.to_string(),
        id: context.services.random.id(),
        partitions,
        replication_factor: topic.replication_factor,
        configs: topic
            .configs
            .into_iter()
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.map(|value| value.to_string()),
                )
            })
            .collect(),
        assignments: topic
            .assignments
            .into_iter()
            .map(|assignment| {
                (
                    assignment.partition_index,
                    assignment.broker_ids.into_iter().map(|id| id.0).collect(),
                )
            })
            .collect(),
    }
}

fn made(context: &RequestContext, name: &str, created: CreatedTopic) -> CreatableTopicResult {
    let configs =
        in_force(&created.configs, context.services.partitions.defaults()).map(|config| {
            CreatableTopicConfigs::default()
                .with_name(text(config.name))
                .with_value(Some(text(config.value)))
                .with_config_source(config.source)
        });
    CreatableTopicResult::default()
        .with_name(topic_name(name))
        .with_topic_id(created.id)
        .with_num_partitions(created.partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(configs.collect()))
}

fn refused(name: &str, error: &CreateTopicError) -> CreatableTopicResult {
    let code = match error {
        CreateTopicError::Name { .. }
        | CreateTopicError::Collision { .. }
        | CreateTopicError::Internal { .. } => ErrorCode::InvalidTopicException,
        CreateTopicError::Exists { .. } => ErrorCode::TopicAlreadyExists,
        CreateTopicError::Duplicate { .. } => ErrorCode::InvalidRequest,
        CreateTopicError::NotOurs(_) | CreateTopicError::TooManyAtOnce { .. } => {
            ErrorCode::PolicyViolation
        }
        CreateTopicError::NotRegistered(_) => ErrorCode::NotController,
        CreateTopicError::Partitions { .. } => ErrorCode::InvalidPartitions,
        CreateTopicError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        CreateTopicError::Assignment { .. } => ErrorCode::InvalidReplicaAssignment,
        CreateTopicError::Config { .. } => ErrorCode::InvalidConfig,
    };
    CreatableTopicResult::default()
        .with_name(topic_name(name))
        .with_error_code(code.code())
        .with_error_message(Some(text(error.to_string())))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}
