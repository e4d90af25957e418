//! (topic id, index) to handle: partitions are opened when they are first used, with the role that
//! the catalog image gives them.
//!
//! A role follows the published image: [`Partitions::apply`] swaps the image first and then goes
//! over the open partitions, and one that has been opened looks at the image once more under its
//! entry's lock; so whichever comes second sees the other. While a log is opened, which may have to
//! be recovered, requests for all other partitions go on, and however many wait for this one hold
//! no thread, if they can await it. Not here: what roles mean.

use crate::{
    coordinators::catalog::METADATA_PARTITION, data_dir::PARTITIONS_FOLDER,
    per_partition::PerPartition,
};
use arc_swap::ArcSwap;
use dashmap::{DashMap, Entry};
use gnomon_catalog::{
    Image, Partition as PartitionRecord, SiteDefaults, TimestampType, Topic, Writers as WritersView,
};
use gnomon_partition::{
    Env, Fence, Handle, LinkLabel, OpenError, PartitionId, ReopenError, Replica, Role, Settings,
    Writers,
};
use gnomon_protocol::ids::TopicId;
use gnomon_storage::LogOptions;
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, time::sleep};
use tracing::{debug, error, info, warn};

/// Why a partition cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// No topic has this name.
    #[error("there is no such topic")]
    UnknownTopic,
    /// No topic has this id.
    #[error("no topic has this id")]
    UnknownTopicId,
    /// The topic has fewer partitions.
    #[error("the topic has no such partition")]
    UnknownPartition,
    /// Its log cannot be opened.
    #[error(transparent)]
    Open(Arc<OpenError>),
    /// Its log is being opened, and whoever asked did not want to wait for longer.
    #[error("its log is still being opened")]
    Opening,
    /// Its log was not opened any more.
    #[error("the site is stopping")]
    Stopping,
}

/// Why a partition that a disk error closed is not open again.
#[derive(Debug, thiserror::Error)]
pub enum NotReopened {
    /// It is gone.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It cannot be opened now.
    #[error(transparent)]
    Reopen(#[from] ReopenError),
}

/// Segments of the site's own logs.
const INTERNAL_SEGMENT_BYTES: u64 = 4 << 20;

/// Space that each of the site's own logs holds ready: hundreds of commits, or of changes of the
/// metadata.
const INTERNAL_RESERVE_BYTES: u64 = 64 << 10;

/// Partitions that are opened at one time, at most: each may have to be recovered, and takes one of
/// the threads for blocking work.
const OPENINGS_MAX: u32 = 32;

/// Every partition that has been used.
pub struct Partitions {
    env: Env,
    folder: PathBuf,
    broker_id: i32,
    defaults: SiteDefaults,
    image: ArcSwap<Image>,
    open: DashMap<PartitionId, Handle>,
    /// Whose turn it is to open a partition, of those who can await it; and what has kept one of
    /// them from opening it, for those who waited meanwhile.
    turns: PerPartition<tokio::sync::Mutex<Option<Unavailable>>>,
    /// How many are opened at one time, by those who await it.
    openings: Arc<Semaphore>,
    /// A partition is opened, or its files are removed, under this.
    files: PerPartition<Mutex<()>>,
}

/// Where a partition's files lie, below a site's data directory: named by the topic's id, so that a
/// name can be used again.
pub fn partition_folder(data: &Path, id: PartitionId) -> PathBuf {
    data.join(PARTITIONS_FOLDER)
        .join(format!("{}-{}", id.topic_id.simple(), id.index))
}

impl Partitions {
    /// None is open yet.
    pub fn new(env: Env, folder: PathBuf, broker_id: i32, defaults: SiteDefaults) -> Partitions {
        Partitions {
            env,
            folder,
            broker_id,
            defaults,
            image: ArcSwap::default(),
            open: DashMap::new(),
            turns: PerPartition::default(),
            openings: Arc::new(Semaphore::new(OPENINGS_MAX as usize)),
            files: PerPartition::default(),
        }
    }

    /// The published image.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// What the site sets for topics that do not say.
    pub fn defaults(&self) -> &SiteDefaults {
        &self.defaults
    }

    /// A partition by its topic's name, opened if need be.
    pub async fn open_by_name(
        self: &Arc<Self>,
        name: &str,
        index: i32,
    ) -> Result<Handle, Unavailable> {
        self.open_by_id(self.id(name)?, index)
            .await
            .map_err(|unavailable| match unavailable {
                // Deleted since; who names no id knows no such error.
                Unavailable::UnknownTopicId => Unavailable::UnknownTopic,
                other => other,
            })
    }

