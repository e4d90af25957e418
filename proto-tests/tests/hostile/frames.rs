//! A valid frame for every API key and version that Gnomon answers (Kafka 4.1's), and ways to spoil
//! it.

use crate::wire::{batch, frame, seal, text, topic_name};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// The APIs that are attacked, with Kafka 4.1's versions (Produce as it is answered, from 3).
pub const APIS: &[(ApiKey, RangeInclusive<i16>)] = &[
    (ApiKey::Produce, 3..=13),
    (ApiKey::Fetch, 4..=18),
    (ApiKey::ListOffsets, 1..=10),
    (ApiKey::Metadata, 0..=13),
    (ApiKey::OffsetCommit, 2..=9),
    (ApiKey::OffsetFetch, 1..=9),
    (ApiKey::FindCoordinator, 0..=6),
    (ApiKey::JoinGroup, 0..=9),
    (ApiKey::Heartbeat, 0..=4),
    (ApiKey::LeaveGroup, 0..=5),
    (ApiKey::SyncGroup, 0..=5),
    (ApiKey::DescribeGroups, 0..=6),
    (ApiKey::ListGroups, 0..=5),
    (ApiKey::ApiVersions, 0..=4),
    (ApiKey::CreateTopics, 2..=7),
    (ApiKey::DeleteTopics, 1..=6),
    (ApiKey::InitProducerId, 0..=5),
    (ApiKey::OffsetForLeaderEpoch, 2..=4),
    (ApiKey::DescribeConfigs, 1..=4),
    (ApiKey::DescribeCluster, 0..=2),
];

/// Every (key, version).
pub fn versions() -> Vec<(ApiKey, i16)> {
    APIS.iter()
        .flat_map(|(key, versions)| versions.clone().map(|version| (*key, version)))
        .collect()
}

