//! Messages by API and version: what a broker does with them, and what a client does.
//!
//! Decoding walks a message by its [`crate::layout`] first, so that no count in it makes the
//! message crate reserve more than in proportion to the bytes that came. Produce requests and Fetch
//! responses have their own, copy-free ways in [`crate::produce`] and [`crate::fetch`]; they can be
//! coded here too. Bytes after a message are ignored, as Kafka does.

use crate::{
    api::{self, keys},
    error_code::ErrorCode,
    frame,
    header::RequestHeader,
    layout::{self, Damage, Direction},
    messages::{ApiKey, RequestKind, ResponseKind},
    read::{ReadError, Reader},
    wire::{Decodable, Encodable},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why a message cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An API that is not in the table.
    #[error("API key {key} is not known")]
    UnknownApi { key: i16 },
    /// A version that the API's table row does not decode. For ApiVersions: answer at version 0
    /// with UNSUPPORTED_VERSION.
    #[error("{name} version {version} is not supported")]
    UnsupportedVersion {
        key: i16,
        name: &'static str,
        version: i16,
    },
    /// The bytes are not such a message.
    #[error("{name} version {version} is damaged at {damage}")]
    Damaged {
        name: &'static str,
        version: i16,
        damage: Damage,
    },
    /// The bytes have its shape, but a value in it is not allowed (UTF-8, null).
    #[error("{name} version {version} has a bad value: {why}")]
    Value {
        name: &'static str,
        version: i16,
        why: String,
    },
}

/// Why a message cannot be encoded: a mistake of the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that the version does not have, or a value is too long.
    #[error("API key {key} version {version}: {why}")]
    Message { key: i16, version: i16, why: String },
    /// Beyond what the size prefix can say.
    #[error("API key {key} version {version}: a frame of {bytes} bytes")]
    TooLarge {
        key: i16,
        version: i16,
        bytes: usize,
    },
}

/// Decodes the body that [`crate::header::peek`] left.
pub fn decode(header: &RequestHeader, body: Bytes) -> Result<RequestKind, DecodeError> {
    decode_by(header, body, |key, body| {
        RequestKind::decode(key, body, header.api_version).map_err(|error| error.to_string())
    })
}

/// Decodes the body that [`crate::header::peek`] left, as the message of its API.
pub fn decode_body<Request: Decodable>(
    header: &RequestHeader,
    body: Bytes,
) -> Result<Request, DecodeError> {
    decode_by(header, body, |_, body| {
        Request::decode(body, header.api_version).map_err(|error| error.to_string())
    })
}

fn decode_by<T>(
    header: &RequestHeader,
    mut body: Bytes,
    decode: impl FnOnce(ApiKey, &mut Bytes) -> Result<T, String>,
) -> Result<T, DecodeError> {
    let (key, version) = (header.api_key, header.api_version);
    let (name, key) = checked(
        Direction::Request,
        key,
        version,
        &body,
        layout::REQUEST_ELEMENTS_MAX,
    )?;
    decode(key, &mut body).map_err(|why| DecodeError::Value { name, version, why })
}

/// Checks that a body may be decoded.
fn checked(
    direction: Direction,
    key: i16,
    version: i16,
    body: &Bytes,
    elements_max: usize,
) -> Result<(&'static str, ApiKey), DecodeError> {
    let (api, fields) = layout::fields(direction, key).ok_or(DecodeError::UnknownApi { key })?;
    let name = api.name;
    if !api.decodes(version) {
        return Err(DecodeError::UnsupportedVersion { key, name, version });
    }
    layout::walk(
        fields,
        version,
        api.is_flexible(version),
        body,
        elements_max,
    )
    .map_err(|damage| DecodeError::Damaged {
        name,
        version,
        damage,
    })?;
    Ok((
        name,
        ApiKey::try_from(key).map_err(|()| DecodeError::UnknownApi { key })?,
    ))
}

/// A response as a frame, its size in front.
pub fn encode_response(
    key: i16,
    version: i16,
    correlation_id: i32,
    response: &ResponseKind,
) -> Result<BytesMut, EncodeError> {
    encode_by(key, version, correlation_id, |frame| {
        response
            .encode(frame, version)
            .map_err(|error| error.to_string())
    })
}

