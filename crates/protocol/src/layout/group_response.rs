//! The fields of the responses of consumer groups and committed offsets, as [`super::response`]
//! describes them.

use super::{
    Fields,
    Kind::{Arr, Bin, Bool, I16, I32, I64, Rec, Str, Uuid},
    f,
};

pub(super) const OFFSET_COMMIT_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(3),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str).within(0, 9),
            f("topic_id", Uuid).from(10),
            f(
                "partitions",
                Arr(&Rec(&[f("partition_index", I32), f("error_code", I16)])),
            ),
        ])),
    ),
];

pub(super) const OFFSET_FETCH_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(3),
    f(
        "topics",
        Arr(&Rec(&[
            f("name", Str).within(0, 7),
            f(
                "partitions",
                Arr(&Rec(&[
                    f("partition_index", I32).within(0, 7),
                    f("committed_offset", I64).within(0, 7),
                    f("committed_leader_epoch", I32).within(5, 7),
                    f("metadata", Str).within(0, 7).nullable(),
                    f("error_code", I16).within(0, 7),
                ])),
            )
            .within(0, 7),
        ])),
    )
    .within(0, 7),
    f("error_code", I16).within(2, 7),
    f(
        "groups",
        Arr(&Rec(&[
            f("group_id", Str).from(8),
            f(
                "topics",
                Arr(&Rec(&[
                    f("name", Str).within(8, 9),
                    f("topic_id", Uuid).from(10),
                    f(
                        "partitions",
                        Arr(&Rec(&[
                            f("partition_index", I32).from(8),
                            f("committed_offset", I64).from(8),
                            f("committed_leader_epoch", I32).from(8),
                            f("metadata", Str).from(8).nullable(),
                            f("error_code", I16).from(8),
                        ])),
                    )
                    .from(8),
                ])),
            )
            .from(8),
            f("error_code", I16).from(8),
        ])),
    )
    .from(8),
];

pub(super) const FIND_COORDINATOR_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(1),
    f("error_code", I16).within(0, 3),
    f("error_message", Str).within(1, 3).nullable(),
    f("node_id", I32).within(0, 3),
    f("host", Str).within(0, 3),
    f("port", I32).within(0, 3),
    f(
        "coordinators",
        Arr(&Rec(&[
            f("key", Str).from(4),
            f("node_id", I32).from(4),
            f("host", Str).from(4),
            f("port", I32).from(4),
            f("error_code", I16).from(4),
            f("error_message", Str).from(4).nullable(),
        ])),
    )
    .from(4),
];

pub(super) const JOIN_GROUP_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(2),
    f("error_code", I16),
    f("generation_id", I32),
    f("protocol_type", Str).from(7).nullable(),
    f("protocol_name", Str).nullable(),
    f("leader", Str),
    f("skip_assignment", Bool).from(9),
    f("member_id", Str),
    f(
        "members",
        Arr(&Rec(&[
            f("member_id", Str),
            f("group_instance_id", Str).from(5).nullable(),
            f("metadata", Bin),
        ])),
    ),
];

pub(super) const HEARTBEAT_RESPONSE: Fields =
    &[f("throttle_time_ms", I32).from(1), f("error_code", I16)];

pub(super) const LEAVE_GROUP_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(1),
    f("error_code", I16),
    f(
        "members",
        Arr(&Rec(&[
            f("member_id", Str).from(3),
            f("group_instance_id", Str).from(3).nullable(),
            f("error_code", I16).from(3),
        ])),
    )
    .from(3),
];

pub(super) const SYNC_GROUP_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(1),
    f("error_code", I16),
    f("protocol_type", Str).from(5).nullable(),
    f("protocol_name", Str).from(5).nullable(),
    f("assignment", Bin),
];

pub(super) const DESCRIBE_GROUPS_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(1),
    f(
        "groups",
        Arr(&Rec(&[
            f("error_code", I16),
            f("error_message", Str).from(6).nullable(),
            f("group_id", Str),
            f("group_state", Str),
            f("protocol_type", Str),
            f("protocol_data", Str),
            f(
                "members",
                Arr(&Rec(&[
                    f("member_id", Str),
                    f("group_instance_id", Str).from(4).nullable(),
                    f("client_id", Str),
                    f("client_host", Str),
                    f("member_metadata", Bin),
                    f("member_assignment", Bin),
                ])),
            ),
            f("authorized_operations", I32).from(3),
        ])),
    ),
];

pub(super) const LIST_GROUPS_RESPONSE: Fields = &[
    f("throttle_time_ms", I32).from(1),
    f("error_code", I16),
    f(
        "groups",
        Arr(&Rec(&[
            f("group_id", Str),
            f("protocol_type", Str),
            f("group_state", Str).from(4),
            f("group_type", Str).from(5),
        ])),
    ),
];
