//! The operations that a client may do on a resource, as responses tell them to clients that ask
//! (KIP-430): one bit for each operation, at the position of its code in an ACL.
//!
//! There is no authorizer yet, so every operation that the kind of resource supports is allowed, as
//! in Kafka without an authorizer.

/// The operations were not asked for. The schema's default.
pub const NOT_ASKED: i32 = i32::MIN;

/// Codes of operations, from Kafka's `AclOperation`.
const READ: u32 = 3;
const WRITE: u32 = 4;
const CREATE: u32 = 5;
const DELETE: u32 = 6;
const ALTER: u32 = 7;
const DESCRIBE: u32 = 8;
const CLUSTER_ACTION: u32 = 9;
const DESCRIBE_CONFIGS: u32 = 10;
const ALTER_CONFIGS: u32 = 11;
const IDEMPOTENT_WRITE: u32 = 12;

/// Operations on a topic.
pub const TOPIC: i32 = bits(&[
    READ,
    WRITE,
    CREATE,
    DELETE,
    ALTER,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    ALTER_CONFIGS,
]);

/// Operations on a group.
pub const GROUP: i32 = bits(&[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]);

/// Operations on the cluster.
pub const CLUSTER: i32 = bits(&[
    CREATE,
    ALTER,
    DESCRIBE,
    CLUSTER_ACTION,
    DESCRIBE_CONFIGS,
    ALTER_CONFIGS,
    IDEMPOTENT_WRITE,
]);

const fn bits(operations: &[u32]) -> i32 {
    let (mut bits, mut next) = (0, 0);
    while next < operations.len() {
        bits |= 1 << operations[next];
        next += 1;
    }
    bits
}

/// The field's value in a response.
pub const fn if_asked(asked: bool, operations: i32) -> i32 {
    if asked { operations } else { NOT_ASKED }
}
