//! The metadata machine on `__cluster_metadata`: rebuilt first at a start, and published to
//! everything else.
//!
//! Invariant: readers see an image only when every record in it is durable.

use crate::{
    image::PublishedImage,
    layout::{METADATA_PARTITION, METADATA_TOPIC, partition_folder, partitions_on_disk},
    roles::internal_log,
};
use gnomon_catalog::{Action, Catalog, Event, Image, Reply, Settings, Soft};
use gnomon_driver::{
    Clock, Driver, JournalError, Leadership, NoReply, Owner, PartitionJournal, RebuildError,
    Submit, supervise::spawn_essential,
};
use gnomon_partition::{Env, Handle, OpenError, Replica, Role, Settings as LogSettings, Writers};
use gnomon_protocol::ids::LeaderEpoch;
use std::{io, path::Path, sync::Arc};
use tokio::{sync::mpsc, task::JoinHandle};

/// The running metadata machine.
#[derive(Clone)]
pub struct Metadata {
    submit: Submit<Catalog>,
    image: Arc<PublishedImage>,
}

impl Metadata {
    /// The image as of the last durable change.
    pub fn image(&self) -> Arc<Image> {
        self.image.load()
    }

    /// Has `follower` called with every image that is published from now on.
    pub fn follow(&self, follower: impl Fn(&Arc<Image>, &Arc<Image>) + Send + Sync + 'static) {
        self.image.follow(follower);
    }

    /// Asks for a change; answered when it is durable and published.
    pub async fn submit(&self, event: Event) -> Result<Reply, NoReply> {
        self.submit.submit(event).await
    }
}

/// The parts that the metadata machine is connected to.
pub struct MetadataParts {
    /// Where images are published.
    pub image: Arc<PublishedImage>,
    /// Where the machine's actions go. Bounded by the machine: one action for each topic.
    pub actions: mpsc::UnboundedSender<Action>,
    /// Where the end of the process is asked for.
    pub fail: mpsc::UnboundedSender<String>,
    /// The settings that the machine decides by.
    pub settings: Settings,
}

impl Owner<Catalog> for MetadataParts {
    type Snapshot = Arc<Image>;

    fn new_soft(&self) -> Soft {
        Soft::new(self.settings.clone())
    }

    fn capture(&self, durable: &Image) -> Arc<Image> {
        Arc::new(durable.clone())
    }

    fn publish(&self, image: Arc<Image>) {
        self.image.publish(image);
    }

    fn act(&self, action: Action) {
        // An error means that the broker stops; the machine issues the action again at the next
        // start.
        let _ = self.actions.send(action);
    }

    fn lost(&self, error: JournalError) {
        // As above.
        let _ = self.fail.send(format!(
            "{error}; no further change of the metadata can be recorded. Start the site again: it recovers from what is on the disk"
        ));
    }
}

/// The metadata machine cannot be brought up.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Its log cannot be opened.
    #[error("cannot open {METADATA_TOPIC}: {0}")]
    Open(#[from] OpenError),
    /// Its log cannot be replayed.
    #[error("cannot rebuild the site's metadata: {0}")]
    Rebuild(#[from] RebuildError),
    /// The data directory cannot be listed.
    #[error("cannot look for partitions: {0}")]
    List(#[source] io::Error),
    /// There are partitions, and no metadata that say whose they are: their files would be removed
    /// as those of deleted topics.
    #[error(
        "{METADATA_TOPIC} is empty or missing, but there are files of {partitions} partitions beside it. Restore its folder, or give an empty data directory: this one would be taken for that of a new site, and the files for those of deleted topics"
    )]
    Missing {
        /// How many partitions there are.
        partitions: usize,
    },
}

