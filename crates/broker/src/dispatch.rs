//! API key to handler: the whole table on one screen.
//!
//! Produce and Fetch have codecs of their own and answer through the connection's pipeline;
//! everything else is decoded, handled and encoded here, one request of a connection at a time.

use crate::{
    api,
    context::{Connection, Context},
    net::answer::{Answer, Outgoing},
    site::Site,
};
use bytes::Bytes;
use gnomon_protocol::{
    api::api,
    header::{RequestHeader, peek},
    messages::{ApiKey, RequestKind, ResponseKind},
    request,
};
use std::sync::Arc;
use tracing::debug;

/// Begins a request: the frame without its size.
pub fn dispatch(site: &Arc<Site>, connection: &Connection, mut frame: Bytes) -> Answer {
    let header = match peek(&mut frame) {
        Ok(header) => header,
        Err(error) => return close(format!("unreadable request header: {error}")),
    };
    let Some(row) = api(header.api_key) else {
        return close(format!("API key {} is not answered here", header.api_key));
    };
    let context = Context {
        version: header.api_version,
        client_id: header.client_id.clone(),
        peer: connection.peer,
        advertise: connection.advertise.clone(),
        asks: connection.asks.clone(),
    };
    debug!(peer = %connection.peer, api = row.name, version = header.api_version, "request");
    if !(row.min..=row.max).contains(&header.api_version) {
        return match header.api_key {
            key if key == ApiKey::ApiVersions as i16 => respond(
                &header,
                0,
                ResponseKind::ApiVersions(api::api_versions::unsupported_version()),
            ),
            _ => close(format!(
                "{} version {} is not answered here",
                row.name, header.api_version
            )),
        };
    }
    match header.api_key {
        key if key == ApiKey::Produce as i16 => api::produce::begin(site, context, &header, frame),
        key if key == ApiKey::Fetch as i16 => api::fetch::begin(site, context, &header, frame),
        _ => match request::decode(&header, frame) {
            Ok(request) => {
                let site = site.clone();
                Answer::Exclusive(Box::pin(async move {
                    let response = handle(&site, &context, request).await;
                    encode(&header, header.api_version, response)
                }))
            }
            Err(error) => close(format!(
                "{} version {}: {error}",
                row.name, header.api_version
            )),
        },
    }
}

async fn handle(
    site: &Arc<Site>,
    context: &Context,
    request: RequestKind,
) -> Result<ResponseKind, String> {
    Ok(match request {
        RequestKind::ApiVersions(request) => {
            ResponseKind::ApiVersions(api::api_versions::handle(context, &request))
        }
        RequestKind::Metadata(request) => {
            ResponseKind::Metadata(api::metadata::handle(site, context, request).await)
        }
        RequestKind::DescribeCluster(request) => {
            ResponseKind::DescribeCluster(api::describe_cluster::handle(site, context, &request))
        }
        RequestKind::DescribeConfigs(request) => {
            ResponseKind::DescribeConfigs(api::describe_configs::handle(site, request))
        }
        RequestKind::CreateTopics(request) => {
            ResponseKind::CreateTopics(api::create_topics::handle(site, context, request).await)
        }
        RequestKind::DeleteTopics(request) => {
            ResponseKind::DeleteTopics(api::delete_topics::handle(site, request).await)
        }
        RequestKind::ListOffsets(request) => {
            ResponseKind::ListOffsets(api::list_offsets::handle(site, context, request).await)
        }
        RequestKind::OffsetForLeaderEpoch(request) => ResponseKind::OffsetForLeaderEpoch(
            api::offset_for_leader_epoch::handle(site, context, request).await,
        ),
        RequestKind::InitProducerId(request) => {
            ResponseKind::InitProducerId(api::init_producer_id::handle(site, request).await)
        }
        RequestKind::FindCoordinator(request) => {
            ResponseKind::FindCoordinator(api::find_coordinator::handle(site, context, request))
        }
        RequestKind::JoinGroup(request) => {
            ResponseKind::JoinGroup(api::join_group::handle(site, context, request).await)
        }
        RequestKind::SyncGroup(request) => {
            ResponseKind::SyncGroup(api::sync_group::handle(site, context, request).await)
        }
        RequestKind::Heartbeat(request) => {
            ResponseKind::Heartbeat(api::heartbeat::handle(site, request).await)
        }
        RequestKind::LeaveGroup(request) => {
            ResponseKind::LeaveGroup(api::leave_group::handle(site, context, request).await)
        }
        RequestKind::OffsetCommit(request) => {
            ResponseKind::OffsetCommit(api::offset_commit::handle(site, request).await)
        }
        RequestKind::OffsetFetch(request) => {
            ResponseKind::OffsetFetch(api::offset_fetch::handle(site, context, request).await)
        }
        RequestKind::ListGroups(request) => {
            ResponseKind::ListGroups(api::list_groups::handle(site, request).await)
        }
        RequestKind::DescribeGroups(request) => {
            ResponseKind::DescribeGroups(api::describe_groups::handle(site, context, request).await)
        }
        other => {
            return Err(format!(
                "{other:?} is in the version table and has no handler"
            ));
        }
    })
}

/// A response that is ready, in the version it was asked in.
pub fn respond(header: &RequestHeader, version: i16, response: ResponseKind) -> Answer {
    Answer::Now(encode(header, version, Ok(response)))
}

fn encode(
    header: &RequestHeader,
    version: i16,
    response: Result<ResponseKind, String>,
) -> Outgoing {
    let encoded = response.and_then(|response| {
        request::encode_response(header.api_key, version, header.correlation_id, &response)
            .map_err(|error| error.to_string())
    });
    match encoded {
        Ok(frame) => Outgoing::Bytes(frame.freeze()),
        Err(why) => Outgoing::Close(format!(
            "no response for API key {} version {version}: {why}",
            header.api_key
        )),
    }
}

/// The client could read no answer.
pub fn close(why: String) -> Answer {
    Answer::Now(Outgoing::Close(why))
}
