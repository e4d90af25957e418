//! Kafka's formats inside `__consumer_offsets`, as bytes that Kafka wrote or would write.

use bytes::{BufMut, Bytes, BytesMut};
use gnomon_protocol::{
    ids::Uuid,
    internal::{
        Assignment, GroupMember, GroupMetadata, InternalError, Key, OffsetCommit, Subscription,
        TopicPartitions,
    },
    messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription},
    wire::{Decodable, Encodable},
};

fn key() -> Key {
    Key::Offset {
        group: "g".into(),
        topic: "orders".into(),
        partition: 3,
    }
}

#[test]
fn keys() {
    let bytes = key().encode().expect("short");
    assert_eq!(bytes, &b"\0\x01\0\x01g\0\x06orders\0\0\0\x03"[..]);
    assert_eq!(Key::decode(&bytes), Ok(key()));
    let mut version_0 = bytes.to_vec();
    version_0[1] = 0;
    assert_eq!(Key::decode(&Bytes::from(version_0)), Ok(key()));

    let group = Key::Group { group: "g".into() };
    let bytes = group.encode().expect("short");
    assert_eq!(bytes, &b"\0\x02\0\x01g"[..]);
    assert_eq!(Key::decode(&bytes), Ok(group));

    assert_eq!(
        Key::decode(&Bytes::from_static(b"\0\x05anything")),
        Ok(Key::Other { version: 5 })
    );
    assert!(matches!(
        Key::decode(&Bytes::from_static(b"\xff\xff")),
        Err(InternalError::Version { version: -1, .. })
    ));
    assert!(matches!(
        Key::decode(&Bytes::from_static(b"\0")),
        Err(InternalError::Damaged { .. })
    ));
    let long = Key::Group {
        group: "g".repeat(40_000),
    };
    assert!(matches!(
        long.encode(),
        Err(InternalError::TooLong { bytes: 40_000, .. })
    ));
}

#[test]
fn commits_of_every_version() {
    let commit = OffsetCommit::new(42, 7, "mine".into(), 1_000);
    let bytes = commit.encode().expect("short");
    assert_eq!(
        bytes,
        &b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x07\0\x04mine\0\0\0\0\0\0\x03\xe8"[..]
    );
    assert_eq!(OffsetCommit::decode(&bytes), Ok(commit.clone()));

    let old = |version: i16, expires: bool| {
        let mut bytes = BytesMut::new();
        bytes.put_i16(version);
        bytes.put_i64(42);
        bytes.put_slice(b"\0\x04mine");
        bytes.put_i64(1_000);
        if expires {
            bytes.put_i64(9_000);
        }
        OffsetCommit::decode(&bytes.freeze())
    };
    let before = OffsetCommit {
        leader_epoch: -1,
        ..commit.clone()
    };
    assert_eq!(old(0, false), Ok(before.clone()));
    assert_eq!(
        old(1, true),
        Ok(OffsetCommit {
            expire_timestamp: 9_000,
            ..before.clone()
        })
    );
    assert_eq!(old(2, false), Ok(before));
    assert!(matches!(
        old(5, false),
        Err(InternalError::Version { version: 5, .. })
    ));

    let flexible = |tags: &[u8]| {
        let start = &b"\0\x04\0\0\0\0\0\0\0\x2a\0\0\0\x07\x05mine\0\0\0\0\0\0\x03\xe8"[..];
        OffsetCommit::decode(&Bytes::from([start, tags].concat()))
    };
    assert_eq!(flexible(&[0]), Ok(commit.clone()));
    assert_eq!(
        flexible(&[1, 9, 1, 0xff]),
        Ok(commit.clone()),
        "an unknown tag"
    );
    let with_id = [&[1, 0, 16][..], &[0; 15], &[8]].concat();
    let on_topic = OffsetCommit {
        topic_id: Some(Uuid::from_u128(8)),
        ..commit
    };
    assert_eq!(flexible(&with_id), Ok(on_topic.clone()));
    assert_eq!(
        flexible(&with_id).and_then(|commit| commit.encode()),
        on_topic.encode()
    );
    let long = OffsetCommit {
        metadata: "x".repeat(300),
        ..on_topic
    };
    assert_eq!(
        long.encode().and_then(|bytes| OffsetCommit::decode(&bytes)),
        Ok(long)
    );
    assert!(matches!(
        flexible(&[1, 0, 16, 0]),
        Err(InternalError::Damaged { .. })
    ));
}

