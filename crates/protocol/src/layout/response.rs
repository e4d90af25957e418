//! The fields of every response we read, in wire order: data for [`super`], which says what it is
//! for.
//!
//! `from` and `within` are the versions that have a field, `tag` the version and number of a tagged
//! one, `nullable` what may be null. The tests hold this against the message crate's own codec for
//! every version: what it encodes, this describes to the last byte.

use super::{
    Fields,
    Kind::{Arr, Bin, Bool, I8, I16, I32, I64, Rec, Str, Uuid},
    f, group_response,
};
use crate::api::keys;

/// The fields of the response of that API.
pub(super) fn response(key: i16) -> Option<Fields> {
    let fields = match key {
        keys::PRODUCE => PRODUCE_RESPONSE,
        keys::FETCH => FETCH_RESPONSE,
        keys::LIST_OFFSETS => LIST_OFFSETS_RESPONSE,
        keys::METADATA => METADATA_RESPONSE,
        keys::OFFSET_COMMIT => group_response::OFFSET_COMMIT_RESPONSE,
        keys::OFFSET_FETCH => group_response::OFFSET_FETCH_RESPONSE,
        keys::FIND_COORDINATOR => group_response::FIND_COORDINATOR_RESPONSE,
        keys::JOIN_GROUP => group_response::JOIN_GROUP_RESPONSE,
        keys::HEARTBEAT => group_response::HEARTBEAT_RESPONSE,
        keys::LEAVE_GROUP => group_response::LEAVE_GROUP_RESPONSE,
        keys::SYNC_GROUP => group_response::SYNC_GROUP_RESPONSE,
        keys::DESCRIBE_GROUPS => group_response::DESCRIBE_GROUPS_RESPONSE,
        keys::LIST_GROUPS => group_response::LIST_GROUPS_RESPONSE,
        keys::API_VERSIONS => API_VERSIONS_RESPONSE,
        keys::CREATE_TOPICS => CREATE_TOPICS_RESPONSE,
        keys::DELETE_TOPICS => DELETE_TOPICS_RESPONSE,
        keys::INIT_PRODUCER_ID => INIT_PRODUCER_ID_RESPONSE,
        keys::OFFSET_FOR_LEADER_EPOCH => OFFSET_FOR_LEADER_EPOCH_RESPONSE,
        keys::DESCRIBE_CONFIGS => DESCRIBE_CONFIGS_RESPONSE,
        keys::DESCRIBE_CLUSTER => DESCRIBE_CLUSTER_RESPONSE,
        _ => return None,
    };
    Some(fields)
}

const PRODUCE_RESPONSE: Fields = &[
    f(
        "responses",
        Arr(&Rec(&[
            f("name", Str).within(0, 12),
            f("topic_id", Uuid).from(13),
            f(
                "partition_responses",
                Arr(&Rec(&[
                    f("index", I32),
                    f("error_code", I16),
                    f("base_offset", I64),
                    f("log_append_time_ms", I64),
                    f("log_start_offset", I64).from(5),
                    f(
                        "record_errors",
                        Arr(&Rec(&[
                            f("batch_index", I32).from(8),
                            f("batch_index_error_message", Str).from(8).nullable(),
                        ])),
                    )
                    .from(8),
                    f("error_message", Str).from(8).nullable(),
                    f(
                        "current_leader",
                        Rec(&[
                            f("leader_id", I32).from(10),
                            f("leader_epoch", I32).from(10),
                        ]),
                    )
                    .tag(10, 0),
                ])),
            ),
        ])),
    ),
    f("throttle_time_ms", I32),
    f(
        "node_endpoints",
        Arr(&Rec(&[
            f("node_id", I32).from(10),
            f("host", Str).from(10),
            f("port", I32).from(10),
            f("rack", Str).from(10).nullable(),
        ])),
    )
    .tag(10, 0),
];

const FETCH_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f("error_code", I16).from(7),
    f("session_id", I32).from(7),
    f(
        "responses",
        Arr(&Rec(&[
            f("topic", Str).within(0, 12),
            f("topic_id", Uuid).from(13),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition_index", I32),
                    f("error_code", I16),
                    f("high_watermark", I64),
                    f("last_stable_offset", I64),
                    f("log_start_offset", I64).from(5),
                    f(
                        "aborted_transactions",
                        Arr(&Rec(&[f("producer_id", I64), f("first_offset", I64)])),
                    )
                    .nullable(),
                    f("preferred_read_replica", I32).from(11),
                    f("records", Bin).nullable(),
                    f(
                        "diverging_epoch",
                        Rec(&[f("epoch", I32).from(12), f("end_offset", I64).from(12)]),
                    )
                    .tag(0, 0),
                    f(
                        "current_leader",
                        Rec(&[
                            f("leader_id", I32).from(12),
                            f("leader_epoch", I32).from(12),
                        ]),
                    )
                    .tag(0, 1),
                    f("snapshot_id", Rec(&[f("end_offset", I64), f("epoch", I32)])).tag(0, 2),
                ])),
            ),
        ])),
    ),
    f(
        "node_endpoints",
        Arr(&Rec(&[
            f("node_id", I32).from(16),
            f("host", Str).from(16),
            f("port", I32).from(16),
            f("rack", Str).from(16).nullable(),
        ])),
    )
    .tag(16, 0),
];

