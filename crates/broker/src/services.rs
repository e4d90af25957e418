//! The services that request handlers call. They are made at the start and shared by all
//! connections; a handler takes the few that it needs.

use crate::{
    config::Config,
    coordinators::{groups::Groups, producer_ids::ProducerIds},
    fetch_sessions::FetchSessions,
    links::Links,
    random::Random,
    traffic::Traffic,
};
use gnomon_driver::Clock;
use gnomon_host::{Metadata, Partitions};
use std::sync::Arc;

/// Everything that handlers can call.
pub struct Services {
    /// The site's configuration.
    pub config: Config,
    /// The only clock.
    pub clock: Clock,
    /// Where new ids come from.
    pub random: Random,
    /// The metadata machine and its image.
    pub metadata: Metadata,
    /// Every partition.
    pub partitions: Arc<Partitions>,
    pub groups: Groups,
    /// New producer ids.
    pub producer_ids: ProducerIds,
    /// The fetch sessions of clients.
    pub fetch_sessions: FetchSessions,
    /// Shadow links.
    pub links: Arc<Links>,
    /// Counters of requests and connections.
    pub traffic: Arc<Traffic>,
}
