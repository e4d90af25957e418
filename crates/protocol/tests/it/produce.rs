//! The hand-written Produce decoder against the message crate, for every version that both have,
//! and the answer to those that only we read.

use super::rng::Rng;
use bytes::{BufMut, Bytes, BytesMut};
use gnomon_protocol::{
    api::keys,
    layout::Direction,
    messages,
    produce::{self, ProducePartition, ProduceRequest, ProduceTopic, decode_produce},
    request::DecodeError,
    sample,
    wire::Decodable,
};

/// The message crate's structure as ours.
fn as_ours(version: i16, theirs: messages::ProduceRequest) -> ProduceRequest {
    ProduceRequest {
        transactional_id: theirs.transactional_id.map(|id| id.0),
        acks: theirs.acks,
        timeout_ms: theirs.timeout_ms,
        topics: theirs
            .topic_data
            .into_iter()
            .map(|topic| ProduceTopic {
                name: (version < 13).then_some(topic.name.0),
                topic_id: (version >= 13).then_some(topic.topic_id),
                partitions: topic
                    .partition_data
                    .into_iter()
                    .map(|partition| ProducePartition {
                        index: partition.index,
                        records: partition.records,
                    })
                    .collect(),
            })
            .collect(),
    }
}

#[test]
fn as_the_message_crate_reads_it() {
    for version in 3..=13 {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let body = sample::body(Direction::Request, keys::PRODUCE, version, &mut |n| {
                rng.below(n)
            })
            .expect("decodes");
            let theirs =
                messages::ProduceRequest::decode(&mut body.clone(), version).expect("valid");
            assert_eq!(
                decode_produce(version, body).as_ref(),
                Ok(&as_ours(version, theirs)),
                "v{version} seed {seed}"
            );
        }
    }
}

/// Damaged bytes that one accepts the other accepts too and reads alike, unless the message crate
/// is too lax about varints and the sizes of tags.
#[test]
fn damaged_as_the_message_crate_reads_it() {
    for version in 3..=13 {
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let body = sample::body(Direction::Request, keys::PRODUCE, version, &mut |n| {
                rng.below(n)
            })
            .expect("decodes");
            let mut body = body.to_vec();
            rng.damage(&mut body);
            let body = Bytes::from(body);
            if let Ok(ours) = decode_produce(version, body.clone()) {
                let theirs = messages::ProduceRequest::decode(&mut body.clone(), version)
                    .expect("ours is the stricter");
                assert_eq!(ours, as_ours(version, theirs), "v{version} seed {seed}");
            }
        }
    }
}

#[test]
fn records_are_slices_of_the_buffer() {
    let mut rng = Rng::new(0);
    loop {
        let body = sample::body(Direction::Request, keys::PRODUCE, 9, &mut |n| rng.below(n))
            .expect("decodes");
        let range = body.as_ptr_range();
        let request = decode_produce(9, body.clone()).expect("valid");
        let records = request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .filter_map(|partition| partition.records.as_ref());
        if let Some(records) = records.filter(|records| !records.is_empty()).last() {
            assert!(range.contains(&records.as_ptr()));
            return;
        }
    }
}

#[test]
fn old_versions_are_read_and_refused_per_partition() {
    let mut body = BytesMut::new();
    body.put_i16(1);
    body.put_i32(1000);
    body.put_i32(1);
    body.put_i16(1);
    body.put_slice(b"t");
    body.put_i32(1);
    body.put_i32(5);
    body.put_i32(-1);
    let request =
        decode_produce(2, body.freeze()).expect("read like version 3 without a transactional id");
    assert_eq!(
        request.topics[0].partitions,
        [ProducePartition {
            index: 5,
            records: None
        }]
    );
    for (version, bytes) in [
        (0, 4 + 4 + 4 + 3 + 4 + 14),
        (1, 4 + 4 + 4 + 3 + 4 + 14 + 4),
        (2, 4 + 4 + 4 + 3 + 4 + 22 + 4),
    ] {
        let frame = produce::encode_unsupported(version, 42, &request);
        assert_eq!(frame.len(), bytes, "v{version}");
        assert_eq!(frame[..4], (bytes as i32 - 4).to_be_bytes());
        assert_eq!(frame[4..8], 42_i32.to_be_bytes());
        assert_eq!(
            frame[8..25],
            *b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\0\x23"
        );
    }
}

#[test]
fn counts_that_cannot_be_are_refused() {
    for version in [3, 9, 13] {
        let mut body = BytesMut::new();
        match version {
            3 => body.put_i16(-1),
            _ => body.put_u8(0),
        }
        body.put_i16(-1);
        body.put_i32(0);
        body.put_slice(if version == 3 {
            &[0x7f, 0xff, 0xff, 0xff]
        } else {
            &[0xff, 0xff, 0xff, 0xff, 0x0f]
        });
        let error =
            decode_produce(version, body.freeze()).expect_err("two billion topics in no bytes");
        assert!(
            matches!(error, DecodeError::Damaged { damage, .. } if damage.field == "topic_data"),
            "{error}"
        );
    }
    assert!(matches!(
        decode_produce(14, Bytes::new()),
        Err(DecodeError::UnsupportedVersion { version: 14, .. })
    ));
}
