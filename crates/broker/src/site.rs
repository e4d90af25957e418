//! What a request may touch: the broker's parts, made at the start and shared by every connection.

use crate::{
    api::fetch::session::Sessions,
    clock::Clock,
    config::Config,
    coordinators::{catalog::CatalogHandle, groups::GroupCoordinators, producer_ids::ProducerIds},
    partitions::Partitions,
    world::Chance,
};
use gnomon_client::Net;
use gnomon_partition::PartitionId;
use gnomon_protocol::ids::Uuid;
use gnomon_replication::LinkService;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// One running site.
pub struct Site {
    /// What it was told at its start.
    pub config: Config,
    /// The only clock.
    pub clock: Clock,
    /// Where ids and jitter come from.
    pub chance: Chance,
    /// How links reach their sources.
    pub net: Arc<dyn Net>,
    /// The metadata machine.
    pub catalog: CatalogHandle,
    /// Every partition.
    pub partitions: Arc<Partitions>,
    /// Consumer groups.
    pub groups: GroupCoordinators,
    /// Fresh producer ids.
    pub producer_ids: ProducerIds,
    /// What clients have asked for before.
    pub fetch_sessions: Sessions,
    /// Shadow links; set before the first connection is accepted.
    pub links: OnceLock<LinkService>,
    /// By link: where its file says something else than what it works with, found at the start.
    pub link_file_differs: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Site {
    /// The cluster id, stable for the life of the data directory.
    pub fn cluster_id(&self) -> String {
        self.catalog.image().cluster_id().to_owned()
    }

    /// An id that nobody had.
    pub fn fresh_id(&self) -> Uuid {
        self.chance.id()
    }

    /// A client asked for a topic that a link claims: look for it at the source now.
    pub fn wake_discovery(&self, name: &str) {
        let image = self.catalog.image();
        if let (Some(links), Some(link)) = (self.links.get(), image.claims(name)) {
            links.wake_discovery(link.id);
        }
    }

    /// A client waits for the word of a shadow's source: it is asked for soon. False: the source
    /// does not answer now.
    pub fn ask_source(&self, id: PartitionId) -> bool {
        self.links
            .get()
            .is_some_and(|links| links.ask_source(id.topic_id, id.index))
    }
}
