//! The table of APIs: which handler answers a request.
//!
//! Produce and Fetch have codecs of their own and answer through the connection's pipeline. Every
//! other API is decoded, handled and encoded here, one request of a connection at a time.

use crate::{
    api::{self, errors::Errors},
    config::limits::DECODE_HERE_BYTES_MAX,
    context::{Connection, RequestContext},
    net::answer::{Answer, Begun, Outgoing, close},
    services::Services,
};
use bytes::Bytes;
use gnomon_protocol::{
    api::{Api, api, keys},
    header::{RequestHeader, peek},
    request,
    wire::{Decodable, Encodable},
};
use std::sync::Arc;
use tracing::debug;

/// Bytes of the size in front of a frame.
const SIZE_BYTES: usize = 4;

/// Begins a request: its context, its header, and its body.
type Begin = fn(RequestContext, RequestHeader, Bytes) -> Answer;

/// Every API that is answered. Versions are in `gnomon_protocol::api`; a test holds the two tables
/// together.
const HANDLERS: &[(i16, Begin)] = &[
    (keys::PRODUCE, api::produce::begin),
    (keys::FETCH, api::fetch::begin),
    (keys::LIST_OFFSETS, |c, h, b| {
        answer(c, h, b, api::list_offsets::handle)
    }),
    (keys::METADATA, |c, h, b| {
        answer(c, h, b, api::metadata::handle)
    }),
    (keys::OFFSET_COMMIT, |c, h, b| {
        answer(c, h, b, api::offset_commit::handle)
    }),
    (keys::OFFSET_FETCH, |c, h, b| {
        answer(c, h, b, api::offset_fetch::handle)
    }),
    (keys::FIND_COORDINATOR, |c, h, b| {
        answer(c, h, b, api::find_coordinator::handle)
    }),
    (keys::JOIN_GROUP, |c, h, b| {
        answer(c, h, b, api::join_group::handle)
    }),
    (keys::HEARTBEAT, |c, h, b| {
        answer(c, h, b, api::heartbeat::handle)
    }),
    (keys::LEAVE_GROUP, |c, h, b| {
        answer(c, h, b, api::leave_group::handle)
    }),
    (keys::SYNC_GROUP, |c, h, b| {
        answer(c, h, b, api::sync_group::handle)
    }),
    (keys::DESCRIBE_GROUPS, |c, h, b| {
        answer(c, h, b, api::describe_groups::handle)
    }),
    (keys::LIST_GROUPS, |c, h, b| {
        answer(c, h, b, api::list_groups::handle)
    }),
    (keys::API_VERSIONS, |c, h, b| {
        answer(c, h, b, api::api_versions::handle)
    }),
    (keys::CREATE_TOPICS, |c, h, b| {
        answer(c, h, b, api::create_topics::handle)
    }),
    (keys::DELETE_TOPICS, |c, h, b| {
        answer(c, h, b, api::delete_topics::handle)
    }),
    (keys::INIT_PRODUCER_ID, |c, h, b| {
        answer(c, h, b, api::init_producer_id::handle)
    }),
    (keys::OFFSET_FOR_LEADER_EPOCH, |c, h, b| {
        answer(c, h, b, api::offset_for_leader_epoch::handle)
    }),
    (keys::DESCRIBE_CONFIGS, |c, h, b| {
        answer(c, h, b, api::describe_configs::handle)
    }),
    (keys::DESCRIBE_CLUSTER, |c, h, b| {
        answer(c, h, b, api::describe_cluster::handle)
    }),
];

/// An API's place in the table, the API and its handler.
fn handler(key: i16) -> Option<(usize, &'static Api, Begin)> {
    let place = HANDLERS.iter().position(|(handled, _)| *handled == key)?;
    Some((place, api(key)?, HANDLERS[place].1))
}

/// Begins a request: the frame without its size.
pub fn dispatch(services: &Arc<Services>, connection: &Arc<Connection>, mut frame: Bytes) -> Begun {
    let bytes = SIZE_BYTES + frame.len();
    let unknown = |why| Begun {
        answer: close(why),
        measure: None,
    };
    let header = match peek(&mut frame) {
        Ok(header) => header,
        Err(error) => return unknown(format!("unreadable request header: {error}")),
    };
    let key = header.api_key;
    let Some((place, api, begin)) = handler(key) else {
        return unknown(format!("API key {key} is not answered here"));
    };
    // Begun before the answer is: part of the work is done at once.
    let measure = Some(services.traffic.begin(place, bytes));
    let answer = answer_version(services, connection, (api, begin), header, frame);
    Begun { answer, measure }
}

