//! Every queue, table and size of the broker has its maximum here, so that no client decides how
//! much memory we use.

use std::time::Duration;

/// Connections at once over all listeners, fewer where few files may be open; the next one is
/// closed.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Half of the files that may be open is for logs. Of the other half, up to half of this number is
/// kept for links, the admin address and the process itself; the rest is for connections.
pub const FILES_KEPT: usize = 64;

/// Requests of one connection that wait for durability while later ones are read.
pub const PIPELINE_MAX: usize = 64;

/// A connection without a request for this long is closed (`connections.max.idle.ms`).
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(600);

/// Bytes of a receive buffer before anything is known of the request.
pub const RECEIVE_BYTES_MIN: usize = 8 << 10;

/// A receive buffer grows at most by this much ahead of what has arrived, or by doubling.
pub const RECEIVE_AHEAD_BYTES_MAX: usize = 512 << 10;

/// As much is received at once while nothing is known of the request: one that is as large as most
/// clients make them.
pub const RECEIVE_FIRST_BYTES_MAX: usize = 1 << 20;

/// The largest receive buffer that a thread keeps for its next connection: two such requests and
/// some more.
pub const RECEIVE_SPARE_BYTES_MAX: usize = 3 << 20;

/// Largest request by default (`socket.request.max.bytes`).
pub const REQUEST_BYTES_MAX: usize = 100 << 20;

/// Largest answer to one fetch, whatever the client allows.
pub const FETCH_BYTES_MAX: usize = 55 << 20;

/// Longest a fetch or a produce may wait, whatever the client asks.
pub const WAIT_MAX: Duration = Duration::from_secs(300);

/// How long a question may wait for a shadow's source to be asked; long polls wait as long as they
/// do anyway.
pub const SOURCE_ANSWER_WAIT_MAX: Duration = Duration::from_millis(500);

/// Partitions of which one connection remembers what it asked of their sources.
pub const QUERIES_PER_CONNECTION_MAX: usize = 4_096;

/// Fetch sessions kept (`max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS_MAX: usize = 1_000;

/// Partitions that all sessions remember together; a client that would go beyond goes on without a
/// session, with longer requests.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 1 << 20;

/// Partitions that one session remembers: an eighth of the table.
pub const FETCH_SESSION_PARTITIONS_EACH_MAX: usize = 1 << 17;

/// Elements of a request that a handler goes through before it lets the other tasks of its thread
/// run: a fraction of a millisecond's work.
pub const YIELD_EVERY: usize = 256;

/// Partitions of one produce request that are written without a break; more are written in parts.
pub const PRODUCE_PARTITIONS_AT_ONCE_MAX: usize = 4_096;

/// A request body of this size and more is decoded, and its response encoded, on a thread for
/// blocking work: an honest one is smaller, but for the assignments of a large group.
pub const DECODE_HERE_BYTES_MAX: usize = 64 << 10;

/// A fetch that waits looks at its partitions again at most once a millisecond for each so many of
/// them.
pub const FETCH_PARTITIONS_PER_MS: usize = 256;

/// Topics of one CreateTopics request. Kafka bounds the records that one request may write
/// (`QuorumController.MAX_RECORDS_PER_USER_OP`) to the same number.
pub const CREATE_TOPICS_MAX: usize = 10_000;

/// Topics that one Metadata request creates; the client asks again for the rest.
pub const AUTO_CREATE_TOPICS_MAX: usize = 1_000;

/// Members or partitions of one request that a group's machine handles in one step; a larger
/// request is several steps.
pub const GROUP_STEP_ELEMENTS_MAX: usize = 4_096;

/// A session unused for this long may make room for a new one
/// (`min.incremental.fetch.session.eviction.ms`).
pub const FETCH_SESSION_IDLE: Duration = Duration::from_secs(120);

pub const PARTITIONS_PER_TOPIC_MAX: i32 = 100_000;

/// Largest body of an admin request.
pub const ADMIN_BODY_BYTES_MAX: usize = 1 << 20;

/// Largest header of an admin request.
pub const ADMIN_HEADER_BYTES_MAX: usize = 64 << 10;

/// Connections of the admin address at once; the next ones wait until one ends.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// How long the header of an admin request may take to arrive, from the end of the response before.
pub const ADMIN_HEADER_MAX: Duration = Duration::from_secs(10);

/// How long the body of an admin request may take to arrive.
pub const ADMIN_BODY_MAX: Duration = Duration::from_secs(10);

/// How long a connection of the admin address takes requests. A failover may take minutes, and its
/// request has as long again.
pub const ADMIN_CONNECTION_MAX: Duration = Duration::from_secs(300);

/// How long a connection that its peer has closed stays for what is under way on it.
pub const FINISH_MAX: Duration = Duration::from_secs(5);