const LIST_OFFSETS_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(2),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition_index", I32),
                    f("error_code", I16),
                    f("timestamp", I64),
                    f("offset", I64),
                    f("leader_epoch", I32).from(4),
                ])),
            ),
        ])),
    ),
];

const METADATA_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(3),
    f(
        "brokers",
        Arr(&Rec(&[
            f("node_id", I32),
            f("host", Str),
            f("port", I32),
            f("rack", Str).from(1).nullable(),
        ])),
    ),
    f("cluster_id", Str).from(2).nullable(),
    f("controller_id", I32).from(1),
    f(
        "topics",
        Arr(&Rec(&[
            f("error_code", I16),
            f("name", Str).nullable(),
            f("topic_id", Uuid).from(10),
            f("is_internal", Bool).from(1),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("error_code", I16),
                    f("partition_index", I32),
                    f("leader_id", I32),
                    f("leader_epoch", I32).from(7),
                    f("replica_nodes", Arr(&I32)),
                    f("isr_nodes", Arr(&I32)),
                    f("offline_replicas", Arr(&I32)).from(5),
                ])),
            ),
            f("topic_authorized_operations", I32).from(8),
        ])),
    ),
    f("cluster_authorized_operations", I32).within(8, 10),
    f("error_code", I16).from(13),
];

const API_VERSIONS_RESPONSE: Fields = &[
    f("error_code", I16),
    f(
        "api_keys",
        Arr(&Rec(&[
            f("api_key", I16),
            f("min_version", I16),
            f("max_version", I16),
        ])),
    ),
    f("throttle_time_ms", I32).from(1),
    f(
        "supported_features",
        Arr(&Rec(&[
            f("name", Str).from(3),
            f("min_version", I16).from(3),
            f("max_version", I16).from(3),
        ])),
    )
    .tag(0, 0),
    f("finalized_features_epoch", I64).tag(0, 1),
    f(
        "finalized_features",
        Arr(&Rec(&[
            f("name", Str).from(3),
            f("max_version_level", I16).from(3),
            f("min_version_level", I16).from(3),
        ])),
    )
    .tag(0, 2),
    f("zk_migration_ready", Bool).tag(0, 3),
];

const CREATE_TOPICS_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str),
            f("topic_id", Uuid).from(7),
            f("error_code", I16),
            f("error_message", Str).nullable(),
            f("num_partitions", I32).from(5),
            f("replication_factor", I16).from(5),
            f(
                "configs",
                Arr(&Rec(&[
                    f("name", Str).from(5),
                    f("value", Str).from(5).nullable(),
                    f("read_only", Bool).from(5),
                    f("config_source", I8).from(5),
                    f("is_sensitive", Bool).from(5),
                ])),
            )
            .from(5)
            .nullable(),
            f("topic_config_error_code", I16).tag(0, 0),
        ])),
    ),
];

const DELETE_TOPICS_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f(
        "responses",
        Arr(&Rec(&[
            f("name", Str).nullable(),
            f("topic_id", Uuid).from(6),
            f("error_code", I16),
            f("error_message", Str).from(5).nullable(),
        ])),
    ),
];

const INIT_PRODUCER_ID_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f("error_code", I16),
    f("producer_id", I64),
    f("producer_epoch", I16),
    f("ongoing_txn_producer_id", I64).from(6),
    f("ongoing_txn_producer_epoch", I16).from(6),
];

const OFFSET_FOR_LEADER_EPOCH_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f(
        "topics",
        Arr(&Rec(&[
            f("topic", Str),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("error_code", I16),
                    f("partition", I32),
                    f("leader_epoch", I32),
                    f("end_offset", I64),
                ])),
            ),
        ])),
    ),
];

const DESCRIBE_CONFIGS_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f(
        "results",
        Arr(&Rec(&[
            f("error_code", I16),
            f("error_message", Str).nullable(),
            f("resource_type", I8),
            f("resource_name", Str),
            f(
                "configs",
                Arr(&Rec(&[
                    f("name", Str),
                    f("value", Str).nullable(),
                    f("read_only", Bool),
                    f("config_source", I8),
                    f("is_sensitive", Bool),
                    f(
                        "synonyms",
                        Arr(&Rec(&[
                            f("name", Str),
                            f("value", Str).nullable(),
                            f("source", I8),
                        ])),
                    ),
                    f("config_type", I8).from(3),
                    f("documentation", Str).from(3).nullable(),
                ])),
            ),
        ])),
    ),
];

const DESCRIBE_CLUSTER_RESPONSE: Fields = &[
    f("throttle_time_ms", I32),
    f("error_code", I16),
    f("error_message", Str).nullable(),
    f("endpoint_type", I8).from(1),
    f("cluster_id", Str),
    f("controller_id", I32),
    f(
        "brokers",
        Arr(&Rec(&[
            f("broker_id", I32),
            f("host", Str),
            f("port", I32),
            f("rack", Str).nullable(),
            f("is_fenced", Bool).from(2),
        ])),
    ),
    f("cluster_authorized_operations", I32),
];
