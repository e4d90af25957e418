//! The one table of the APIs and versions that Gnomon answers, and the header versions that follow
//! from it.
//!
//! The ranges are those of Kafka 4.1, so that clients which infer "a broker version" from them
//! infer one that exists. Never widened to whatever the message crate can decode: that includes
//! unstable versions. Two minimums are below what is decoded, as in Kafka itself: librdkafka before
//! 2.11 switches codecs off unless Produce 0 is in the range (KAFKA-18659), and older clients look
//! for JoinGroup 0 (KAFKA-19444).
//!
//! ApiVersions is special three times: a version that is too new is answered at version 0 with
//! UNSUPPORTED_VERSION (KIP-511), its response header is always version 0, and it is answered
//! before authentication.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// The number in the request header.
    pub key: i16,
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest version advertised.
    pub min: i16,
    /// Highest version advertised and decoded.
    pub max: i16,
    /// Lowest version decoded; below it a request is answered with UNSUPPORTED_VERSION, where there
    /// is an answer.
    pub decode_min: i16,
    /// First version with compact types and tagged fields (KIP-482).
    pub flexible_from: i16,
}

/// Keys, to match on.
pub mod keys {
    pub const PRODUCE: i16 = 0;
    pub const FETCH: i16 = 1;
    pub const LIST_OFFSETS: i16 = 2;
    pub const METADATA: i16 = 3;
    pub const OFFSET_COMMIT: i16 = 8;
    pub const OFFSET_FETCH: i16 = 9;
    pub const FIND_COORDINATOR: i16 = 10;
    pub const JOIN_GROUP: i16 = 11;
    pub const HEARTBEAT: i16 = 12;
    pub const LEAVE_GROUP: i16 = 13;
    pub const SYNC_GROUP: i16 = 14;
    pub const DESCRIBE_GROUPS: i16 = 15;
    pub const LIST_GROUPS: i16 = 16;
    pub const API_VERSIONS: i16 = 18;
    pub const CREATE_TOPICS: i16 = 19;
    pub const DELETE_TOPICS: i16 = 20;
    pub const INIT_PRODUCER_ID: i16 = 22;
    pub const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
    pub const DESCRIBE_CONFIGS: i16 = 32;
    pub const DESCRIBE_CLUSTER: i16 = 60;
}

/// Every API, by key.
pub static APIS: &[Api] = &[
    Api {
        key: keys::PRODUCE,
        name: "Produce",
        min: 0,
        max: 13,
        decode_min: 3,
        flexible_from: 9,
    },
    Api {
        key: keys::FETCH,
        name: "Fetch",
        min: 4,
        max: 18,
        decode_min: 4,
        flexible_from: 12,
    },
    Api {
        key: keys::LIST_OFFSETS,
        name: "ListOffsets",
        min: 1,
        max: 10,
        decode_min: 1,
        flexible_from: 6,
    },
    Api {
        key: keys::METADATA,
        name: "Metadata",
        min: 0,
        max: 13,
        decode_min: 0,
        flexible_from: 9,
    },
    Api {
        key: keys::OFFSET_COMMIT,
        name: "OffsetCommit",
        min: 2,
        max: 9,
        decode_min: 2,
        flexible_from: 8,
    },
    Api {
        key: keys::OFFSET_FETCH,
        name: "OffsetFetch",
        min: 1,
        max: 9,
        decode_min: 1,
        flexible_from: 6,
    },
    Api {
        key: keys::FIND_COORDINATOR,
        name: "FindCoordinator",
        min: 0,
        max: 6,
        decode_min: 0,
        flexible_from: 3,
    },
    Api {
        key: keys::JOIN_GROUP,
        name: "JoinGroup",
        min: 0,
        max: 9,
        decode_min: 0,
        flexible_from: 6,
    },
    Api {
        key: keys::HEARTBEAT,
        name: "Heartbeat",
        min: 0,
        max: 4,
        decode_min: 0,
        flexible_from: 4,
    },
    Api {
        key: keys::LEAVE_GROUP,
        name: "LeaveGroup",
        min: 0,
        max: 5,
        decode_min: 0,
        flexible_from: 4,
    },
    Api {
        key: keys::SYNC_GROUP,
        name: "SyncGroup",
        min: 0,
        max: 5,
        decode_min: 0,
        flexible_from: 4,
    },
    Api {
        key: keys::DESCRIBE_GROUPS,
        name: "DescribeGroups",
        min: 0,
        max: 6,
        decode_min: 0,
        flexible_from: 5,
    },
    Api {
        key: keys::LIST_GROUPS,
        name: "ListGroups",
        min: 0,
        max: 5,
        decode_min: 0,
        flexible_from: 3,
    },
    Api {
        key: keys::API_VERSIONS,
        name: "ApiVersions",
        min: 0,
        max: 4,
        decode_min: 0,
        flexible_from: 3,
    },
    Api {
        key: keys::CREATE_TOPICS,
        name: "CreateTopics",
        min: 2,
        max: 7,
        decode_min: 2,
        flexible_from: 5,
    },
    Api {
        key: keys::DELETE_TOPICS,
        name: "DeleteTopics",
        min: 1,
        max: 6,
        decode_min: 1,
        flexible_from: 4,
    },
    Api {
        key: keys::INIT_PRODUCER_ID,
        name: "InitProducerId",
        min: 0,
        max: 5,
        decode_min: 0,
        flexible_from: 2,
    },
    Api {
        key: keys::OFFSET_FOR_LEADER_EPOCH,
        name: "OffsetForLeaderEpoch",
        min: 2,
        max: 4,
        decode_min: 2,
        flexible_from: 4,
    },
    Api {
        key: keys::DESCRIBE_CONFIGS,
        name: "DescribeConfigs",
        min: 1,
        max: 4,
        decode_min: 1,
        flexible_from: 4,
    },
    Api {
        key: keys::DESCRIBE_CLUSTER,
        name: "DescribeCluster",
        min: 0,
        max: 2,
        decode_min: 0,
        flexible_from: 0,
    },
];

/// The API with that key, if we answer it.
pub fn api(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key)
        .ok()
        .map(|index| &APIS[index])
}

impl Api {
    /// Whether a request of that version can be decoded.
    pub fn decodes(&self, version: i16) -> bool {
        (self.decode_min..=self.max).contains(&version)
    }

    /// Whether that version has compact types and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// Version of the header in front of such a request: 1 has a client id, 2 tagged fields too. Keys
/// that we do not know count as 1.
pub fn request_header_version(key: i16, version: i16) -> i16 {
    match api(key) {
        Some(api) if api.is_flexible(version) => 2,
        Some(_) | None => 1,
    }
}

/// Version of the header in front of the response: 1 has tagged fields. ApiVersions is always 0,
/// since the client cannot know yet.
pub fn response_header_version(key: i16, version: i16) -> i16 {
    match api(key) {
        Some(api) if api.is_flexible(version) && key != keys::API_VERSIONS => 1,
        Some(_) | None => 0,
    }
}