    /// A partition by its topic's id, opened if need be: by the first who asks, on a thread for
    /// blocking work. Cancel safe: what has begun goes on.
    pub async fn open_by_id(
        self: &Arc<Self>,
        topic_id: TopicId,
        index: i32,
    ) -> Result<Handle, Unavailable> {
        let id = PartitionId { topic_id, index };
        if let Some(handle) = self.if_open(id) {
            return Ok(handle);
        }
        // What does not exist holds nobody up.
        self.published(id)?;
        let turn = self.turns.of(id);
        let mut ours = Arc::clone(&turn).lock_owned().await;
        if let Some(handle) = self.if_open(id) {
            return Ok(handle);
        }
        if let Some(failure) = &*ours {
            return Err(failure.clone());
        }
        let Ok(opening) = self.openings.clone().acquire_owned().await else {
            return Err(Unavailable::Stopping);
        };
        let partitions = self.clone();
        let opened = self.env.flusher.run(move || {
            let opened = partitions.first_use(id);
            *ours = opened.as_ref().err().cloned();
            // Whoever asked may have gone: the turn is over when the work is.
            drop((opening, ours, turn));
            opened
        });
        opened.await.unwrap_or(Err(Unavailable::Stopping))
    }

    /// From now on nobody who awaits it has a partition opened; returns when those under way are
    /// through.
    pub async fn stop_opening(&self) {
        // An error: closed before.
        let _all = self.openings.acquire_many(OPENINGS_MAX).await;
        self.openings.close();
    }

    /// A partition by its topic's id, opened if need be where it is called: for callers that cannot
    /// await it.
    pub fn by_id(&self, topic_id: TopicId, index: i32) -> Result<Handle, Unavailable> {
        let id = PartitionId { topic_id, index };
        if let Some(handle) = self.if_open(id) {
            return Ok(handle);
        }
        self.published(id)?;
        self.env.flusher.run_here(|| self.first_use(id))
    }

    /// A partition, if it is open.
    pub fn if_open(&self, id: PartitionId) -> Option<Handle> {
        self.open.get(&id).map(|handle| handle.clone())
    }

    /// The id of the topic that has this name.
    pub fn id(&self, name: &str) -> Result<TopicId, Unavailable> {
        self.image
            .load()
            .names
            .get(name)
            .copied()
            .ok_or(Unavailable::UnknownTopic)
    }

    /// Opens a partition, unless somebody else has just done it. Blocking.
    fn first_use(&self, id: PartitionId) -> Result<Handle, Unavailable> {
        let files = self.files.of(id);
        let _alone = files.lock();
        if let Some(handle) = self.if_open(id) {
            return Ok(handle);
        }
        let (role, settings) = self.published(id)?;
        let handle = self.open(id, role, settings)?;
        let entry = self.open.entry(id);
        // What was published meanwhile has passed it by.
        let (role, settings) = self.published(id)?;
        take_up(&handle, role, settings);
        Ok(entry.or_insert(handle).clone())
    }

    /// The role and the settings that the image gives a partition.
    fn published(&self, id: PartitionId) -> Result<(Role, Settings), Unavailable> {
        let image = self.image.load();
        let topic = image
            .topic(id.topic_id)
            .ok_or(Unavailable::UnknownTopicId)?;
        let record = topic
            .partition(id.index)
            .ok_or(Unavailable::UnknownPartition)?;
        Ok((
            role(&image, topic, record, self.broker_id),
            settings(topic, record, &self.defaults),
        ))
    }

