//! The bytes of `__consumer_offsets`: equal to Kafka's, readable in all versions, and damage is an
//! error that names the record.

use crate::words::name;
use bytes::Bytes;
use gnomon_groups::*;
use gnomon_machine::{DurableRecord, EncodedRecord, replay_law::Rng};
use gnomon_protocol::ids::{TopicId, Uuid};

fn round(record: &Record) -> EncodedRecord {
    let encoded = record.encode();
    assert_eq!(
        &Record::decode(encoded.key.as_deref(), encoded.value.as_deref()).unwrap(),
        record
    );
    encoded
}

fn committed(leader_epoch: i32, expires_at_ms: Option<i64>) -> Committed {
    Committed {
        offset: 5,
        leader_epoch,
        metadata: name("x"),
        committed_at_ms: 7,
        expires_at_ms,
        topic_id: None,
    }
}

/// The topic whose id is 16 times the byte 1.
const TOPIC: TopicId = Uuid::from_bytes([1; 16]);

fn offset(value: Option<Committed>) -> Record {
    Record::Offset {
        group: name("g"),
        topic: name("t"),
        partition: 2,
        value,
    }
}

#[test]
fn offsets_are_written_as_kafka_writes_them() {
    let encoded = round(&offset(Some(committed(3, None))));
    assert_eq!(
        encoded.key.as_deref().unwrap(),
        b"\0\x01\0\x01g\0\x01t\0\0\0\x02"
    );
    assert_eq!(
        encoded.value.as_deref().unwrap(),
        b"\0\x03\0\0\0\0\0\0\0\x05\0\0\0\x03\0\x01x\0\0\0\0\0\0\0\x07"
    );

    let encoded = round(&offset(Some(committed(-1, Some(9)))));
    assert_eq!(
        encoded.value.as_deref().unwrap(),
        b"\0\x01\0\0\0\0\0\0\0\x05\0\x01x\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09"
    );

    // Version 4 is compact, with a topic id as a tagged field.
    let encoded = round(&offset(Some(Committed {
        topic_id: Some(TOPIC),
        ..committed(3, None)
    })));
    let flexible = [
        b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x03\x02x\0\0\0\0\0\0\0\x07\x01\0\x10".as_slice(),
        &[1; 16],
    ]
    .concat();
    assert_eq!(encoded.value.as_deref().unwrap(), flexible);

    assert_eq!(round(&offset(None)).value, None);
}

#[test]
fn groups_are_written_as_kafka_writes_them() {
    let member = MemberValue {
        member_id: name("m"),
        instance_id: Some(name("i")),
        client_id: name("c"),
        client_host: name("/h"),
        rebalance_timeout_ms: 2,
        session_timeout_ms: 3,
        subscription: Bytes::from_static(b"S"),
        assignment: Bytes::new(),
    };
    let value = GroupValue {
        protocol_type: name("consumer"),
        generation: 4,
        protocol: Some(name("range")),
        leader: Some(name("m")),
        since_ms: 6,
        members: vec![member],
    };
    let encoded = round(&Record::Group {
        group: name("g"),
        value: Some(value),
    });
    assert_eq!(encoded.key.as_deref().unwrap(), b"\0\x02\0\x01g");
    let head =
        b"\0\x03\0\x08consumer\0\0\0\x04\0\x05range\0\x01m\0\0\0\0\0\0\0\x06\0\0\0\x01".as_slice();
    let member = b"\0\x01m\0\x01i\0\x01c\0\x02/h\0\0\0\x02\0\0\0\x03\0\0\0\x01S\0\0\0\0".as_slice();
    assert_eq!(encoded.value.as_deref().unwrap(), [head, member].concat());

    let empty = GroupValue {
        protocol_type: name(""),
        generation: 1,
        protocol: None,
        leader: None,
        since_ms: 0,
        members: Vec::new(),
    };
    round(&Record::Group {
        group: name("g"),
        value: Some(empty),
    });
    round(&Record::Group {
        group: name("g"),
        value: None,
    });
}

#[test]
fn origins_have_a_key_version_that_kafka_skips() {
    for value in [
        Some(Origin::Local),
        Some(Origin::Link(name("from-a"))),
        None,
    ] {
        let encoded = round(&Record::Origin {
            group: name("g"),
            topic: name("t"),
            value,
        });
        assert_eq!(encoded.key.as_deref().unwrap(), b"\x47\x01\0\x01g\0\x01t");
    }
}

