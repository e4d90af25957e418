//! Both directions of messages as frames, and counts that lie.

use super::rng::Rng;
use bytes::{BufMut, Bytes, BytesMut};
use gnomon_protocol::{
    ErrorCode,
    api::{APIS, keys},
    header::{RequestHeader, peek},
    layout::{self, Damage, Direction},
    messages::{ApiVersionsResponse, MetadataRequest, RequestKind, ResponseKind},
    read::ReadError,
    request::{self, DecodeError, EncodeError},
    sample,
};

fn header(api_key: i16, api_version: i16) -> RequestHeader {
    RequestHeader {
        api_key,
        api_version,
        correlation_id: -5,
        client_id: None,
    }
}

#[test]
fn what_a_client_sends_a_broker_reads() {
    for api in APIS {
        for version in api.decode_min..=api.max {
            let mut rng = Rng::new(version as u64);
            let body = sample::body(Direction::Request, api.key, version, &mut |n| rng.below(n))
                .expect("decodes");
            let message = request::decode(&header(api.key, version), body).expect("valid");
            let frame = request::encode_request(&header(api.key, version), &message)
                .expect("valid")
                .freeze();
            assert_eq!(
                i32::from_be_bytes(*frame.first_chunk().expect("has a size")) as usize,
                frame.len() - 4
            );
            let mut rest = frame.slice(4..);
            let peeked = peek(&mut rest).expect("valid");
            assert_eq!(peeked, header(api.key, version));
            assert_eq!(
                request::decode(&peeked, rest),
                Ok(message),
                "{} v{version}",
                api.name
            );
        }
    }
}

/// The five bytes that end a broker which trusts them.
#[test]
fn a_count_that_the_bytes_cannot_hold() {
    let plain = request::decode(
        &header(keys::METADATA, 0),
        Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]),
    );
    let why = ReadError::Count {
        at: 0,
        count: i32::MAX as usize,
        left: 0,
    };
    let damage = Damage {
        field: "topics",
        why,
    };
    assert_eq!(
        plain,
        Err(DecodeError::Damaged {
            name: "Metadata",
            version: 0,
            damage
        })
    );
    let compact = request::decode(
        &header(keys::METADATA, 9),
        Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
    );
    assert!(
        matches!(
            compact,
            Err(DecodeError::Damaged {
                damage: Damage {
                    why: ReadError::Count { .. },
                    ..
                },
                ..
            })
        ),
        "{compact:?}"
    );
}

#[test]
fn more_elements_than_we_take() {
    let count = layout::REQUEST_ELEMENTS_MAX + 1;
    let mut body = BytesMut::new();
    body.put_i32(count as i32);
    body.put_bytes(0, count * 2);
    let error = request::decode(&header(keys::METADATA, 1), body.freeze()).expect_err("too many");
    let damage = Damage {
        field: "topics",
        why: ReadError::Elements {
            max: layout::REQUEST_ELEMENTS_MAX,
        },
    };
    assert_eq!(
        error,
        DecodeError::Damaged {
            name: "Metadata",
            version: 1,
            damage
        }
    );
}

/// KIP-511: whatever was asked, the refusal is at version 0, and names what the broker has.
#[test]
fn a_refused_api_versions_is_read_at_version_0() {
    let refusal =
        ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code());
    let frame = request::encode_response(
        keys::API_VERSIONS,
        0,
        3,
        &ResponseKind::ApiVersions(refusal.clone()),
    )
    .expect("valid");
    let decoded = request::decode_response(keys::API_VERSIONS, 4, frame.freeze().slice(4..));
    assert_eq!(decoded, Ok((3, ResponseKind::ApiVersions(refusal))));
}

#[test]
fn a_correlation_id_is_found_first() {
    assert_eq!(request::response_correlation_id(&[0, 0, 0, 9, 1]), Some(9));
    assert_eq!(request::response_correlation_id(&[0, 0, 0]), None);
}

#[test]
fn a_field_of_another_version_is_the_callers_mistake() {
    let request =
        RequestKind::Metadata(MetadataRequest::default().with_allow_auto_topic_creation(false));
    let error = request::encode_request(&header(keys::METADATA, 1), &request)
        .expect_err("version 4 has that");
    assert!(
        matches!(
            error,
            EncodeError::Message {
                key: keys::METADATA,
                version: 1,
                ..
            }
        ),
        "{error}"
    );
}
