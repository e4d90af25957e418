//! The worst request of each API: as many elements as make whatever is not linear in them visible,
//! sent on as many connections as the process has threads. Nobody else may wait for it: the bound is
//! on the time that an honest client on a connection of its own waits for its answer.

use crate::frames::request;
use crate::wire::{self, Wire, read_frame, text, topic_name};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Elements of a request. With as many, work that grows with their square took from ten seconds to
/// half an hour.
pub const MANY: i32 = 100_000;
/// How long an honest client may wait. A debug build on a machine with 15 times as many tasks as cores
/// took 3 s; where work grew with the square, there was no answer in 120 s.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// From the sending of a hostile request to its answer, which may be slow: groups are described one by
/// one.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// One hostile request.
pub struct Worst {
    pub story: &'static str,
    pub key: ApiKey,
    pub version: i16,
    pub request: RequestKind,
}

fn worst(story: &'static str, key: ApiKey, version: i16, request: RequestKind) -> Worst {
    Worst {
        story,
        key,
        version,
        request,
    }
}

fn numbered(prefix: &str) -> impl Iterator<Item = String> {
    let prefix = prefix.to_owned();
    (0..MANY).map(move |number| format!("{prefix}{number}"))
}

/// The worst requests; `topic` has one partition.
pub fn requests(topic: &str, id: [u8; 16]) -> Vec<Worst> {
    let mut all = data(topic);
    all.extend(groups(topic));
    all.extend(topics(topic));
    // APIs whose requests have no lists.
    for key in [
        ApiKey::Heartbeat,
        ApiKey::ApiVersions,
        ApiKey::InitProducerId,
        ApiKey::DescribeCluster,
    ] {
        all.push(worst("an ordinary one", key, 0, request(key, 0, topic, id)));
    }
    all
}

fn data(topic: &str) -> Vec<Worst> {
    let produce = |data| {
        RequestKind::Produce(
            ProduceRequest::default()
                .with_acks(1)
                .with_timeout_ms(1_000)
                .with_topic_data(data),
        )
    };
    let partition = |index| PartitionProduceData::default().with_index(index);
    let unknown = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data((1..=MANY).map(partition).collect());
    let strangers = numbered("stranger-").map(|name| {
        TopicProduceData::default()
            .with_name(topic_name(&name))
            .with_partition_data(vec![partition(0)])
    });
    let again = FetchPartition::default()
        .with_fetch_offset(1)
        .with_partition_max_bytes(1_000);
    let asked = ListOffsetsPartition::default()
        .with_current_leader_epoch(-1)
        .with_timestamp(-1);
    let epoch = OffsetForLeaderPartition::default().with_current_leader_epoch(-1);
    vec![
        worst(
            "partitions that do not exist",
            ApiKey::Produce,
            9,
            produce(vec![unknown]),
        ),
        worst(
            "topics that do not exist",
            ApiKey::Produce,
            9,
            produce(strangers.collect()),
        ),
        worst(
            "one partition, many times, to wait for",
            ApiKey::Fetch,
            12,
            fetch((0, -1), topic, vec![again; 3 * MANY as usize], 1_000),
        ),
        worst(
            "one partition, many times",
            ApiKey::ListOffsets,
            5,
            RequestKind::ListOffsets(ListOffsetsRequest::default().with_topics(vec![
                ListOffsetsTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![asked; MANY as usize]),
            ])),
        ),
        worst(
            "one partition, many times",
            ApiKey::OffsetForLeaderEpoch,
            4,
            RequestKind::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest::default().with_topics(
                vec![
                    OffsetForLeaderTopic::default()
                        .with_topic(topic_name(topic))
                        .with_partitions(vec![epoch; MANY as usize]),
                ],
            )),
        ),
    ]
}

/// A fetch: session id and epoch, and the partitions of one topic.
fn fetch(
    session: (i32, i32),
    topic: &str,
    partitions: Vec<FetchPartition>,
    wait_ms: i32,
) -> RequestKind {
    let asked = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(partitions);
    RequestKind::Fetch(
        FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(10_000)
            .with_session_id(session.0)
            .with_session_epoch(session.1)
            .with_topics(vec![asked]),
    )
}