fn group() -> GroupMetadata {
    let member = GroupMember {
        member_id: "m-1".into(),
        instance_id: Some("static".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(b"sub"),
        assignment: Bytes::new(),
    };
    GroupMetadata {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        state_timestamp: 77,
        members: vec![
            member.clone(),
            GroupMember {
                instance_id: None,
                ..member
            },
        ],
    }
}

#[test]
fn groups() {
    let bytes = group().encode().expect("short");
    assert_eq!(bytes[..2], [0, 3]);
    assert_eq!(GroupMetadata::decode(&bytes), Ok(group()));
    let empty = GroupMetadata {
        protocol: None,
        leader: None,
        members: vec![],
        ..group()
    };
    assert_eq!(
        GroupMetadata::decode(&empty.encode().expect("short")),
        Ok(empty)
    );
    for length in 0..bytes.len() {
        assert!(
            GroupMetadata::decode(&bytes.slice(..length)).is_err(),
            "cut at {length}"
        );
    }
}

#[test]
fn groups_of_the_first_and_the_flexible_version() {
    let mut bytes = BytesMut::new();
    bytes.put_slice(b"\0\0\0\x08consumer\0\0\0\x05\0\x05range\0\x03m-1\0\0\0\x01");
    bytes.put_slice(b"\0\x03m-1\0\x01c\0\x01h\0\0\0\x64\0\0\0\x01s\0\0\0\x01a");
    let first = GroupMetadata::decode(&bytes.freeze()).expect("valid");
    assert_eq!(
        (first.state_timestamp, first.members[0].rebalance_timeout_ms),
        (-1, 100)
    );

    let mut bytes = BytesMut::new();
    bytes.put_slice(b"\0\x04\x09consumer\0\0\0\x05\x06range\x04m-1\0\0\0\0\0\0\0\x4d\x02");
    bytes.put_slice(b"\x04m-1\0\x02c\x02h\0\0\0\x63\0\0\0\x64\x02s\x02a\x00\x00");
    let flexible = GroupMetadata::decode(&bytes.freeze()).expect("valid");
    assert_eq!(
        (
            flexible.state_timestamp,
            flexible.members[0].rebalance_timeout_ms
        ),
        (77, 99)
    );
    assert_eq!(flexible.members[0].assignment, "a");
}

#[test]
fn subscriptions_as_the_message_crate_writes_and_reads_them() {
    let ours = Subscription {
        topics: vec!["a_orders".into(), "b_orders".into()],
        user_data: Some(Bytes::from_static(b"u")),
        owned: vec![TopicPartitions {
            topic: "a_orders".into(),
            partitions: vec![0, 2],
        }],
        generation: 4,
        rack: Some("r".into()),
    };
    for version in 1..=3 {
        let bytes = ours.encode(version).expect("short");
        let mut message = bytes.slice(2..);
        let theirs = ConsumerProtocolSubscription::decode(&mut message, version).expect("valid");
        assert!(message.is_empty());
        let mut again = BytesMut::new();
        again.put_i16(version);
        theirs.encode(&mut again, version).expect("valid");
        assert_eq!(again, bytes);
        let decoded = Subscription::decode(&bytes).expect("valid");
        assert_eq!(
            (&decoded.topics, &decoded.owned),
            (&ours.topics, &ours.owned)
        );
        assert_eq!(decoded.generation, if version >= 2 { 4 } else { -1 });
        assert_eq!(decoded.rack.is_some(), version >= 3);
    }
    let version_0 = Subscription::decode(&Bytes::from_static(
        b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff",
    ))
    .expect("valid");
    assert_eq!(
        (version_0.topics, version_0.user_data),
        (vec!["t".to_owned()], None)
    );
    let newer = Bytes::from(
        [
            &b"\0\x09"[..],
            &ours.encode(3).expect("short")[2..],
            b"more",
        ]
        .concat(),
    );
    assert_eq!(Subscription::decode(&newer), Ok(ours));
}

#[test]
fn assignments_as_the_message_crate_writes_and_reads_them() {
    let ours = Assignment {
        partitions: vec![TopicPartitions {
            topic: "t".into(),
            partitions: vec![1, 2],
        }],
        user_data: None,
    };
    let bytes = ours.encode().expect("short");
    let theirs = ConsumerProtocolAssignment::decode(&mut bytes.slice(2..), 0).expect("valid");
    assert_eq!(theirs.assigned_partitions[0].partitions, [1, 2]);
    assert_eq!(Assignment::decode(&bytes), Ok(ours));
    assert_eq!(
        Assignment::decode(&Bytes::new()),
        Ok(Assignment {
            partitions: vec![],
            user_data: None
        })
    );
}