/// A request that a broker answers at once and that changes little. `id` is the topic's.
pub fn request(key: ApiKey, version: i16, topic: &str, id: [u8; 16]) -> RequestKind {
    let name = || topic_name(topic);
    let id = Uuid::from_bytes(id);
    match key {
        ApiKey::Produce => {
            let partition = PartitionProduceData::default()
                .with_index(0)
                .with_records(Some(batch((-1, -1, -1)).freeze()));
            let data = TopicProduceData::default().with_partition_data(vec![partition]);
            let data = if version >= 13 {
                data.with_topic_id(id)
            } else {
                data.with_name(name())
            };
            RequestKind::Produce(
                ProduceRequest::default()
                    .with_acks(-1)
                    .with_timeout_ms(1_000)
                    .with_topic_data(vec![data]),
            )
        }
        ApiKey::Fetch => {
            let partition = FetchPartition::default()
                .with_partition(0)
                .with_fetch_offset(0)
                .with_partition_max_bytes(1_000);
            let asked = FetchTopic::default().with_partitions(vec![partition]);
            let asked = if version >= 13 {
                asked.with_topic_id(id)
            } else {
                asked.with_topic(name())
            };
            RequestKind::Fetch(
                FetchRequest::default()
                    .with_max_wait_ms(0)
                    .with_min_bytes(0)
                    .with_max_bytes(10_000)
                    .with_session_epoch(-1)
                    .with_topics(vec![asked]),
            )
        }
        ApiKey::ListOffsets => {
            let partition = ListOffsetsPartition::default()
                .with_partition_index(0)
                .with_current_leader_epoch(-1)
                .with_timestamp(-1);
            let asked = ListOffsetsTopic::default()
                .with_name(name())
                .with_partitions(vec![partition]);
            RequestKind::ListOffsets(
                ListOffsetsRequest::default()
                    .with_replica_id(BrokerId(-1))
                    .with_topics(vec![asked]),
            )
        }
        ApiKey::Metadata => {
            let asked = MetadataRequestTopic::default().with_name(Some(name()));
            RequestKind::Metadata(
                MetadataRequest::default()
                    .with_topics(Some(vec![asked]))
                    .with_allow_auto_topic_creation(version < 4),
            )
        }
        ApiKey::OffsetCommit => {
            let partition = OffsetCommitRequestPartition::default()
                .with_committed_offset(0)
                .with_committed_metadata(Some(text("m")));
            let asked = OffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![partition]);
            RequestKind::OffsetCommit(
                OffsetCommitRequest::default()
                    .with_group_id(GroupId(text("g")))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(vec![asked]),
            )
        }
        ApiKey::OffsetFetch if version >= 8 => {
            let asked = OffsetFetchRequestTopics::default()
                .with_name(name())
                .with_partition_indexes(vec![0]);
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(text("g")))
                .with_topics(Some(vec![asked]));
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]))
        }
        ApiKey::OffsetFetch => {
            let asked = OffsetFetchRequestTopic::default()
                .with_name(name())
                .with_partition_indexes(vec![0]);
            RequestKind::OffsetFetch(
                OffsetFetchRequest::default()
                    .with_group_id(GroupId(text("g")))
                    .with_topics(Some(vec![asked])),
            )
        }
        ApiKey::FindCoordinator if version >= 4 => RequestKind::FindCoordinator(
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]),
        ),
        ApiKey::FindCoordinator => {
            RequestKind::FindCoordinator(FindCoordinatorRequest::default().with_key(text("g")))
        }
        ApiKey::JoinGroup => {
            // A member id that nobody has is refused at once, where an empty one would wait for
            // others.
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"\0\0\0\0\0\0\0\0\0\0"));
            RequestKind::JoinGroup(
                JoinGroupRequest::default()
                    .with_group_id(GroupId(text("g")))
                    .with_session_timeout_ms(6_000)
                    .with_rebalance_timeout_ms(6_000)
                    .with_member_id(text("nobody"))
                    .with_protocol_type(text("consumer"))
                    .with_protocols(vec![protocol]),
            )
        }
        ApiKey::Heartbeat => RequestKind::Heartbeat(
            HeartbeatRequest::default()
                .with_group_id(GroupId(text("g")))
                .with_member_id(text("nobody")),
        ),
        ApiKey::LeaveGroup => {
            let request = LeaveGroupRequest::default().with_group_id(GroupId(text("g")));
            let member = MemberIdentity::default().with_member_id(text("nobody"));
            RequestKind::LeaveGroup(if version >= 3 {
                request.with_members(vec![member])
            } else {
                request.with_member_id(text("nobody"))
            })
        }
        ApiKey::SyncGroup => {
            let assignment = SyncGroupRequestAssignment::default()
                .with_member_id(text("nobody"))
                .with_assignment(Bytes::from_static(b"\0\0\0\0"));
            let request = SyncGroupRequest::default()
                .with_group_id(GroupId(text("g")))
                .with_member_id(text("nobody"))
                .with_assignments(vec![assignment]);
            let named = |request: SyncGroupRequest| {
                request
                    .with_protocol_type(Some(text("consumer")))
                    .with_protocol_name(Some(text("range")))
            };
            RequestKind::SyncGroup(if version >= 5 {
                named(request)
            } else {
                request
            })
        }
        ApiKey::DescribeGroups => RequestKind::DescribeGroups(
            DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]),
        ),
        ApiKey::ListGroups => RequestKind::ListGroups(ListGroupsRequest::default()),
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::default();
            let named = |request: ApiVersionsRequest| {
                request
                    .with_client_software_name(text("wire"))
                    .with_client_software_version(text("1"))
            };
            RequestKind::ApiVersions(if version >= 3 {
                named(request)
            } else {
                request
            })
        }
        ApiKey::CreateTopics => {
            let config = CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1000")));
            let made = CreatableTopic::default()
                .with_name(topic_name("hostile-made"))
                .with_num_partitions(1)
                .with_replication_factor(1)
                .with_configs(vec![config]);
            RequestKind::CreateTopics(
                CreateTopicsRequest::default()
                    .with_topics(vec![made])
                    .with_timeout_ms(1_000)
                    .with_validate_only(true),
            )
        }
        ApiKey::DeleteTopics if version >= 6 => {
            let gone = DeleteTopicState::default().with_name(Some(topic_name("hostile-gone")));
            RequestKind::DeleteTopics(
                DeleteTopicsRequest::default()
                    .with_topics(vec![gone])
                    .with_timeout_ms(1_000),
            )
        }
        ApiKey::DeleteTopics => RequestKind::DeleteTopics(
            DeleteTopicsRequest::default()
                .with_topic_names(vec![topic_name("hostile-gone")])
                .with_timeout_ms(1_000),
        ),
        ApiKey::InitProducerId => RequestKind::InitProducerId(
            InitProducerIdRequest::default()
                .with_transaction_timeout_ms(1_000)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        ),
        ApiKey::OffsetForLeaderEpoch => {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(0)
                .with_current_leader_epoch(-1)
                .with_leader_epoch(0);
            let asked = OffsetForLeaderTopic::default()
                .with_topic(name())
                .with_partitions(vec![partition]);
            RequestKind::OffsetForLeaderEpoch(
                OffsetForLeaderEpochRequest::default()
                    .with_replica_id(BrokerId(-2))
                    .with_topics(vec![asked]),
            )
        }
        ApiKey::DescribeConfigs => {
            let asked = DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(topic))
                .with_configuration_keys(None);
            RequestKind::DescribeConfigs(
                DescribeConfigsRequest::default().with_resources(vec![asked]),
            )
        }
        ApiKey::DescribeCluster => RequestKind::DescribeCluster(DescribeClusterRequest::default()),
        other => panic!("{other:?} is not in the table"),
    }
}