    /// Opens a partition again that a disk error closed, and puts it in the place of `failed`.
    /// Blocking.
    pub fn reopen(&self, failed: &Handle) -> Result<Handle, NotReopened> {
        let id = failed.id();
        let files = self.files.of(id);
        let _alone = files.lock();
        let (role, settings) = self.published(id)?;
        let successor = failed.reopen(role, settings)?;
        match self.open.entry(id) {
            Entry::Occupied(mut entry) if entry.get().is(failed) => {
                // What was published meanwhile has reached its predecessor only.
                let (role, settings) = self.published(id)?;
                take_up(&successor, role, settings);
                entry.insert(successor.clone());
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {
                return Err(Unavailable::UnknownPartition.into());
            }
        }
        failed.succeeded_by(&successor);
        Ok(successor)
    }

    /// Partitions that a disk error closed and that no machine of the site writes: its driver looks
    /// after its own.
    pub fn failed(&self) -> Vec<Handle> {
        let failed =
            |handle: &Handle| handle.failed().is_some() && handle.role().writers != Writers::Site;
        self.open
            .iter()
            .filter(|entry| failed(entry.value()))
            .map(|entry| entry.value().clone())
            .collect()
    }

    /// Resolves when a disk error has closed a partition since the last call. Cancel safe.
    pub async fn trouble(&self) {
        self.env.troubles.next().await;
    }

    /// Waits for logs that have space reserved ahead, and gives back that of those which have not
    /// grown for `quiet`, or since the last call.
    pub async fn release_idle(&self, quiet: Duration) {
        let growing = self.env.growing.clone();
        growing.some().await;
        sleep(quiet).await;
        if let Err(error) = self.blocking(move || growing.release_idle()).await {
            debug!(%error, "reserved space not given back");
        }
    }

    /// How many partitions take no writes after a disk error.
    pub fn closed_count(&self) -> usize {
        self.open
            .iter()
            .filter(|entry| entry.value().failed().is_some())
            .count()
    }

    /// Opens a partition that no image knows: the catalog's own.
    pub fn open(
        &self,
        id: PartitionId,
        role: Role,
        settings: Settings,
    ) -> Result<Handle, Unavailable> {
        let folder = partition_folder(&self.folder, id);
        Handle::open(&self.env, folder, id, role, settings).map_err(|error| {
            error!(partition = %id, "cannot open: {error}");
            Unavailable::Open(Arc::new(error))
        })
    }

    /// Runs work that waits for the disk where it holds nobody up.
    ///
    /// # Errors
    /// If the site is stopping and the work was not done.
    pub async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        self.env.flusher.run(work).await
    }

    /// The partitions that are open now, in their ids' order: what is done to them happens in the
    /// same order everywhere.
    pub fn all_open(&self) -> Vec<(PartitionId, Handle)> {
        let mut open: Vec<_> = self
            .open
            .iter()
            .map(|entry| (*entry.key(), entry.value().clone()))
            .collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        open
    }

