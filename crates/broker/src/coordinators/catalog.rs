//! The metadata machine on `__cluster_metadata`: opened first, published to everything else.

use crate::{
    clock::Clock,
    journal::{JournalError, PartitionJournal},
    partitions::{Partitions, Unavailable, internal_log},
    replicated::{Host, NoReply, RebuildError, Replicated, Submit},
};
use gnomon_catalog::{Action, Catalog, Event, Image, Reply, Settings, Soft};
use gnomon_partition::{PartitionId, Replica, Role, Settings as LogSettings, Writers};
use gnomon_protocol::ids::{LeaderEpoch, Uuid};
use std::sync::{Arc, OnceLock};
use tokio::{sync::mpsc, task::JoinHandle};

/// The metadata log's name.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The metadata log's topic id, the same in every cluster, as in Kafka.
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// The metadata log's only partition.
pub const METADATA_PARTITION: PartitionId = PartitionId { topic_id: METADATA_TOPIC_ID, index: 0 };

/// The running catalog.
#[derive(Clone)]
pub struct CatalogHandle {
    submit: Submit<Catalog>,
    partitions: Arc<Partitions>,
}

impl CatalogHandle {
    /// The image as of the last durable change.
    pub fn image(&self) -> Arc<Image> {
        self.partitions.image()
    }

    /// Asks for a change; answered when it is durable and published.
    pub async fn submit(&self, event: Event) -> Result<Reply, NoReply> {
        self.submit.submit(event).await
    }
}

/// Called with each published image, after the partitions have their roles.
pub type Published = Box<dyn Fn(Arc<Image>) + Send + Sync>;

/// What the catalog's machine is embedded in.
pub struct CatalogHost {
    partitions: Arc<Partitions>,
    published: Arc<OnceLock<Published>>,
    actions: mpsc::UnboundedSender<Action>,
    failed: mpsc::UnboundedSender<String>,
    settings: Settings,
}

impl Host<Catalog> for CatalogHost {
    type Snapshot = Arc<Image>;

    fn fresh(&self) -> Soft {
        Soft::new(self.settings.clone())
    }

    fn capture(&self, durable: &Image) -> Arc<Image> {
        Arc::new(durable.clone())
    }

    fn publish(&self, image: Arc<Image>) {
        self.partitions.apply(image.clone());
        if let Some(published) = self.published.get() {
            published(image);
        }
    }

    fn act(&self, action: Action) {
        // The receiver is gone only when the broker stops; `led` issues the action again at the next start.
        let _ = self.actions.send(action);
    }

    fn lost(&self, error: JournalError) {
        // As above.
        let _ = self.failed.send(format!(
            "{error}; nothing can be trusted to be recorded any more. Start the site again: it recovers what is on the disk"
        ));
    }
}

/// What the catalog's surroundings are made of.
pub struct Surroundings {
    /// Where the log lies, and what follows the image.
    pub partitions: Arc<Partitions>,
    /// Set once the links are there.
    pub published: Arc<OnceLock<Published>>,
    /// Where actions go. Bounded by what the machine has under way: one a topic.
    pub actions: mpsc::UnboundedSender<Action>,
    /// Where the end of the process is asked for.
    pub failed: mpsc::UnboundedSender<String>,
}

/// The catalog cannot be brought up.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Its log cannot be opened.
    #[error("cannot open {METADATA_TOPIC}: {0}")]
    Open(#[from] Unavailable),
    /// Its log cannot be replayed.
    #[error("cannot rebuild the site's metadata: {0}")]
    Rebuild(#[from] RebuildError),
}

/// Rebuilds the catalog and starts it.
pub fn start(around: Surroundings, settings: Settings, clock: Clock) -> Result<(CatalogHandle, JoinHandle<()>), CatalogError> {
    let Surroundings { partitions, published, actions, failed } = around;
    let log = LogSettings {
        log: internal_log(),
        message_bytes_max: i32::MAX,
        retention_ms: None,
        retention_bytes: None,
        ..LogSettings::named(METADATA_TOPIC)
    };
    let role = |incarnation: u64| Role {
        replica: Replica::Leader(LeaderEpoch(i32::try_from(incarnation).unwrap_or(i32::MAX))),
        writers: Writers::Site,
    };
    let handle = partitions.open(METADATA_PARTITION, role(0), log)?;
    let host = CatalogHost { partitions: partitions.clone(), published, actions, failed, settings };
    // Its own epoch is recorded in itself: a lost one ends the process.
    let journal = PartitionJournal::new(METADATA_TOPIC.into(), handle.clone(), None);
    let machine = Replicated::<Catalog, _, _>::rebuild(journal, host, clock)?;
    // Offsets that power loss took back are not used again under the same epoch.
    handle.set_role(role(machine.durable().incarnation + 1));
    let (submit, run) = machine.start();
    Ok((CatalogHandle { submit, partitions }, tokio::spawn(run)))
}
