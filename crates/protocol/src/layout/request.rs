//! The fields of every request we answer, in wire order: data for [`super`], which says what it is
//! for.
//!
//! `from` and `within` are the versions that have a field, `tag` the version and number of a tagged
//! one, `nullable` what may be null. The tests hold this against the message crate's own codec for
//! every version: what it encodes, this describes to the last byte.

use super::{
    Fields,
    Kind::{Arr, Bin, Bool, I8, I16, I32, I64, Rec, Str, Uuid},
    f,
};
use crate::api::keys;

/// The fields of the request of that API.
pub(super) fn request(key: i16) -> Option<Fields> {
    let fields = match key {
        keys::PRODUCE => PRODUCE_REQUEST,
        keys::FETCH => FETCH_REQUEST,
        keys::LIST_OFFSETS => LIST_OFFSETS_REQUEST,
        keys::METADATA => METADATA_REQUEST,
        keys::OFFSET_COMMIT => OFFSET_COMMIT_REQUEST,
        keys::OFFSET_FETCH => OFFSET_FETCH_REQUEST,
        keys::FIND_COORDINATOR => FIND_COORDINATOR_REQUEST,
        keys::JOIN_GROUP => JOIN_GROUP_REQUEST,
        keys::HEARTBEAT => HEARTBEAT_REQUEST,
        keys::LEAVE_GROUP => LEAVE_GROUP_REQUEST,
        keys::SYNC_GROUP => SYNC_GROUP_REQUEST,
        keys::DESCRIBE_GROUPS => DESCRIBE_GROUPS_REQUEST,
        keys::LIST_GROUPS => LIST_GROUPS_REQUEST,
        keys::API_VERSIONS => API_VERSIONS_REQUEST,
        keys::CREATE_TOPICS => CREATE_TOPICS_REQUEST,
        keys::DELETE_TOPICS => DELETE_TOPICS_REQUEST,
        keys::INIT_PRODUCER_ID => INIT_PRODUCER_ID_REQUEST,
        keys::OFFSET_FOR_LEADER_EPOCH => OFFSET_FOR_LEADER_EPOCH_REQUEST,
        keys::DESCRIBE_CONFIGS => DESCRIBE_CONFIGS_REQUEST,
        keys::DESCRIBE_CLUSTER => DESCRIBE_CLUSTER_REQUEST,
        _ => return None,
    };
    Some(fields)
}

const PRODUCE_REQUEST: Fields = &[
    f("transactional_id", Str).nullable(),
    f("acks", I16),
    f("timeout_ms", I32),
    f(
        "topic_data",
        Arr(&Rec(&[
            f("name", Str).within(0, 12),
            f("topic_id", Uuid).from(13),
            f(
                "partition_data",
                Arr(&Rec(&[f("index", I32), f("records", Bin).nullable()])),
            ),
        ])),
    ),
];

const FETCH_REQUEST: Fields = &[
    f("replica_id", I32).within(0, 14),
    f("max_wait_ms", I32),
    f("min_bytes", I32),
    f("max_bytes", I32),
    f("isolation_level", I8),
    f("session_id", I32).from(7),
    f("session_epoch", I32).from(7),
    f(
        "topics",
        Arr(&Rec(&[
            f("topic", Str).within(0, 12),
            f("topic_id", Uuid).from(13),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition", I32),
                    f("current_leader_epoch", I32).from(9),
                    f("fetch_offset", I64),
                    f("last_fetched_epoch", I32).from(12),
                    f("log_start_offset", I64).from(5),
                    f("partition_max_bytes", I32),
                    f("replica_directory_id", Uuid).tag(17, 0),
                    f("high_watermark", I64).tag(18, 1),
                ])),
            ),
        ])),
    ),
    f(
        "forgotten_topics_data",
        Arr(&Rec(&[
            f("topic", Str).within(7, 12),
            f("topic_id", Uuid).from(13),
            f("partitions", Arr(&I32)).from(7),
        ])),
    )
    .from(7),
    f("rack_id", Str).from(11),
    f("cluster_id", Str).tag(0, 0).nullable(),
    f(
        "replica_state",
        Rec(&[
            f("replica_id", I32).from(15),
            f("replica_epoch", I64).from(15),
        ]),
    )
    .tag(15, 1),
];

const LIST_OFFSETS_REQUEST: Fields = &[
    f("replica_id", I32),
    f("isolation_level", I8).from(2),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition_index", I32),
                    f("current_leader_epoch", I32).from(4),
                    f("timestamp", I64),
                ])),
            ),
        ])),
    ),
    f("timeout_ms", I32).from(10),
];

const METADATA_REQUEST: Fields = &[
    f(
        "topics",
        Arr(&Rec(&[
            f("topic_id", Uuid).from(10),
            f("name", Str).nullable(),
        ])),
    )
    .nullable(),
    f("allow_auto_topic_creation", Bool).from(4),
    f("include_cluster_authorized_operations", Bool).within(8, 10),
    f("include_topic_authorized_operations", Bool).from(8),
];

