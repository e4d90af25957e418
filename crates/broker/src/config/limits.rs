//! Every queue, table and size of the broker has its maximum here, so that no client decides how much memory we use.

use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Connections at once over all listeners; the next one is closed.
const CONNECTIONS_MAX: usize = 10_000;

/// The same, less where the system gives few file handles: half of them are left for files.
pub fn connections_max() -> usize {
    let handles = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |handles| usize::try_from(handles).unwrap_or(usize::MAX));
    CONNECTIONS_MAX.min(handles / 2)
}

/// Requests of one connection that wait for durability while later ones are read.
pub const PIPELINE_MAX: usize = 64;

/// A connection without a request for this long is closed (`connections.max.idle.ms`).
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(600);

/// What a receive buffer holds before anything is known of the request.
pub const RECEIVE_BYTES_MIN: usize = 8 << 10;

/// A receive buffer grows at most by this much ahead of what has arrived.
pub const RECEIVE_AHEAD_BYTES_MAX: usize = 1 << 20;

/// Largest request by default (`socket.request.max.bytes`).
pub const REQUEST_BYTES_MAX: usize = 100 << 20;

/// Largest answer to one fetch, whatever the client allows.
pub const FETCH_BYTES_MAX: usize = 55 << 20;

/// Longest a fetch or a produce may wait, whatever the client asks.
pub const WAIT_MAX: Duration = Duration::from_secs(300);

/// Fetch sessions kept (`max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS_MAX: usize = 1_000;

/// A session unused for this long may make room for a new one (`min.incremental.fetch.session.eviction.ms`).
pub const FETCH_SESSION_IDLE: Duration = Duration::from_secs(120);

/// Partitions of one topic.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 100_000;

/// Largest body of an admin request.
pub const ADMIN_BODY_BYTES_MAX: usize = 1 << 20;

/// How long a stop waits for what is under way.
pub const STOP_MAX: Duration = Duration::from_secs(10);