    /// Publishes an image: open partitions take the roles and settings that it gives them.
    pub fn apply(&self, image: Arc<Image>) {
        let before = self.image.swap(image.clone());
        for (id, handle) in self.all_open() {
            let (old, new) = (before.topic(id.topic_id), image.topic(id.topic_id));
            let same_topic = matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new));
            if same_topic && Arc::ptr_eq(&before.links, &image.links) {
                continue;
            }
            if let Some((topic, record)) =
                new.and_then(|topic| Some((topic, topic.partition(id.index)?)))
            {
                take_up(
                    &handle,
                    role(&image, topic, record, self.broker_id),
                    settings(topic, record, &self.defaults),
                );
            }
        }
    }

    /// How many partitions besides the catalog's own have files here.
    pub fn count_on_disk(&self) -> io::Result<usize> {
        Ok(self.on_disk()?.len())
    }

    fn on_disk(&self) -> io::Result<Vec<PartitionId>> {
        match self.env.disk.list(&self.folder.join(PARTITIONS_FOLDER)) {
            Ok(folders) => Ok(folders
                .iter()
                .filter_map(|folder| partition_of(folder))
                .filter(|id| *id != METADATA_PARTITION)
                .collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Removes what a deletion left behind that was cut short: folders of topics that are not
    /// there. A folder is made at a partition's first write, when its topic has been published; so
    /// the image is looked at after the folders.
    pub fn remove_orphans(&self) -> io::Result<()> {
        let found = self.on_disk()?;
        let image = self.image.load();
        for id in found {
            if image.topic(id.topic_id).is_none() {
                info!(partition = %id, "removing the files of a topic that was deleted");
                self.env
                    .disk
                    .remove_dir_all(&partition_folder(&self.folder, id))?;
            }
        }
        Ok(())
    }

    /// Deletes a partition's files: its topic is gone from the image. Idempotent. An error says
    /// that the runtime is shutting down.
    pub async fn delete(self: &Arc<Self>, id: PartitionId) -> io::Result<()> {
        let partitions = self.clone();
        self.env
            .flusher
            .run(move || partitions.delete_now(id))
            .await
    }

    fn delete_now(&self, id: PartitionId) {
        let files = self.files.of(id);
        let _alone = files.lock();
        if let Some((_, handle)) = self.open.remove(&id)
            && let Err(error) = handle.delete()
        {
            warn!(partition = %id, "cannot delete: {error}");
        }
        match self
            .env
            .disk
            .remove_dir_all(&partition_folder(&self.folder, id))
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(partition = %id, "cannot remove its files: {error}"),
        }
    }
}

/// The partition that a folder of this name belongs to.
pub fn partition_of(folder: &str) -> Option<PartitionId> {
    let (topic_id, index) = folder.split_once('-')?;
    Some(PartitionId {
        topic_id: topic_id.parse().ok()?,
        index: index.parse().ok()?,
    })
}

/// What an image says, for an open partition.
fn take_up(handle: &Handle, role: Role, settings: Settings) {
    handle.set_settings(settings);
    if handle.role() != role {
        handle.set_role(role);
    }
}

/// The role that an image gives a partition.
fn role(image: &Image, topic: &Topic, record: &PartitionRecord, broker_id: i32) -> Role {
    let replica = match record.leader == broker_id {
        true => Replica::Leader(record.leader_epoch),
        false => Replica::Follower {
            leader: record.leader,
            epoch: record.leader_epoch,
        },
    };
    let writers = match image.writers(topic) {
        WritersView::Clients => Writers::Clients,
        WritersView::Site => Writers::Site,
        WritersView::FailingOver => Writers::FailingOver,
        WritersView::Link {
            name,
            source,
            advice,
            fence,
            ..
        } => Writers::Link {
            link: Arc::new(LinkLabel {
                name,
                source,
                advice,
            }),
            fence: Fence(fence),
        },
    };
    Role { replica, writers }
}

/// A topic's settings as its partition needs them.
fn settings(topic: &Topic, record: &PartitionRecord, defaults: &SiteDefaults) -> Settings {
    let config = gnomon_catalog::TopicConfig::resolve(&topic.configs, defaults);
    // What coordinators remember must survive power loss whatever the site's default says, and has
    // no client's limits.
    let internal = topic.internal;
    Settings {
        log: if internal {
            internal_log()
        } else {
            log_options(&config)
        },
        write_caching: config.write_caching && !internal && !topic.name.starts_with("__"),
        message_bytes_max: if internal {
            i32::MAX
        } else {
            config.max_message_bytes
        },
        timestamp_type: match config.timestamp_type {
            TimestampType::CreateTime => gnomon_partition::TimestampType::CreateTime,
            TimestampType::LogAppendTime => gnomon_partition::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
        compacted: config.compacted && !internal,
        retention_ms: config.retention_ms.filter(|_| config.deleted && !internal),
        retention_bytes: config
            .retention_bytes
            .filter(|_| config.deleted && !internal)
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        copied_to: record.cut.map_or(0, |cut| cut.end),
        ..Settings::named(&topic.name)
    }
}

/// A log of the site's own: trimmed at each snapshot of its machine, which frees whole segments
/// only. On a full disk groups go on committing, and topics can be deleted, in the space that is
/// reserved.
pub fn internal_log() -> LogOptions {
    LogOptions {
        segment_bytes: INTERNAL_SEGMENT_BYTES,
        reserve_bytes: INTERNAL_RESERVE_BYTES,
        ..LogOptions::default()
    }
}

fn log_options(config: &gnomon_catalog::TopicConfig) -> LogOptions {
    LogOptions {
        segment_bytes: u64::from(config.segment_bytes.unsigned_abs()),
        segment_ms: Some(config.segment_ms),
        index_interval_bytes: config.index_interval_bytes.unsigned_abs(),
        ..LogOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::RawConfig, site::Site, supervise::Broker, world::World};
    use gnomon_catalog::{CreateTopics, Event, NewTopic, Origin};
    use gnomon_partition::PartitionId;
    use gnomon_protocol::{
        api::keys,
        batch::BatchBuilder,
        header::RequestHeader,
        ids::TopicId,
        messages::{
            ProduceRequest, RequestKind, TopicName,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        request::encode_request,
        wire::StrBytes,
    };
    use gnomon_storage::MemDisk;
    use std::{io::Write, net::TcpStream, sync::Arc, time::Duration};
    use tokio::{
        runtime::{Builder, Runtime},
        time::{sleep, timeout},
    };

    /// More than the runtime below has threads.
    const WAITING: usize = 20;

    /// A test that fails waits this long.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn runtime() -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .enable_all()
            .build()
            .expect("a runtime")
    }

    /// A site with topic `t` of two partitions, neither of them open.
    async fn start() -> (Broker, Arc<Site>, TopicId) {
        let raw = RawConfig {
            data: Some("/data".into()),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            ..RawConfig::default()
        };
        let broker = Broker::start(
            raw.check().expect("valid"),
            World::real(Arc::new(MemDisk::new())),
        )
        .await
        .expect("started");
        let site = broker.site().clone();
        let topics = vec![NewTopic {
            partitions: 2,
            ..NewTopic::named("t", site.fresh_id())
        }];
        let create = CreateTopics {
            topics,
            origin: Origin::AutoCreate,
            validate_only: false,
        };
        site.catalog
            .submit(Event::CreateTopics(create))
            .await
            .expect("made");
        let topic_id = site.partitions.id("t").expect("published");
        (broker, site, topic_id)
    }

    /// Until so many wait for the partition to be opened, or open it.
    async fn wait(site: &Site, id: PartitionId, many: usize) {
        // The map's, the one looked through here, and two of each who waits: its share and its
        // place in the queue.
        let all_wait = async {
            while Arc::strong_count(&site.partitions.turns.of(id)) < 2 + 2 * many {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, all_wait).await.expect("all of them wait");
    }

    #[test]
    #[expect(
        clippy::await_holding_lock,
        reason = "the lock is held by whoever opens the partition, on another thread"
    )]
    fn whoever_waits_for_a_log_that_is_being_opened_holds_no_thread() {
        runtime().block_on(async {
            let (broker, site, topic_id) = start().await;
            let id = PartitionId { topic_id, index: 0 };
            // As while its log is being recovered.
            let files = site.partitions.files.of(id);
            let recovery = files.lock();
            let waiting: Vec<_> = (0..WAITING)
                .map(|_| {
                    let partitions = site.partitions.clone();
                    tokio::spawn(async move {
                        partitions
                            .open_by_id(topic_id, 0)
                            .await
                            .map(|handle| handle.id())
                    })
                })
                .collect();
            wait(&site, id, WAITING).await;
            let other = timeout(PATIENCE, site.partitions.open_by_id(topic_id, 1)).await;
            assert_eq!(
                other
                    .expect("another partition waits")
                    .expect("opened")
                    .id()
                    .index,
                1
            );
            assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
            drop(recovery);
            for waiting in waiting {
                assert_eq!(waiting.await.expect("no panic").expect("opened"), id);
            }
            drop(files);
            broker.stop().await;
        });
    }

    /// With acks=0 nobody would hear of it.
    #[test]
    #[expect(
        clippy::await_holding_lock,
        reason = "the lock is held by whoever opens the partition, on another thread"
    )]
    fn what_was_sent_to_a_log_that_is_being_opened_is_written_though_the_sender_has_gone() {
        runtime().block_on(async {
            let (broker, site, topic_id) = start().await;
            let id = PartitionId { topic_id, index: 0 };
            let files = site.partitions.files.of(id);
            let recovery = files.lock();
            let mut stream = TcpStream::connect(&broker.info().kafka).expect("connected");
            let batch = BatchBuilder::new(0)
                .record(0, None, Some(b"x"), &[])
                .build()
                .expect("a batch");
            let partition = PartitionProduceData::default()
                .with_index(0)
                .with_records(Some(batch));
            let topic =
                TopicProduceData::default().with_name(TopicName(StrBytes::from_static_str("t")));
            let request = ProduceRequest::default()
                .with_acks(0)
                .with_topic_data(vec![topic.with_partition_data(vec![partition])]);
            let header = RequestHeader {
                api_key: keys::PRODUCE,
                api_version: 9,
                correlation_id: 1,
                client_id: None,
            };
            stream
                .write_all(
                    &encode_request(&header, &RequestKind::Produce(request)).expect("encoded"),
                )
                .expect("sent");
            drop(stream);
            wait(&site, id, 1).await;
            // For the end of the connection to be seen: without this the test might not find what
            // it looks for, never the other way round.
            sleep(Duration::from_millis(100)).await;
            drop(recovery);
            drop(files);
            let handle = site
                .partitions
                .open_by_id(topic_id, 0)
                .await
                .expect("opened");
            let written = async {
                while handle.offsets().end < 1 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(PATIENCE, written).await.expect("it is written");
            broker.stop().await;
        });
    }
}