/// A response as a frame, its size in front, from the message of its API.
pub fn encode_response_body(
    key: i16,
    version: i16,
    correlation_id: i32,
    response: &impl Encodable,
) -> Result<BytesMut, EncodeError> {
    encode_by(key, version, correlation_id, |frame| {
        response
            .encode(frame, version)
            .map_err(|error| error.to_string())
    })
}

fn encode_by(
    key: i16,
    version: i16,
    correlation_id: i32,
    encode: impl FnOnce(&mut BytesMut) -> Result<(), String>,
) -> Result<BytesMut, EncodeError> {
    let mut frame = BytesMut::new();
    start_response(&mut frame, key, version, correlation_id);
    encode(&mut frame).map_err(|why| EncodeError::Message { key, version, why })?;
    finish(frame, key, version)
}

/// Room for the size, and the response header.
pub(crate) fn start_response(frame: &mut BytesMut, key: i16, version: i16, correlation_id: i32) {
    frame.put_i32(0);
    frame.put_i32(correlation_id);
    if api::response_header_version(key, version) >= 1 {
        frame.put_u8(0);
    }
}

/// A request as a frame, its size in front.
pub fn encode_request(
    header: &RequestHeader,
    request: &RequestKind,
) -> Result<BytesMut, EncodeError> {
    let (key, version) = (header.api_key, header.api_version);
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(header.correlation_id);
    match &header.client_id {
        Some(id) => {
            let length = i16::try_from(id.len()).map_err(|_| EncodeError::Message {
                key,
                version,
                why: format!("client id of {} bytes", id.len()),
            })?;
            frame.put_i16(length);
            frame.put_slice(id.as_bytes());
        }
        None => frame.put_i16(-1),
    }
    if api::request_header_version(key, version) >= 2 {
        frame.put_u8(0);
    }
    request
        .encode(&mut frame, version)
        .map_err(|error| EncodeError::Message {
            key,
            version,
            why: error.to_string(),
        })?;
    finish(frame, key, version)
}

fn finish(mut frame: BytesMut, key: i16, version: i16) -> Result<BytesMut, EncodeError> {
    let bytes = frame.len() - frame::PREFIX_BYTES;
    let size = i32::try_from(bytes).map_err(|_| EncodeError::TooLarge {
        key,
        version,
        bytes,
    })?;
    frame[..frame::PREFIX_BYTES].copy_from_slice(&size.to_be_bytes());
    Ok(frame)
}

/// The correlation id of a response frame (without its size), for a client to find the request that
/// it answers. `None` when it has none.
pub fn response_correlation_id(frame: &[u8]) -> Option<i32> {
    frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// Decodes a response frame (without its size) to a request of that API and version. An ApiVersions
/// response with UNSUPPORTED_VERSION is at version 0 whatever was asked (KIP-511).
pub fn decode_response(
    key: i16,
    version: i16,
    mut frame: Bytes,
) -> Result<(i32, ResponseKind), DecodeError> {
    let name = api::api(key).ok_or(DecodeError::UnknownApi { key })?.name;
    let (correlation_id, at) = response_header(key, version, &frame).map_err(|why| {
        let damage = Damage {
            field: "response header",
            why,
        };
        DecodeError::Damaged {
            name,
            version,
            damage,
        }
    })?;
    frame.advance(at);
    let refused = frame.first_chunk().map(|code| i16::from_be_bytes(*code))
        == Some(ErrorCode::UnsupportedVersion.code());
    let version = if key == keys::API_VERSIONS && refused {
        0
    } else {
        version
    };
    let (name, key) = checked(
        Direction::Response,
        key,
        version,
        &frame,
        layout::RESPONSE_ELEMENTS_MAX,
    )?;
    let response =
        ResponseKind::decode(key, &mut frame, version).map_err(|error| DecodeError::Value {
            name,
            version,
            why: error.to_string(),
        })?;
    Ok((correlation_id, response))
}

fn response_header(key: i16, version: i16, frame: &Bytes) -> Result<(i32, usize), ReadError> {
    let mut reader = Reader::new(frame);
    let correlation_id = reader.i32()?;
    if api::response_header_version(key, version) >= 1 {
        reader.skip_tags()?;
    }
    Ok((correlation_id, reader.at()))
}