impl Metadata {
    /// Rebuilds the machine from its log below `data` and starts it.
    pub fn start(
        env: &Env,
        data: &Path,
        parts: MetadataParts,
        clock: Clock,
    ) -> Result<(Metadata, JoinHandle<()>), MetadataError> {
        let handle = open_log(env, data, 0)?;
        let (image, fail) = (parts.image.clone(), parts.fail.clone());
        // Without a way to open it again: its leader epoch is recorded in itself, so a lost log
        // ends the process.
        let journal = PartitionJournal::new(METADATA_TOPIC.into(), handle.clone(), None);
        let driver = Driver::<Catalog, _, _>::rebuild(journal, parts, clock)?;
        if driver.durable().site.is_none() {
            let found = partitions_on_disk(&*env.disk, data).map_err(MetadataError::List)?;
            if !found.is_empty() {
                return Err(MetadataError::Missing {
                    partitions: found.len(),
                });
            }
        }
        // Offsets that power loss took back are not used again under the same epoch.
        handle
            .control()
            .set_role(role(driver.durable().incarnation + 1));
        let (submit, run) = driver.start(Leadership::always());
        Ok((
            Metadata { submit, image },
            spawn_essential("the metadata machine", &fail, run),
        ))
    }
}

fn open_log(env: &Env, data: &Path, incarnation: u64) -> Result<Handle, OpenError> {
    let settings = LogSettings {
        log: internal_log(),
        message_bytes_max: i32::MAX,
        retention_ms: None,
        retention_bytes: None,
        ..LogSettings::named(METADATA_TOPIC)
    };
    let folder = partition_folder(data, METADATA_PARTITION);
    Handle::open(env, folder, METADATA_PARTITION, role(incarnation), settings)
}

fn role(incarnation: u64) -> Role {
    Role {
        replica: Replica::Leader(LeaderEpoch(i32::try_from(incarnation).unwrap_or(i32::MAX))),
        writers: Writers::Site,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use gnomon_catalog::Register;
    use gnomon_driver::{Journal, WallClock};
    use gnomon_machine::EncodedRecord;
    use gnomon_partition::{Blocking, Flusher};
    use gnomon_protocol::ids::Uuid;
    use gnomon_storage::{Boot, MemDisk};

    fn env(disk: &MemDisk) -> Env {
        Env {
            disk: Arc::new(disk.clone()),
            flusher: Flusher::start(Blocking::Pool { threads: 1 }).expect("a flusher"),
            boot: Boot::Same,
            troubles: Default::default(),
            reserved: Default::default(),
        }
    }

    /// Starts the machine, registers the site and stops; returns its incarnation.
    async fn start_once(disk: &MemDisk) -> u64 {
        let (actions, _to_do) = mpsc::unbounded_channel();
        let (fail, _failures) = mpsc::unbounded_channel();
        let parts = MetadataParts {
            image: Arc::default(),
            actions,
            fail,
            settings: Settings::default(),
        };
        let clock = Clock::start(WallClock::System);
        let (metadata, task) =
            Metadata::start(&env(disk), Path::new("/data"), parts, clock).expect("it starts");
        let register = Register {
            fresh_cluster_id: Uuid::from_u128(1),
            name: "a".into(),
            broker_id: 0,
            producer_tag: Some(1),
            owns: Vec::new(),
            endpoints: Vec::new(),
        };
        metadata
            .submit(Event::Register(register))
            .await
            .expect("registered");
        metadata.submit(Event::Incarnate).await.expect("incarnated");
        let incarnation = metadata.image().incarnation;
        drop(metadata);
        task.await.expect("a clean end");
        incarnation
    }

    /// A crash between the first and the last batch of a snapshot leaves its first marker. The next
    /// start abandons that snapshot, and it does so under its own epoch.
    #[tokio::test]
    async fn a_snapshot_that_was_cut_short_does_not_stop_the_start() {
        let disk = MemDisk::new();
        let before = [start_once(&disk).await, start_once(&disk).await];
        assert_eq!(before, [1, 2]);
        let handle = open_log(&env(&disk), Path::new("/data"), 2).expect("opened");
        let begin = EncodedRecord {
            key: Some(Bytes::from_static(b"GM\x01")),
            value: Some(Bytes::new()),
        };
        PartitionJournal::new(METADATA_TOPIC.into(), handle.clone(), None)
            .append(&[begin], 0)
            .expect("appended");
        handle.control().flush().await.expect("durable");
        drop(handle);
        assert_eq!([start_once(&disk).await, start_once(&disk).await], [3, 4]);
    }
}
