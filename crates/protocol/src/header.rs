//! The request header: what must be known before anything else of a request is believed.
//!
//! Whatever could be read of a bad request's header is in the error, so that logs can say whose
//! request it was. A header with an API that we do not know, or a version that we do not decode,
//! cannot be answered, except ApiVersions (any version: KIP-511 asks for an answer at version 0)
//! and Produce 0 to 2 (advertised but refused, KAFKA-18659): those are returned, for the caller to
//! answer.

use crate::{
    api::{self, keys},
    read::{ReadError, Reader},
    wire::StrBytes,
};
use bytes::Bytes;

/// A request's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// One of [`crate::api::APIS`].
    pub api_key: i16,
    /// In the API's range, or see the top of the file.
    pub api_version: i16,
    /// Echoed in the response.
    pub correlation_id: i32,
    /// The client's own name.
    pub client_id: Option<StrBytes>,
}

/// Why a request cannot be dispatched. The connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than the part that all headers share.
    #[error("request of {bytes} bytes has no header")]
    Truncated { bytes: usize },
    /// An API that we do not answer.
    #[error("unknown API key {api_key} (version {api_version}, correlation id {correlation_id})")]
    UnknownApi {
        api_key: i16,
        api_version: i16,
        correlation_id: i32,
    },
    /// A version outside of what we decode.
    #[error(
        "{name} version {api_version} is not supported, {min} to {max} are (correlation id {correlation_id})"
    )]
    UnsupportedVersion {
        api_key: i16,
        name: &'static str,
        api_version: i16,
        correlation_id: i32,
        min: i16,
        max: i16,
    },
    /// The client id or the tagged fields are damaged.
    #[error(
        "header of API {api_key} version {api_version} (correlation id {correlation_id}): {why}"
    )]
    Malformed {
        api_key: i16,
        api_version: i16,
        correlation_id: i32,
        why: ReadError,
    },
}

/// Reads the header off `frame` (without its size prefix) and leaves the message. On an error
/// `frame` is as it was.
pub fn peek(frame: &mut Bytes) -> Result<RequestHeader, HeaderError> {
    let bytes = frame.len();
    let mut reader = Reader::new(frame);
    let (api_key, api_version, correlation_id) =
        fixed_part(&mut reader).map_err(|_: ReadError| HeaderError::Truncated { bytes })?;
    let Some(api) = api::api(api_key) else {
        return Err(HeaderError::UnknownApi {
            api_key,
            api_version,
            correlation_id,
        });
    };
    let answered = (api.min..=api.max).contains(&api_version);
    if !answered && api_key != keys::API_VERSIONS {
        let (min, max) = (api.decode_min, api.max);
        return Err(HeaderError::UnsupportedVersion {
            api_key,
            name: api.name,
            api_version,
            correlation_id,
            min,
            max,
        });
    }
    let variable = variable_part(&mut reader, api.is_flexible(api_version));
    let at = reader.at();
    let client_id = match variable {
        Ok(client_id) => client_id,
        // The header of a version to come may be another one: enough is known to answer.
        Err(_) if !answered => None,
        Err(why) => {
            return Err(HeaderError::Malformed {
                api_key,
                api_version,
                correlation_id,
                why,
            });
        }
    };
    let _header = frame.split_to(at);
    Ok(RequestHeader {
        api_key,
        api_version,
        correlation_id,
        client_id,
    })
}

fn fixed_part(reader: &mut Reader) -> Result<(i16, i16, i32), ReadError> {
    Ok((reader.i16()?, reader.i16()?, reader.i32()?))
}

/// The client id is a plain string even where everything else is compact.
fn variable_part(reader: &mut Reader, flexible: bool) -> Result<Option<StrBytes>, ReadError> {
    let client_id = reader.string(false)?;
    if flexible {
        reader.skip_tags()?;
    }
    Ok(client_id)
}