const OFFSET_COMMIT_REQUEST: Fields = &[
    f("group_id", Str),
    f("generation_id_or_member_epoch", I32),
    f("member_id", Str),
    f("group_instance_id", Str).from(7).nullable(),
    f("retention_time_ms", I64).within(0, 4),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition_index", I32),
                    f("committed_offset", I64),
                    f("committed_leader_epoch", I32).from(6),
                    f("committed_metadata", Str).nullable(),
                ])),
            ),
        ])),
    ),
];

const OFFSET_FETCH_REQUEST: Fields = &[
    f("group_id", Str).within(0, 7),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str).within(0, 7),
            f("partition_indexes", Arr(&I32)).within(0, 7),
        ])),
    )
    .within(0, 7)
    .nullable(),
    f(
        "groups",
        Arr(&Rec(&[
            f("group_id", Str).from(8),
            f("member_id", Str).from(9).nullable(),
            f("member_epoch", I32).from(9),
            f(
                "topics",
                Arr(&Rec(&[
                    f("name", Str).from(8),
                    f("partition_indexes", Arr(&I32)).from(8),
                ])),
            )
            .from(8)
            .nullable(),
        ])),
    )
    .from(8),
    f("require_stable", Bool).from(7),
];

const FIND_COORDINATOR_REQUEST: Fields = &[
    f("key", Str).within(0, 3),
    f("key_type", I8).from(1),
    f("coordinator_keys", Arr(&Str)).from(4),
];

const JOIN_GROUP_REQUEST: Fields = &[
    f("group_id", Str),
    f("session_timeout_ms", I32),
    f("rebalance_timeout_ms", I32).from(1),
    f("member_id", Str),
    f("group_instance_id", Str).from(5).nullable(),
    f("protocol_type", Str),
    f(
        "protocols",
        Arr(&Rec(&[f("name", Str), f("metadata", Bin)])),
    ),
    f("reason", Str).from(8).nullable(),
];

const HEARTBEAT_REQUEST: Fields = &[
    f("group_id", Str),
    f("generation_id", I32),
    f("member_id", Str),
    f("group_instance_id", Str).from(3).nullable(),
];

const LEAVE_GROUP_REQUEST: Fields = &[
    f("group_id", Str),
    f("member_id", Str).within(0, 2),
    f(
        "members",
        Arr(&Rec(&[
            f("member_id", Str).from(3),
            f("group_instance_id", Str).from(3).nullable(),
            f("reason", Str).from(5).nullable(),
        ])),
    )
    .from(3),
];

const SYNC_GROUP_REQUEST: Fields = &[
    f("group_id", Str),
    f("generation_id", I32),
    f("member_id", Str),
    f("group_instance_id", Str).from(3).nullable(),
    f("protocol_type", Str).from(5).nullable(),
    f("protocol_name", Str).from(5).nullable(),
    f(
        "assignments",
        Arr(&Rec(&[f("member_id", Str), f("assignment", Bin)])),
    ),
];

const DESCRIBE_GROUPS_REQUEST: Fields = &[
    f("groups", Arr(&Str)),
    f("include_authorized_operations", Bool).from(3),
];

const LIST_GROUPS_REQUEST: Fields = &[
    f("states_filter", Arr(&Str)).from(4),
    f("types_filter", Arr(&Str)).from(5),
];

const API_VERSIONS_REQUEST: Fields = &[
    f("client_software_name", Str).from(3),
    f("client_software_version", Str).from(3),
];

const CREATE_TOPICS_REQUEST: Fields = &[
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str),
            f("num_partitions", I32),
            f("replication_factor", I16),
            f(
                "assignments",
                Arr(&Rec(&[
                    f("partition_index", I32),
                    f("broker_ids", Arr(&I32)),
                ])),
            ),
            f(
                "configs",
                Arr(&Rec(&[f("name", Str), f("value", Str).nullable()])),
            ),
        ])),
    ),
    f("timeout_ms", I32),
    f("validate_only", Bool),
];

const DELETE_TOPICS_REQUEST: Fields = &[
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str).from(6).nullable(),
            f("topic_id", Uuid).from(6),
        ])),
    )
    .from(6),
    f("topic_names", Arr(&Str)).within(0, 5),
    f("timeout_ms", I32),
];

const INIT_PRODUCER_ID_REQUEST: Fields = &[
    f("transactional_id", Str).nullable(),
    f("transaction_timeout_ms", I32),
    f("producer_id", I64).from(3),
    f("producer_epoch", I16).from(3),
];

const OFFSET_FOR_LEADER_EPOCH_REQUEST: Fields = &[
    f("replica_id", I32).from(3),
    f(
        "topics",
        Arr(&Rec(&[
            f("topic", Str),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition", I32),
                    f("current_leader_epoch", I32),
                    f("leader_epoch", I32),
                ])),
            ),
        ])),
    ),
];

const DESCRIBE_CONFIGS_REQUEST: Fields = &[
    f(
        "resources",
        Arr(&Rec(&[
            f("resource_type", I8),
            f("resource_name", Str),
            f("configuration_keys", Arr(&Str)).nullable(),
        ])),
    ),
    f("include_synonyms", Bool),
    f("include_documentation", Bool).from(3),
];

const DESCRIBE_CLUSTER_REQUEST: Fields = &[
    f("include_cluster_authorized_operations", Bool),
    f("endpoint_type", I8).from(1),
    f("include_fenced_brokers", Bool).from(2),
];
