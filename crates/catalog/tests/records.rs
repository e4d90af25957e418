//! Records as bytes: they read back, and what is not known stops with a sentence.

use gnomon_catalog::*;
use gnomon_machine::{DurableRecord, EncodedRecord};
use gnomon_protocol::ids::{LeaderEpoch, Uuid};

#[test]
fn a_record_is_a_type_a_version_and_json() {
    let record = Record::Incarnated(Incarnated { incarnation: 7 });
    let EncodedRecord { key, value } = record.encode();
    assert_eq!(key.as_deref(), Some(&[0, 3, 0, 0][..]));
    assert_eq!(value.as_deref(), Some(&br#"{"incarnation":7}"#[..]));
    assert_eq!(Record::decode(key.as_deref(), value.as_deref()), Ok(record));
}

#[test]
fn what_is_unknown_is_named() {
    let says = |key: Option<&[u8]>, value: Option<&[u8]>| {
        Record::decode(key, value).unwrap_err().to_string()
    };
    assert_eq!(
        says(Some(&[0, 99, 0, 0]), Some(b"{}")),
        "unreadable catalog record (type 99, version 0): this type is not known here"
    );
    assert_eq!(
        says(Some(&[0, 4, 0, 1]), Some(b"{}")),
        "unreadable catalog record (type 4, version 1): this version is not known here"
    );
    assert_eq!(
        says(Some(&[0, 4]), Some(b"{}")),
        "unreadable catalog record (type -1, version -1): its key is not a type and a version"
    );
    assert_eq!(
        says(Some(&[0, 4, 0, 0]), None),
        "unreadable catalog record (type 4, version 0): it has no value"
    );
    assert!(says(Some(&[0, 4, 0, 0]), Some(b"{}")).contains("missing field `id`"));
}

/// Fields that later versions leave out or add do not stop this one.
#[test]
fn a_topic_reads_with_the_least_and_with_more() {
    let json = br#"{"id":"00000000-0000-0000-0000-000000000001","name":"t","partitions":[],"colour":"red"}"#;
    let Ok(Record::Topic(topic)) = Record::decode(Some(&[0, 4, 0, 0]), Some(json)) else {
        panic!("not a topic")
    };
    assert_eq!(
        (topic.id, topic.name.as_str(), topic.internal, topic.shadow),
        (Uuid::from_u128(1), "t", false, None)
    );
}

#[test]
fn a_cluster_id_is_kafkas_base64() {
    assert_eq!(cluster_id_of(Uuid::from_u128(0)), "AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(cluster_id_of(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
    assert_eq!(
        cluster_id_of(Uuid::from_u128(u128::MAX)),
        "_____________________w"
    );
    assert_eq!(
        cluster_id_of(Uuid::from_bytes(*b"gnomon gnomon gn")),
        "Z25vbW9uIGdub21vbiBnbg"
    );
}

/// Replaying a record twice changes nothing more, also those that touch many partitions at once.
#[test]
fn a_record_counts_once() {
    let partition = Partition {
        replicas: vec![0],
        isr: vec![0],
        leader: 0,
        leader_epoch: LeaderEpoch(3),
        partition_epoch: 0,
        cut: None,
        added: false,
    };
    let other = Partition {
        leader: 1,
        ..partition.clone()
    };
    let topic = Topic {
        id: Uuid::from_u128(1),
        name: "t".to_owned(),
        internal: false,
        configs: Default::default(),
        partitions: vec![partition, other],
        shadow: None,
    };
    let site = Site {
        cluster_id: "c".to_owned(),
        name: "s".to_owned(),
        broker_id: 0,
        producer_tag: 1,
        owns: Vec::new(),
    };
    let epochs = vec![
        PartitionEpoch {
            topic: topic.id,
            partition: 0,
            epoch: LeaderEpoch(2),
        },
        PartitionEpoch {
            topic: topic.id,
            partition: 1,
            epoch: LeaderEpoch(9),
        },
        PartitionEpoch {
            topic: topic.id,
            partition: 2,
            epoch: LeaderEpoch(9),
        },
    ];
    let records = [
        Record::Site(site),
        Record::Topic(topic),
        Record::Incarnated(Incarnated { incarnation: 1 }),
        Record::Epochs(Epochs { epochs }),
        Record::ProducerIds(ProducerIds { next: 10 }),
    ];
    let mut image = Image::default();
    records.iter().for_each(|record| image.apply(record));
    let once = image.clone();
    records[2..].iter().for_each(|record| image.apply(record));
    assert_eq!(image, once);
    // Only what this broker leads is raised by its start.
    let epochs: Vec<i32> = image
        .topics
        .values()
        .flat_map(|topic| &topic.partitions)
        .map(|p| p.leader_epoch.0)
        .collect();
    assert_eq!(epochs, [4, 9]);
}
