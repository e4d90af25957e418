//! Shadow links of this site: the running links, and what an operator and a client may ask of them.
//!
//! Not here: copying, discovery, lag (`gnomon_replication`), the rules of links (`gnomon_links`), and
//! topics' owners (`gnomon_catalog`).

mod actions;
mod files;
mod secrets;
mod site_view;

pub use actions::Actions;
pub use files::{LinkFileError, read_link_file};

use crate::{coordinators::groups::Groups, random::Random};
use gnomon_catalog::{Action, Link};
use gnomon_client::Net;
use gnomon_driver::Clock;
use gnomon_host::{Metadata, Partitions};
use gnomon_links::{LinkConfig, LinkStatus, loss::Loss};
use gnomon_partition::PartitionId;
use gnomon_replication::{
    LinkService,
    source::{Connect, kafka::KafkaConnect},
};
use parking_lot::Mutex;
use site_view::SiteView;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::timeout;

/// The source of a link counts as lost if it does not answer within this time.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The links of this site.
pub struct Links {
    metadata: Metadata,
    service: LinkService,
    sources: Arc<KafkaConnect>,
    /// By link: the settings in which its file differs from the link as it is recorded, found at
    /// the start.
    file_differs: Mutex<BTreeMap<String, Vec<String>>>,
}

/// The parts of the site that links work with.
pub struct LinkParts {
    /// The links that are recorded, and their topics.
    pub metadata: Metadata,
    /// The shadows.
    pub partitions: Arc<Partitions>,
    /// The groups whose offsets are synced.
    pub groups: Groups,
    /// The present time.
    pub clock: Clock,
    /// Where jitter and ids come from.
    pub random: Random,
}

impl Links {
    /// No link runs before [`Links::run`]. Sources are reached over `network` and told this site's
    /// name.
    pub fn new(parts: LinkParts, network: Arc<dyn Net>, site_name: &str) -> Links {
        let sources = Arc::new(KafkaConnect::over(network, site_name));
        Links {
            metadata: parts.metadata.clone(),
            service: LinkService::new(Arc::new(SiteView(parts)), sources.clone()),
            sources,
            file_differs: Mutex::default(),
        }
    }

    /// From now on the links that are recorded run.
    pub fn run(self: &Arc<Links>) {
        let follower = Arc::downgrade(self);
        self.metadata.follow(move |_, image| {
            if let Some(links) = follower.upgrade() {
                links.service.reconcile(image);
            }
        });
        self.service.reconcile(&self.metadata.image());
    }

    /// A client asked for a topic that does not exist here. If a link claims its name, the link
    /// looks for it at the source now.
    pub fn wake_discovery(&self, name: &str) {
        if let Some(link) = self.metadata.image().claims(name) {
            self.service.wake_discovery(link.id);
        }
    }

    /// A client waits for the answer of a shadow's source: the source is asked soon. False: it does
    /// not answer now.
    pub fn ask_source(&self, id: PartitionId) -> bool {
        self.service.ask_source(id.topic_id, id.index)
    }

    /// An operator's view of every link.
    pub fn statuses(&self) -> Vec<LinkStatus> {
        let image = self.metadata.image();
        let links = image.links.values();
        links.filter_map(|link| self.status(link)).collect()
    }

    /// An operator's view of a link; `None` for one that does not run yet.
    pub fn status(&self, link: &Link) -> Option<LinkStatus> {
        let file_differs = self.file_differs.lock().get(link.name()).cloned();
        Some(LinkStatus {
            file_differs: file_differs.unwrap_or_default(),
            ..self.service.status(link.id)?
        })
    }

    /// The loss by a failover of these topics, or of all; `None` for a link that does not run yet.
    pub async fn loss(&self, link: &Link, topics: Option<&[String]>) -> Option<Loss> {
        self.service.loss(link.id, topics).await
    }

    /// Whether the source that `config` names answers: a link that a command makes must reach it.
    pub async fn try_source(&self, config: &LinkConfig) -> Result<(), String> {
        let source = self.sources.connect(config);
        match source.contact().await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "the source of link '{}' does not answer: {error}",
                config.name
            )),
        }
    }

    /// Whether the source of a link answers within [`ANSWER_MAX`].
    pub async fn source_answers(&self, config: &LinkConfig) -> bool {
        timeout(ANSWER_MAX, self.try_source(config))
            .await
            .is_ok_and(|tried| tried.is_ok())
    }

    /// Begins the part of a failover that reaches into partitions and groups.
    fn carry_out(&self, action: Action) {
        self.service.carry_out(action);
    }

    /// Ends every link.
    pub async fn shutdown(&self) {
        self.service.shutdown().await;
    }
}