/// A small generator (splitmix64): a failing seed is printed and repeats.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

const EXTREMES: [i32; 8] = [
    -1,
    i32::MAX,
    i32::MIN,
    0,
    0x00FF_FFFF,
    0x7FFF_0000,
    -2,
    1 << 20,
];

/// Spoils a frame; its length in front stays right, and so (nearly always) do key and version.
pub fn mutate(valid: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = valid.to_vec();
    for _ in 0..=random.below(3) {
        // 4 bytes of length, 8 of key, version and correlation id.
        let from = if random.below(20) == 0 {
            4
        } else {
            12.min(frame.len() - 1)
        };
        let at = from + random.below(frame.len() - from);
        match random.below(8) {
            0 | 1 => frame[at] ^= 1 << random.below(8),
            2 => frame[at] = [0xFF, 0x80, 0x7F, 0][random.below(4)],
            3 => {
                let extreme = EXTREMES[random.below(EXTREMES.len())].to_be_bytes();
                let end = (at + 4).min(frame.len());
                frame[at..end].copy_from_slice(&extreme[..end - at]);
            }
            // An unsigned varint of 2^32 - 2, as compact arrays and strings have.
            4 => drop(frame.splice(at..at, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F])),
            5 if frame.len() > 13 => frame.truncate(at.max(13)),
            6 => {
                let end = (at + 1 + random.below(32)).min(frame.len());
                let copy = frame[at..end].to_vec();
                frame.splice(at..at, copy);
            }
            _ => {
                let more = random.below(16);
                frame.extend((0..more).map(|_| random.next() as u8));
            }
        }
    }
    set_length(&mut frame);
    frame
}

/// A Produce frame whose batch is spoilt and then sealed again, so that it gets past the CRC.
pub fn mutate_batch(version: i16, topic: &str, id: [u8; 16], random: &mut Random) -> Vec<u8> {
    let mut spoilt = batch((-1, -1, -1));
    for _ in 0..=random.below(2) {
        let at = 12 + random.below(spoilt.len() - 12);
        match random.below(3) {
            0 => spoilt[at] ^= 1 << random.below(8),
            1 => spoilt[at] = 0xFF,
            _ => spoilt.extend_from_slice(&random.next().to_be_bytes()),
        }
    }
    seal(&mut spoilt);
    if random.below(4) == 0 {
        let at = random.below(12);
        spoilt[at] ^= 1 << random.below(8);
    }
    let mut request = request(ApiKey::Produce, version, topic, id);
    if let RequestKind::Produce(produce) = &mut request {
        produce.topic_data[0].partition_data[0].records = Some(spoilt.freeze());
    }
    frame(ApiKey::Produce, version, 7, &request).to_vec()
}

/// Bytes without any sense, and lengths that promise more or less than comes.
pub fn nonsense(random: &mut Random) -> Vec<u8> {
    let size = random.below(200);
    let mut frame: Vec<u8> = (0..4 + size).map(|_| random.next() as u8).collect();
    match random.below(6) {
        0 => frame[..4].copy_from_slice(&i32::MAX.to_be_bytes()),
        1 => frame[..4].copy_from_slice(&(-(random.below(1_000_000) as i32) - 1).to_be_bytes()),
        2 => frame[..4].copy_from_slice(&(random.below(200 << 20) as i32).to_be_bytes()),
        3 => frame[..4].copy_from_slice(&(random.below(9) as i32).to_be_bytes()),
        _ => {
            set_length(&mut frame);
            // A known key with a version that may exist: what follows is read as its body.
            if frame.len() > 8 && random.below(2) == 0 {
                let (key, versions) = &APIS[random.below(APIS.len())];
                frame[4..6].copy_from_slice(&(*key as i16).to_be_bytes());
                frame[6..8]
                    .copy_from_slice(&(*versions.start() + random.below(4) as i16).to_be_bytes());
            }
        }
    }
    frame
}

pub fn set_length(frame: &mut [u8]) {
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

/// A whole frame with a body of one's own.
pub fn raw(key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::from(&[0; 4][..]);
    frame.extend_from_slice(&(key as i16).to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7i32.to_be_bytes());
    frame.extend_from_slice(&(-1i16).to_be_bytes());
    if key.request_header_version(version) >= 2 {
        frame.extend_from_slice(&[0]);
    }
    frame.extend_from_slice(body);
    let mut frame = frame.to_vec();
    set_length(&mut frame);
    frame
}
