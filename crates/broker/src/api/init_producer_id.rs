//! InitProducerId, key 22, versions 0-5.
//!
//! Behaviour
//! - Without a transactional id: a new producer id, epoch 0. Ids carry the site's tag, so those of
//!   two sites never meet.
//! - With one: TRANSACTIONAL_ID_AUTHORIZATION_FAILED at once, as FindCoordinator says; no client
//!   retries it.
//! - A producer that brings its id (KIP-360) gets a new one: without transactions there is nothing
//!   to fence.

use crate::{context::RequestContext, error_code::Refusal};
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

/// Answers a producer id that nobody had.
pub async fn handle(
    context: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    match request.transactional_id {
        Some(id) if id.is_empty() => refused(ErrorCode::InvalidRequest),
        Some(_) => refused(ErrorCode::TransactionalIdAuthorizationFailed),
        None => match context
            .services
            .producer_ids
            .next(&context.services.metadata)
            .await
        {
            Ok(id) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(0),
            Err(no_reply) => refused(no_reply.code()),
        },
    }
}