fn groups(topic: &str) -> Vec<Worst> {
    let group = || GroupId(text("worst"));
    let commit = OffsetCommitRequestPartition::default().with_committed_metadata(Some(text("")));
    let protocol = |name: String| JoinGroupRequestProtocol::default().with_name(text(&name));
    let member = |id: String| MemberIdentity::default().with_member_id(text(&id));
    let assignment = |id: String| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(&id))
            .with_assignment(Bytes::from_static(b"\0"))
    };
    let committed = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes((0..MANY).collect());
    let committed = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_topics(Some(vec![committed]));
    let commits = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![commit; MANY as usize]);
    let keys = |prefix| numbered(prefix).map(|name| text(&name)).collect();
    vec![
        worst(
            "one partition, many times",
            ApiKey::OffsetCommit,
            8,
            RequestKind::OffsetCommit(
                OffsetCommitRequest::default()
                    .with_group_id(group())
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(vec![commits]),
            ),
        ),
        worst(
            "many partitions",
            ApiKey::OffsetFetch,
            8,
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![committed])),
        ),
        worst(
            "many groups",
            ApiKey::FindCoordinator,
            4,
            RequestKind::FindCoordinator(
                FindCoordinatorRequest::default().with_coordinator_keys(keys("group-")),
            ),
        ),
        worst(
            "many protocols",
            ApiKey::JoinGroup,
            5,
            RequestKind::JoinGroup(
                JoinGroupRequest::default()
                    .with_group_id(group())
                    .with_session_timeout_ms(6_000)
                    .with_rebalance_timeout_ms(6_000)
                    .with_protocol_type(text("consumer"))
                    .with_protocols(numbered("p").map(protocol).collect()),
            ),
        ),
        worst(
            "many members",
            ApiKey::LeaveGroup,
            3,
            RequestKind::LeaveGroup(
                LeaveGroupRequest::default()
                    .with_group_id(group())
                    .with_members(numbered("m").map(member).collect()),
            ),
        ),
        worst(
            "many assignments",
            ApiKey::SyncGroup,
            3,
            RequestKind::SyncGroup(
                SyncGroupRequest::default()
                    .with_group_id(group())
                    .with_member_id(text("nobody"))
                    .with_assignments(numbered("m").map(assignment).collect()),
            ),
        ),
        worst(
            "many groups",
            ApiKey::DescribeGroups,
            5,
            RequestKind::DescribeGroups(
                DescribeGroupsRequest::default()
                    .with_groups(numbered("g").map(|name| GroupId(text(&name))).collect()),
            ),
        ),
        worst(
            "one state, many times",
            ApiKey::ListGroups,
            4,
            RequestKind::ListGroups(
                ListGroupsRequest::default().with_states_filter(vec![text("Dead"); MANY as usize]),
            ),
        ),
    ]
}

fn topics(topic: &str) -> Vec<Worst> {
    let create = |names: Vec<String>| {
        let made = |name: &String| {
            CreatableTopic::default()
                .with_name(topic_name(name))
                .with_num_partitions(1)
                .with_replication_factor(1)
        };
        RequestKind::CreateTopics(
            CreateTopicsRequest::default()
                .with_topics(names.iter().map(made).collect())
                .with_timeout_ms(1_000)
                .with_validate_only(true),
        )
    };
    let metadata = |prefix| {
        let asked =
            |name: String| MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
        RequestKind::Metadata(
            MetadataRequest::default()
                .with_topics(Some(numbered(prefix).map(asked).collect()))
                .with_allow_auto_topic_creation(true),
        )
    };
    let gone = |name: String| DeleteTopicState::default().with_name(Some(topic_name(&name)));
    let resource = |name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(name))
    };
    let describe = |resources| {
        RequestKind::DescribeConfigs(DescribeConfigsRequest::default().with_resources(resources))
    };
    let keys = numbered("key-").map(|key| text(&key)).collect();
    let many = numbered("stranger-").map(|name| resource(&name)).collect();
    vec![
        worst(
            "names that no topic may have",
            ApiKey::Metadata,
            9,
            metadata("not allowed "),
        ),
        worst(
            "too many topics",
            ApiKey::CreateTopics,
            5,
            create(numbered("made.").collect()),
        ),
        worst(
            "as many topics as may be",
            ApiKey::CreateTopics,
            5,
            create(numbered("made.").take(10_000).collect()),
        ),
        worst(
            "topics that do not exist",
            ApiKey::DeleteTopics,
            6,
            RequestKind::DeleteTopics(
                DeleteTopicsRequest::default()
                    .with_topics(numbered("gone-").map(gone).collect())
                    .with_timeout_ms(1_000),
            ),
        ),
        worst(
            "many settings of one topic",
            ApiKey::DescribeConfigs,
            4,
            describe(vec![resource(topic).with_configuration_keys(Some(keys))]),
        ),
        worst("many resources", ApiKey::DescribeConfigs, 4, describe(many)),
    ]
}

