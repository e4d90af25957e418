//! ApiVersions, key 18, versions 0-4.
//!
//! Behaviour
//! - Answers the version table, the same for every client.
//! - A version that is too new is answered in version 0 with UNSUPPORTED_VERSION and our own range,
//!   unread (KIP-511).
//! - From version 3 the client's name and version must look like one, else INVALID_REQUEST.
//!
//! Version notes
//! - The response header is version 0 in every version (`protocol/src/api.rs` has that rule).
//! - No features are announced: no transaction.version and no group.version, so clients use their
//!   classic paths.

use crate::context::RequestContext;
use gnomon_protocol::{
    api::APIS,
    error_code::ErrorCode,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion,
    },
};

/// First version that carries the client's name and version.
const CLIENT_SOFTWARE_SINCE: i16 = 3;

/// Answers the version table.
pub async fn handle(context: RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = looks_like_a_name(&request.client_software_name)
        && looks_like_a_name(&request.client_software_version);
    if context.version >= CLIENT_SOFTWARE_SINCE && !named {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    ApiVersionsResponse::default().with_api_keys(
        APIS.iter()
            .map(|api| range(api.key, api.min, api.max))
            .collect(),
    )
}

/// The client asks in a version of the future: it learns which ones there are.
pub fn unsupported_version() -> ApiVersionsResponse {
    let own = APIS
        .iter()
        .filter(|api| api.key == ApiKey::ApiVersions as i16);
    ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(own.map(|api| range(api.key, api.min, api.max)).collect())
}

fn range(key: i16, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(key)
        .with_min_version(min)
        .with_max_version(max)
}

/// Letters and digits, with dots and dashes inside.
fn looks_like_a_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::looks_like_a_name;

    #[test]
    fn names_of_real_clients_pass() {
        for name in [
            "apache-kafka-java",
            "4.1.0",
            "kgo",
            "librdkafka",
            "v2.12.1-dirty",
            "a",
        ] {
            assert!(looks_like_a_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a b", "a/b"] {
            assert!(!looks_like_a_name(name), "{name}");
        }
    }
}
