//! Request headers: every kind of bad one, with what could be read of it.

use bytes::{BufMut, Bytes, BytesMut};
use gnomon_protocol::{
    api::{self, keys},
    header::{HeaderError, RequestHeader, peek},
    read::ReadError,
    request::{self, DecodeError},
};

fn frame(key: i16, version: i16, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_slice(rest);
    frame.freeze()
}

fn header(api_key: i16, api_version: i16, client_id: Option<&'static str>) -> RequestHeader {
    RequestHeader {
        api_key,
        api_version,
        correlation_id: 7,
        client_id: client_id.map(Into::into),
    }
}

#[test]
fn the_body_is_left() {
    let mut plain = frame(keys::METADATA, 1, b"\0\x02meBODY");
    assert_eq!(peek(&mut plain), Ok(header(keys::METADATA, 1, Some("me"))));
    assert_eq!(plain, "BODY");

    let mut tagged = frame(keys::METADATA, 9, b"\xff\xff\x01\x05\x03tagBODY");
    assert_eq!(peek(&mut tagged), Ok(header(keys::METADATA, 9, None)));
    assert_eq!(tagged, "BODY");
}

#[test]
fn bad_headers_say_what_they_can() {
    for length in 0..8 {
        let mut short = frame(3, 1, b"").slice(..length);
        assert_eq!(
            peek(&mut short),
            Err(HeaderError::Truncated { bytes: length })
        );
    }
    let unknown = peek(&mut frame(999, 1, b""));
    assert_eq!(
        unknown,
        Err(HeaderError::UnknownApi {
            api_key: 999,
            api_version: 1,
            correlation_id: 7
        })
    );
    let (name, min, max) = ("Metadata", 0, 13);
    for api_version in [-1, 14, i16::MAX] {
        let refused = HeaderError::UnsupportedVersion {
            api_key: 3,
            name,
            api_version,
            correlation_id: 7,
            min,
            max,
        };
        assert_eq!(peek(&mut frame(3, api_version, b"\xff\xff")), Err(refused));
    }
    for (rest, why) in [
        (&b"\0\x05me"[..], ReadError::Truncated { at: 12 }),
        (
            b"\xff\xf0",
            ReadError::Negative {
                at: 10,
                length: -16,
            },
        ),
        (b"\0\x01\xff", ReadError::Utf8 { at: 11 }),
        (
            b"\xff\xff\xff\xff\xff\xff\xff",
            ReadError::Varint { at: 10 },
        ),
        (b"\xff\xff\x01\x00\xff\x01", ReadError::Truncated { at: 14 }),
    ] {
        let mut bad = frame(3, 9, rest);
        let whole = bad.clone();
        let error = HeaderError::Malformed {
            api_key: 3,
            api_version: 9,
            correlation_id: 7,
            why,
        };
        assert_eq!(peek(&mut bad), Err(error), "{rest:02x?}");
        assert_eq!(bad, whole, "as it was");
    }
}

/// KIP-511: only the header is needed to answer.
#[test]
fn api_versions_of_any_version_is_let_through() {
    for (version, rest, client_id) in [
        (5, &b"\0\x02me\x00"[..], Some("me")),
        (i16::MAX, b"\xff", None),
        (-3, b"", None),
    ] {
        let mut request = frame(keys::API_VERSIONS, version, rest);
        let peeked = peek(&mut request).expect("let through");
        assert_eq!(peeked, header(keys::API_VERSIONS, version, client_id));
        assert_eq!(
            request::decode(&peeked, request),
            Err(DecodeError::UnsupportedVersion {
                key: keys::API_VERSIONS,
                name: "ApiVersions",
                version
            })
        );
        assert_eq!(api::response_header_version(keys::API_VERSIONS, version), 0);
    }
}

/// KAFKA-18659: advertised, so the caller must be able to answer.
#[test]
fn old_produce_is_let_through() {
    for version in 0..3 {
        assert_eq!(
            peek(&mut frame(keys::PRODUCE, version, b"\xff\xff")),
            Ok(header(keys::PRODUCE, version, None))
        );
    }
}
