//! ApiVersions: what the peer offers, asked once per connection (KIP-35, KIP-511).
//!
//! A peer that does not know our version answers error 35 in the oldest encoding, whatever was
//! asked; then version 0 is asked, which everybody knows.

use crate::{Call, ClientError, Conn};
use bytes::{Buf, Bytes};
use gnomon_protocol::{
    messages::{ApiVersionsRequest, ApiVersionsResponse},
    wire::StrBytes,
};
use std::{collections::BTreeMap, time::Duration};

const UNSUPPORTED_VERSION: i16 = 35;

/// The versions a peer offers, by API key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    /// From pairs of key and (lowest, highest).
    pub fn new(offered: impl IntoIterator<Item = (i16, (i16, i16))>) -> Versions {
        Versions(offered.into_iter().collect())
    }

    /// Lowest and highest version of an API, if the peer offers it at all.
    pub fn offered(&self, key: i16) -> Option<(i16, i16)> {
        self.0.get(&key).copied()
    }

    /// The highest version that both sides speak.
    pub fn pick<C: Call>(&self, address: &str) -> Result<i16, ClientError> {
        let (ours_min, ours_max) = C::VERSIONS;
        let Some((theirs_min, theirs_max)) = self.offered(C::KEY) else {
            return Err(ClientError::NotOffered {
                address: address.to_owned(),
                api: C::NAME,
            });
        };
        let version = ours_max.min(theirs_max);
        if version < ours_min || version < theirs_min {
            return Err(ClientError::NoCommonVersion {
                address: address.to_owned(),
                api: C::NAME,
                theirs_min,
                theirs_max,
                ours_min,
                ours_max,
            });
        }
        Ok(version)
    }
}

/// Asks the peer what it offers.
pub(crate) async fn negotiate(conn: &Conn, deadline: Duration) -> Result<Versions, ClientError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("gnomon"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let (_, newest) = ApiVersionsRequest::VERSIONS;
    let body = conn
        .start_raw(request.clone(), newest, deadline)
        .await?
        .raw()
        .await?;
    let answer = if error_code(&body) == Some(UNSUPPORTED_VERSION) {
        let body = conn.start_raw(request, 0, deadline).await?.raw().await?;
        conn.decode::<ApiVersionsRequest>(0, body)?
    } else {
        conn.decode::<ApiVersionsRequest>(newest, body)?
    };
    versions(answer)
}

/// The error code stands right after the correlation id, in every version.
fn error_code(body: &Bytes) -> Option<i16> {
    body.get(4..6).map(|mut code| code.get_i16())
}

fn versions(answer: ApiVersionsResponse) -> Result<Versions, ClientError> {
    if answer.error_code != 0 {
        return Err(ClientError::refused(
            ApiVersionsRequest::NAME,
            "handshake",
            answer.error_code,
            None,
        ));
    }
    Ok(Versions::new(answer.api_keys.iter().map(|api| {
        (api.api_key, (api.min_version, api.max_version))
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::messages::{FetchRequest, MetadataRequest};

    #[test]
    fn the_highest_common_version_is_taken() {
        let redpanda = Versions::new([(1, (4, 13)), (3, (0, 12))]);
        assert_eq!(redpanda.pick::<FetchRequest>("x").unwrap(), 13);
        assert_eq!(redpanda.pick::<MetadataRequest>("x").unwrap(), 12);
        let newer = Versions::new([(1, (4, 40)), (3, (99, 100))]);
        assert_eq!(
            newer.pick::<FetchRequest>("x").unwrap(),
            FetchRequest::VERSIONS.1
        );
        assert!(matches!(
            newer.pick::<MetadataRequest>("x"),
            Err(ClientError::NoCommonVersion { theirs_min: 99, .. })
        ));
        assert!(matches!(
            Versions::default().pick::<FetchRequest>("x"),
            Err(ClientError::NotOffered { api: "Fetch", .. })
        ));
    }
}