#[test]
fn every_version_that_kafka_has_written_is_read() {
    let key = b"\0\0\0\x01g\0\x01t\0\0\0\x02";
    let read = |value: &[u8]| Record::decode(Some(key), Some(value)).unwrap();
    assert_eq!(
        read(b"\0\0\0\0\0\0\0\0\0\x05\0\x01x\0\0\0\0\0\0\0\x07"),
        offset(Some(committed(-1, None)))
    );
    assert_eq!(
        read(b"\0\x02\0\0\0\0\0\0\0\x05\0\x01x\0\0\0\0\0\0\0\x07"),
        offset(Some(committed(-1, None)))
    );
    assert_eq!(
        read(b"\0\x01\0\0\0\0\0\0\0\x05\0\x01x\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff"),
        offset(Some(committed(-1, None)))
    );
    assert_eq!(
        read(b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x03\x02x\0\0\0\0\0\0\0\x07\0"),
        offset(Some(committed(3, None)))
    );

    let group = |value: &[u8]| match Record::decode(Some(b"\0\x02\0\x01g"), Some(value)).unwrap() {
        Record::Group {
            value: Some(value), ..
        } => value,
        other => panic!("{other:?}"),
    };
    let v0 = group(b"\0\0\0\x01c\0\0\0\x04\0\x01r\0\x01m\0\0\0\x01\0\x01m\0\x01c\0\x01h\0\0\0\x03\0\0\0\0\0\0\0\x01A");
    assert_eq!(
        (
            v0.generation,
            v0.since_ms,
            v0.members[0].rebalance_timeout_ms,
            v0.members[0].instance_id.clone()
        ),
        (4, -1, 3, None)
    );
    let v4 = group(b"\0\x04\x02c\0\0\0\x04\x02r\0\0\0\0\0\0\0\0\x06\x02\x02m\0\x02c\x02h\0\0\0\x02\0\0\0\x03\x01\x02A\0\0");
    assert_eq!(
        (
            v4.leader.clone(),
            v4.since_ms,
            v4.members[0].session_timeout_ms,
            v4.members[0].assignment.clone()
        ),
        (None, 6, 3, "A".into())
    );
}

#[test]
fn an_unreadable_record_is_an_error_that_names_its_type_and_version() {
    let why = |key: Option<&[u8]>, value: Option<&[u8]>| {
        Record::decode(key, value).unwrap_err().to_string()
    };
    assert!(why(None, None).starts_with("unreadable group record (type -1, version -1): "));
    assert!(why(Some(b"\0"), None).starts_with("unreadable group record (type -1, version -1): "));
    assert_eq!(
        why(Some(b"\0\x09"), None),
        "unreadable group record (type 9, version -1): an unknown type"
    );
    assert!(
        why(Some(b"\0\x02\0\x01g"), Some(b"\0\x05"))
            .starts_with("unreadable group record (type 2, version 5): ")
    );
    let huge = b"\0\x03\0\x01c\0\0\0\x04\0\x01r\0\x01m\0\0\0\0\0\0\0\0\x7f\xff\xff\xff";
    assert!(
        why(Some(b"\0\x02\0\x01g"), Some(huge))
            .starts_with("unreadable group record (type 2, version 3): ")
    );
    let origin = b"\x47\x01\0\x01g\0\x01t";
    for damaged in [
        b"\0\0\x03\0\0".as_slice(),
        b"\0\x01\x01\0\0",
        b"\0\0\x02\0\x05x",
        b"\0",
        b"",
    ] {
        assert!(why(Some(origin), Some(damaged)).ends_with("its fields do not fit"));
    }

    // Every truncation of a good one is an error, never a panic or a success.
    let encoded = offset(Some(committed(3, None))).encode();
    let (key, value) = (encoded.key.unwrap(), encoded.value.unwrap());
    for end in 0..value.len() {
        assert!(Record::decode(Some(&key), Some(&value[..end])).is_err());
    }
    for end in 0..key.len() {
        assert!(Record::decode(Some(&key[..end]), Some(&value)).is_err());
    }
}

/// Damage that a checksum did not see: a byte is changed, cut or added somewhere. Reading it gives
/// an error or some record; never a panic, and never a record that cannot be written again.
#[test]
fn damaged_bytes_are_an_error_or_a_record_that_can_be_written() {
    let member = MemberValue {
        member_id: name("m"),
        instance_id: Some(name("i")),
        client_id: name("c"),
        client_host: name("/h"),
        rebalance_timeout_ms: 2,
        session_timeout_ms: 3,
        subscription: Bytes::from_static(b"S"),
        assignment: Bytes::from_static(b"A"),
    };
    let group = Record::Group {
        group: name("g"),
        value: Some(GroupValue {
            protocol_type: name("consumer"),
            generation: 4,
            protocol: Some(name("range")),
            leader: Some(name("m")),
            since_ms: 6,
            members: vec![member.clone(), member],
        }),
    };
    let with_topic = Committed {
        topic_id: Some(TOPIC),
        ..committed(3, None)
    };
    let origin = Record::Origin {
        group: name("g"),
        topic: name("t"),
        value: Some(Origin::Link(name("from-a"))),
    };
    let records = [
        group,
        offset(Some(committed(3, None))),
        offset(Some(committed(-1, Some(9)))),
        offset(Some(with_topic)),
        origin,
    ];
    let (mut dice, mut read, mut refused) = (Rng::new(1), 0, 0);
    for _ in 0..20_000 {
        let encoded = dice.pick(&records).encode();
        let mut key = encoded.key.unwrap().to_vec();
        let mut value = encoded.value.unwrap().to_vec();
        let damaged = if dice.percent(30) {
            &mut key
        } else {
            &mut value
        };
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(damaged.len().max(1) as u64) as usize;
            match dice.below(4) {
                0 => damaged.truncate(at),
                1 => damaged.insert(at, dice.number() as u8),
                _ if damaged.is_empty() => {}
                2 => damaged[at] = dice.number() as u8,
                _ => damaged[at] ^= 1 << dice.below(8),
            }
        }
        match Record::decode(Some(&key), Some(&value)) {
            Ok(record) => {
                round(&record);
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().starts_with("unreadable group record"));
                refused += 1;
            }
        }
    }
    assert!(
        read > 1_000 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}
