//! DeleteTopics, key 20, versions 1-6.
//!
//! Behaviour
//! - Gone from Metadata when answered; files and committed offsets go after it.
//! - A shadow whose source still has it is POLICY_VIOLATION, with a message that says what to do.
//!
//! Version notes
//! - Version 5 has error messages; version 6 names topics by name or by id (KIP-516).

use super::{Pace, text, topic_name};
use crate::context::RequestContext;
use gnomon_catalog::{DeleteTopicError, Event, Reply};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{TopicId, Uuid},
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_response::DeletableTopicResult,
    },
};
use std::collections::{BTreeMap, BTreeSet};

pub async fn handle(context: RequestContext, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| (Some(name.0.to_string()), Uuid::nil()));
    let by_either = request
        .topics
        .into_iter()
        .map(|topic| (topic.name.map(|name| name.0.to_string()), topic.topic_id));
    let asked: Vec<(Option<String>, Uuid)> = by_name.chain(by_either).collect();
    let image = context.image();
    let mut pace = Pace::default();
    let mut ids: Vec<Option<TopicId>> = Vec::with_capacity(asked.len());
    for (name, id) in &asked {
        pace.step().await;
        ids.push(match name {
            Some(name) => image.names.get(name).copied(),
            None => image.topic(*id).map(|topic| topic.id),
        });
    }
    // Each once: the machine's step grows with the topics that there are.
    let known: BTreeSet<TopicId> = ids.iter().flatten().copied().collect();
    let known = known.into_iter().collect();
    let outcomes: BTreeMap<TopicId, Result<String, DeleteTopicError>> = match context
        .services
        .metadata
        .submit(Event::DeleteTopics { ids: known })
        .await
    {
        Ok(Reply::DeleteTopics(outcomes)) => outcomes.into_iter().collect(),
        unanswered => {
            let (code, why) = super::unrecorded(unanswered.err());
            let failed = |(name, id): (Option<String>, Uuid)| {
                result(name, id)
                    .with_error_code(code.code())
                    .with_error_message(why.clone())
            };
            return DeleteTopicsResponse::default()
                .with_responses(asked.into_iter().map(failed).collect());
        }
    };
    let mut responses = Vec::with_capacity(asked.len());
    for ((name, asked_id), id) in asked.into_iter().zip(ids) {
        pace.step().await;
        let outcome = id.and_then(|id| outcomes.get(&id));
        responses.push(response(name, id.unwrap_or(asked_id), outcome));
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

/// The response for one topic; without an outcome there is none that has this name or id.
fn response(
    name: Option<String>,
    id: Uuid,
    outcome: Option<&Result<String, DeleteTopicError>>,
) -> DeletableTopicResult {
    match outcome {
        Some(Ok(deleted)) => result(Some(deleted.clone()), id),
        Some(Err(error)) => result(name, id)
            .with_error_code(code(error).code())
            .with_error_message(Some(text(error.to_string()))),
        None => {
            let code = if name.is_some() {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::UnknownTopicId
            };
            result(name, id).with_error_code(code.code())
        }
    }
}

fn result(name: Option<String>, id: Uuid) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name.map(|name| topic_name(&name)))
        .with_topic_id(id)
}

fn code(error: &DeleteTopicError) -> ErrorCode {
    match error {
        DeleteTopicError::Unknown { .. } => ErrorCode::UnknownTopicOrPartition,
        DeleteTopicError::Internal { .. } => ErrorCode::InvalidRequest,
        DeleteTopicError::Shadow { .. } => ErrorCode::PolicyViolation,
    }
}
