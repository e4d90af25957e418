//! The surroundings of a site: disk, network, clock, randomness, and the threads for blocking work.
//! The operating system's, or simulated ones on a single thread.
//!
//! Invariant: nothing below the binary reaches for any of these by itself, so that one seed decides
//! everything that happens to a simulated site.

use crate::{net::network::Network, random::Random};
use gnomon_client::Tcp;
use gnomon_driver::WallClock;
use gnomon_partition::Blocking;
use gnomon_storage::Disk;
use std::sync::Arc;

/// Threads that flush partitions in parallel.
const FLUSH_THREADS: usize = 4;

/// Everything that a site needs from outside.
pub struct Environment {
    /// Holds everything durable.
    pub disk: Arc<dyn Disk>,
    /// Where the site listens, and how it reaches others.
    pub network: Arc<dyn Network>,
    /// Where work runs that may wait for the disk.
    pub blocking: Blocking,
    /// Where wall time comes from.
    pub wall: WallClock,
    /// Where ids and jitter come from.
    pub random: Random,
}

impl Environment {
    /// The operating system's, over any disk.
    pub fn real(disk: Arc<dyn Disk>) -> Environment {
        Environment {
            disk,
            network: Arc::new(Tcp),
            blocking: Blocking::Pool {
                threads: FLUSH_THREADS,
            },
            wall: WallClock::System,
            random: Random::System,
        }
    }
}