/// Begins a request, if its version is answered.
fn answer_version(
    services: &Arc<Services>,
    connection: &Arc<Connection>,
    (api, begin): (&Api, Begin),
    header: RequestHeader,
    frame: Bytes,
) -> Answer {
    let (key, version) = (header.api_key, header.api_version);
    if !(api.min..=api.max).contains(&version) {
        return match key {
            keys::API_VERSIONS => {
                let response = api::api_versions::unsupported_version();
                let counted = services.traffic.api(key);
                response.each_code(&mut |code| counted.count_error(code));
                respond(&header, 0, &response)
            }
            _ => close(format!(
                "{} version {version} is not answered here",
                api.name
            )),
        };
    }
    let context = RequestContext {
        services: services.clone(),
        connection: connection.clone(),
        principal: connection.state.lock().principal.clone(),
        version,
        client_id: header.client_id.clone(),
    };
    debug!(peer = %connection.peer, principal = %context.principal, api = api.name, version, "request");
    begin(context, header, frame)
}

/// Decodes a request, hands it to its handler, and encodes the response. Later requests of the
/// connection wait.
fn answer<Request, Response, Handled>(
    context: RequestContext,
    header: RequestHeader,
    body: Bytes,
    handle: impl FnOnce(RequestContext, Request) -> Handled + Send + 'static,
) -> Answer
where
    Request: Decodable + Send + 'static,
    Response: Encodable + Errors + Send + 'static,
    Handled: Future<Output = Response> + Send + 'static,
{
    if body.len() > DECODE_HERE_BYTES_MAX {
        return Answer::Exclusive(Box::pin(answer_large(context, header, body, handle)));
    }
    match request::decode_body(&header, body) {
        Ok(request) => Answer::Exclusive(Box::pin(async move {
            let services = context.services.clone();
            let response = handle(context, request).await;
            count_errors(&services, header.api_key, &response);
            encode(&header, header.api_version, &response)
        })),
        Err(error) => close(error.to_string()),
    }
}

/// The same for a request that may have very many elements: the parts that cannot yield are done on
/// a thread for blocking work.
async fn answer_large<Request, Response, Handled>(
    context: RequestContext,
    header: RequestHeader,
    body: Bytes,
    handle: impl FnOnce(RequestContext, Request) -> Handled + Send + 'static,
) -> Outgoing
where
    Request: Decodable + Send + 'static,
    Response: Encodable + Errors + Send + 'static,
    Handled: Future<Output = Response> + Send,
{
    let stopping = || Outgoing::Close("the site stops".to_owned());
    let services = context.services.clone();
    let partitions = services.partitions.clone();
    let decoding = header.clone();
    let decoded = partitions.blocking(move || request::decode_body(&decoding, body));
    let request = match decoded.await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return Outgoing::Close(error.to_string()),
        Err(_) => return stopping(),
    };
    let response = handle(context, request).await;
    let encoded = partitions.blocking(move || {
        count_errors(&services, header.api_key, &response);
        encode(&header, header.api_version, &response)
    });
    encoded.await.unwrap_or_else(|_| stopping())
}

/// Counts the errors in a response, for the metrics.
fn count_errors(services: &Services, api_key: i16, response: &impl Errors) {
    let api = services.traffic.api(api_key);
    response.each_code(&mut |code| api.count_error(code));
}

/// A response that is ready, in version `version`.
pub fn respond(header: &RequestHeader, version: i16, response: &impl Encodable) -> Answer {
    Answer::Now(encode(header, version, response))
}

/// A response as it is sent, in version `version`.
pub fn encode(header: &RequestHeader, version: i16, response: &impl Encodable) -> Outgoing {
    let encoded =
        request::encode_response_body(header.api_key, version, header.correlation_id, response);
    match encoded {
        Ok(frame) => Outgoing::Bytes(frame.freeze()),
        Err(why) => Outgoing::Close(format!("no response can be encoded: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::api::APIS;

    #[test]
    fn every_api_of_the_version_table_has_a_handler_and_no_other() {
        let versions: Vec<i16> = APIS.iter().map(|api| api.key).collect();
        let handlers: Vec<i16> = HANDLERS.iter().map(|(key, _)| *key).collect();
        assert_eq!(versions, handlers);
    }
}
