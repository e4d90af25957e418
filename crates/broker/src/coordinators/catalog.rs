//! The metadata machine on `__cluster_metadata`: opened first, published to everything else.

use crate::{
    clock::Clock,
    essential,
    journal::{JournalError, PartitionJournal},
    partitions::{Partitions, Unavailable, internal_log},
    replicated::{Host, NoReply, RebuildError, Replicated, Submit},
};
use gnomon_catalog::{Action, Catalog, Event, Image, Reply, Settings, Soft};
use gnomon_partition::{PartitionId, Replica, Role, Settings as LogSettings, Writers};
use gnomon_protocol::ids::{LeaderEpoch, Uuid};
use std::{
    io,
    sync::{Arc, OnceLock},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// The metadata log's name.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The metadata log's topic id, the same in every cluster, as in Kafka.
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// The metadata log's only partition.
pub const METADATA_PARTITION: PartitionId = PartitionId {
    topic_id: METADATA_TOPIC_ID,
    index: 0,
};

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
        // The receiver is gone only when the broker stops; `led` issues the action again at the
        // next start.
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
    /// The data directory cannot be looked through.
    #[error("cannot look for partitions: {0}")]
    Look(#[source] io::Error),
    /// There are data, and nothing that says whose they are: as files of deleted topics they would
    /// be removed.
    #[error(
        "{METADATA_TOPIC} is empty or missing, but there are files of {partitions} partitions beside it. Bring its folder back, or give an empty data          directory; this one would be taken for a new site's, and the files for those of deleted topics"
    )]
    Missing {
        /// How many there are.
        partitions: usize,
    },
}

/// Rebuilds the catalog and starts it.
pub fn start(
    around: Surroundings,
    settings: Settings,
    clock: Clock,
) -> Result<(CatalogHandle, JoinHandle<()>), CatalogError> {
    let Surroundings {
        partitions,
        published,
        actions,
        failed,
    } = around;
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
    let fail = failed.clone();
    let host = CatalogHost {
        partitions: partitions.clone(),
        published,
        actions,
        failed,
        settings,
    };
    // Its own epoch is recorded in itself: a lost one ends the process.
    let journal = PartitionJournal::new(METADATA_TOPIC.into(), handle.clone(), None);
    let machine = Replicated::<Catalog, _, _>::rebuild(journal, host, clock)?;
    if machine.durable().site.is_none() {
        match partitions.count_on_disk().map_err(CatalogError::Look)? {
            0 => {}
            partitions => return Err(CatalogError::Missing { partitions }),
        }
    }
    // Offsets that power loss took back are not used again under the same epoch.
    handle.set_role(role(machine.durable().incarnation + 1));
    let (submit, run) = machine.start();
    Ok((
        CatalogHandle { submit, partitions },
        essential::spawn("the metadata machine", &fail, run),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use bytes::Bytes;
    use gnomon_catalog::{Register, SiteDefaults};
    use gnomon_machine::EncodedRecord;
    use gnomon_partition::{Blocking, Env, Flusher};
    use gnomon_storage::{Boot, MemDisk};
    use std::path::PathBuf;

    fn partitions(disk: &MemDisk) -> Arc<Partitions> {
        let flusher = Flusher::start(Blocking::Pool { threads: 1 }).expect("a flusher");
        let env = Env {
            disk: Arc::new(disk.clone()),
            flusher,
            boot: Boot::Same,
            troubles: Default::default(),
            growing: Default::default(),
        };
        Arc::new(Partitions::new(
            env,
            PathBuf::from("/data"),
            0,
            SiteDefaults::default(),
        ))
    }

    /// One life of the catalog; gives its incarnation.
    async fn live(disk: &MemDisk) -> u64 {
        let (actions, _to_do) = mpsc::unbounded_channel();
        let (failed, _failures) = mpsc::unbounded_channel();
        let around = Surroundings {
            partitions: partitions(disk),
            published: Arc::default(),
            actions,
            failed,
        };
        let (catalog, task) = start(
            around,
            Settings::default(),
            Clock::start(crate::WallClock::System),
        )
        .expect("it starts");
        let register = Register {
            fresh_cluster_id: Uuid::from_u128(1),
            name: "a".into(),
            broker_id: 0,
            producer_tag: 1,
            owns: Vec::new(),
            endpoints: Vec::new(),
        };
        catalog
            .submit(Event::Register(register))
            .await
            .expect("registered");
        catalog.submit(Event::Incarnate).await.expect("incarnated");
        let incarnation = catalog.image().incarnation;
        drop(catalog);
        task.await.expect("a clean end");
        incarnation
    }

    /// A crash between the first and the last batch of a snapshot leaves its first marker. The next
    /// start says that it counts for nothing, and it says so under its own epoch.
    #[tokio::test]
    async fn a_snapshot_that_was_cut_short_does_not_stop_the_start() {
        let disk = MemDisk::new();
        let before = [live(&disk).await, live(&disk).await];
        assert_eq!(before, [1, 2]);
        let role = Role {
            replica: Replica::Leader(LeaderEpoch(2)),
            writers: Writers::Site,
        };
        let handle = partitions(&disk)
            .open(METADATA_PARTITION, role, LogSettings::named(METADATA_TOPIC))
            .expect("opened");
        let begin = EncodedRecord {
            key: Some(Bytes::from_static(b"GM\x01")),
            value: Some(Bytes::new()),
        };
        PartitionJournal::new(METADATA_TOPIC.into(), handle.clone(), None)
            .append(&[begin], 0)
            .expect("appended");
        handle.flush().await.expect("durable");
        drop(handle);
        assert_eq!([live(&disk).await, live(&disk).await], [3, 4]);
    }
}
