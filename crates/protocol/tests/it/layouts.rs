//! The layout tables against the message crate, for every API, version and direction: what a table
//! makes, the crate decodes, and what the crate encodes from that, it decodes to the same message.

use super::rng::Rng;
use bytes::{Bytes, BytesMut};
use gnomon_protocol::{
    api::APIS,
    header::RequestHeader,
    layout::Direction,
    messages::{ApiKey, RequestKind, ResponseKind},
    request, sample,
};

const SAMPLES: u64 = 60;

fn header(key: i16, version: i16) -> RequestHeader {
    RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id: 7,
        client_id: Some("tests".into()),
    }
}

#[test]
fn requests_of_every_version() {
    for api in APIS {
        for version in api.decode_min..=api.max {
            for seed in 0..SAMPLES {
                let mut rng = Rng::new(seed);
                let body =
                    sample::body(Direction::Request, api.key, version, &mut |n| rng.below(n))
                        .expect("is in the table");
                let mut rest = body.clone();
                let theirs = RequestKind::decode(
                    ApiKey::try_from(api.key).expect("known"),
                    &mut rest,
                    version,
                )
                .unwrap_or_else(|error| {
                    panic!(
                        "{} v{version} seed {seed}: {error} in {body:02x?}",
                        api.name
                    )
                });
                assert!(
                    rest.is_empty(),
                    "{} v{version} seed {seed}: {} bytes left",
                    api.name,
                    rest.len()
                );
                let ours = request::decode(&header(api.key, version), body)
                    .expect("the guard lets it pass");
                assert_eq!(ours, theirs);

                let mut again = BytesMut::new();
                theirs
                    .encode(&mut again, version)
                    .unwrap_or_else(|error| panic!("{} v{version}: {error}", api.name));
                let again = request::decode(&header(api.key, version), again.freeze())
                    .expect("the guard lets it pass");
                assert_eq!(again, theirs);
            }
        }
    }
}

#[test]
fn responses_of_every_version() {
    for api in APIS {
        for version in api.decode_min..=api.max {
            for seed in 0..SAMPLES {
                let mut rng = Rng::new(seed);
                let body =
                    sample::body(Direction::Response, api.key, version, &mut |n| rng.below(n))
                        .expect("is in the table");
                let mut rest = body.clone();
                let theirs = ResponseKind::decode(
                    ApiKey::try_from(api.key).expect("known"),
                    &mut rest,
                    version,
                )
                .unwrap_or_else(|error| {
                    panic!(
                        "{} v{version} seed {seed}: {error} in {body:02x?}",
                        api.name
                    )
                });
                assert!(
                    rest.is_empty(),
                    "{} v{version} seed {seed}: {} bytes left",
                    api.name,
                    rest.len()
                );

                let frame = request::encode_response(api.key, version, 99, &theirs)
                    .unwrap_or_else(|error| panic!("{} v{version}: {error}", api.name));
                assert_eq!(
                    frame.len() - 4,
                    i32::from_be_bytes(*frame.first_chunk().expect("has a size")) as usize
                );
                if api.name == "ApiVersions" && frame[8..10] == [0, 35] {
                    continue;
                }
                let (correlation_id, ours) =
                    request::decode_response(api.key, version, Bytes::from(frame).slice(4..))
                        .expect("the guard lets it pass");
                assert_eq!(correlation_id, 99);
                assert_eq!(ours, theirs, "{} v{version}", api.name);
            }
        }
    }
}

#[test]
fn the_table_is_within_what_the_message_crate_has() {
    for api in APIS {
        let key = ApiKey::try_from(api.key).expect("known");
        let valid = key.valid_versions();
        assert!(
            api.min <= api.decode_min && api.decode_min == valid.min && api.max <= valid.max,
            "{}",
            api.name
        );
        assert_eq!(format!("{key:?}"), api.name);
        for version in api.decode_min..=api.max {
            assert_eq!(
                gnomon_protocol::api::request_header_version(api.key, version),
                key.request_header_version(version),
                "{}",
                api.name
            );
            assert_eq!(
                gnomon_protocol::api::response_header_version(api.key, version),
                key.response_header_version(version),
                "{}",
                api.name
            );
        }
    }
    assert!(
        APIS.windows(2).all(|two| two[0].key < two[1].key),
        "in order, for the search"
    );
}