/// Sends a request on several connections at once and reads the answers.
pub fn send(address: &str, worst: &Worst, connections: usize) {
    let frame = wire::frame(worst.key, worst.version, 7, &worst.request);
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut wire = Wire::connect(address);
                answer(&mut wire, &frame, worst.story);
            });
        }
    });
}

fn answer(wire: &mut Wire, frame: &[u8], story: &str) -> Bytes {
    wire.0
        .set_read_timeout(Some(ANSWER_MAX))
        .expect("an option");
    wire.0.write_all(frame).expect("written");
    read_frame(&mut wire.0).unwrap_or_else(|error| panic!("{story}: no answer: {error}"))
}

/// A fetch session that remembers many partitions and then forgets them all at once.
pub fn forget_many(address: &str, topic: &str) {
    const VERSION: i16 = 12;
    let mut wire = Wire::connect(address);
    let partition = |index| FetchPartition::default().with_partition(index);
    let full = fetch((0, 0), topic, (1..=MANY).map(partition).collect(), 0);
    let frame = wire::frame(ApiKey::Fetch, VERSION, 7, &full);
    let body = answer(&mut wire, &frame, "a session");
    let Ok((_, ResponseKind::Fetch(made))) = wire::decode(ApiKey::Fetch, VERSION, body) else {
        panic!("not a fetch response")
    };
    assert_ne!(made.session_id, 0, "no session");
    let RequestKind::Fetch(next) = fetch((made.session_id, 1), topic, vec![], 0) else {
        panic!("not a fetch")
    };
    let forgotten = ForgottenTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions((1..MANY).collect());
    let next = next
        .with_topics(Vec::new())
        .with_forgotten_topics_data(vec![forgotten]);
    let frame = wire::frame(ApiKey::Fetch, VERSION, 7, &RequestKind::Fetch(next));
    let body = answer(&mut wire, &frame, "forgetting");
    let Ok((_, ResponseKind::Fetch(left))) = wire::decode(ApiKey::Fetch, VERSION, body) else {
        panic!("not a fetch response")
    };
    let left: usize = left
        .responses
        .iter()
        .map(|topic| topic.partitions.len())
        .sum();
    assert_eq!(left, 1, "partitions that the session still has");
}

/// An honest client that asks all the time.
pub struct Honest {
    answers: AtomicU64,
    longest_ms: AtomicU64,
    stopped: AtomicBool,
}

/// Stops an honest client when it is dropped, also if a test fails.
pub struct StopAtEnd<'a>(pub &'a Honest);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

impl Honest {
    pub fn new() -> Honest {
        Honest {
            answers: AtomicU64::new(0),
            longest_ms: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Asks until it is stopped.
    pub fn ask(&self, address: &str, topic: &str, id: [u8; 16]) {
        let mut wire = Wire::connect(address);
        wire.0
            .set_read_timeout(Some(ANSWER_MAX))
            .expect("an option");
        while !self.stopped.load(Ordering::Relaxed) {
            let begun = Instant::now();
            wire.call(
                ApiKey::Metadata,
                9,
                &request(ApiKey::Metadata, 9, topic, id),
            )
            .expect("an answer");
            let waited = u64::try_from(begun.elapsed().as_millis()).expect("a short time");
            self.longest_ms.fetch_max(waited, Ordering::Relaxed);
            self.answers.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How long it had to wait while `hostile` was at work.
    pub fn waited(&self, hostile: impl FnOnce()) -> Duration {
        self.next_answer();
        self.longest_ms.store(0, Ordering::Relaxed);
        hostile();
        // What it asked meanwhile is answered.
        self.next_answer();
        Duration::from_millis(self.longest_ms.load(Ordering::Relaxed))
    }

    fn next_answer(&self) {
        let (before, begun) = (self.answers.load(Ordering::Relaxed), Instant::now());
        while self.answers.load(Ordering::Relaxed) < before + 2 {
            assert!(
                begun.elapsed() < ANSWER_MAX,
                "an honest client is not answered"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
