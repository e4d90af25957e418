//! The table of partitions: (topic id, index) to handle. A partition is opened when it is first
//! used, with the role that the published image gives it.
//!
//! A role follows the published image: an image can be read before the open partitions take it up,
//! and a partition that was just opened looks at the image once more under the lock of its entry.
//! So whichever comes second sees the other. While one log is opened, which may mean that it is
//! recovered, requests for all other partitions go on, and the tasks that wait for it hold no
//! thread. Not here: the meaning of a role.

use crate::{
    image::PublishedImage,
    layout::{partition_folder, partitions_with_folder},
    per_partition::PerPartition,
    roles::{role, settings},
    unavailable::{NotReopened, Unavailable},
};
use dashmap::{DashMap, Entry};
use gnomon_catalog::{Image, SiteDefaults};
use gnomon_partition::{Env, Handle, PartitionId, Role, Settings, Writers};
use gnomon_protocol::ids::TopicId;
use gnomon_storage::Space;
use parking_lot::Mutex;
use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::sleep};
use tracing::{debug, error};

/// The most partitions that are opened at one time: each may have to be recovered, and takes one of
/// the threads for blocking work.
const OPENINGS_MAX: u32 = 32;

/// Every partition that has been used.
pub struct Partitions {
    pub(crate) env: Env,
    /// The data directory.
    pub(crate) data: PathBuf,
    broker_id: i32,
    defaults: SiteDefaults,
    pub(crate) image: Arc<PublishedImage>,
    pub(crate) open: DashMap<PartitionId, Handle>,
    /// The turn to open a partition, among the tasks that await it; inside, the reason for which
    /// the last of them failed, for the tasks that waited meanwhile.
    turns: PerPartition<tokio::sync::Mutex<Option<Unavailable>>>,
    /// Permits for opening, of the tasks that await it.
    openings: Arc<Semaphore>,
    /// Held while a partition is opened and while its files are removed.
    pub(crate) files: PerPartition<Mutex<()>>,
    /// Partitions that had files and have none.
    pub(crate) lost: Mutex<BTreeSet<PartitionId>>,
}

impl Partitions {
    /// The partitions below `data`; none is open yet. From now on open ones take the roles and
    /// settings of every published image.
    pub fn new(
        env: Env,
        data: PathBuf,
        broker_id: i32,
        defaults: SiteDefaults,
        image: Arc<PublishedImage>,
    ) -> Arc<Partitions> {
        let partitions = Arc::new(Partitions {
            env,
            data,
            broker_id,
            defaults,
            image: image.clone(),
            open: DashMap::new(),
            turns: PerPartition::default(),
            openings: Arc::new(Semaphore::new(OPENINGS_MAX as usize)),
            files: PerPartition::default(),
            lost: Mutex::default(),
        });
        let follower = Arc::downgrade(&partitions);
        image.follow(move |before, image| {
            if let Some(partitions) = follower.upgrade() {
                partitions.take_up(before, image);
            }
        });
        partitions
    }

    /// The published image.
    pub fn image(&self) -> Arc<Image> {
        self.image.load()
    }

    /// The site's defaults for topics that have no setting of their own.
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
                // Deleted since. A client that names no id knows no such error.
                Unavailable::UnknownTopicId => Unavailable::UnknownTopic,
                other => other,
            })
    }

    /// A partition by its topic's id, opened if need be, on a thread for blocking work. Cancel safe:
    /// an opening that has begun goes on.
    pub async fn open_by_id(
        self: &Arc<Self>,
        topic_id: TopicId,
        index: i32,
    ) -> Result<Handle, Unavailable> {
        let id = PartitionId { topic_id, index };
        if let Some(handle) = self.if_open(id) {
            return Ok(handle);
        }
        // A partition that does not exist is refused without waiting for a turn.
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
            // The task that asked may be gone: the turn ends with the work, not with the task.
            drop((opening, ours, turn));
            opened
        });
        opened.await.unwrap_or(Err(Unavailable::Stopping))
    }

    /// From now on no awaited opening begins; returns when those under way have ended.
    pub async fn stop_opening(&self) {
        // An error means that it was called before.
        let _all = self.openings.acquire_many(OPENINGS_MAX).await;
        self.openings.close();
    }

    /// A partition by its topic's id, opened if need be on the calling thread: for callers that
    /// cannot await.
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

    /// Whether the image has this partition.
    pub fn exists(&self, id: PartitionId) -> Result<(), Unavailable> {
        let image = self.image.peek();
        let topic = image
            .topic(id.topic_id)
            .ok_or(Unavailable::UnknownTopicId)?;
        let partition = topic.partition(id.index);
        partition.map(drop).ok_or(Unavailable::UnknownPartition)
    }

    /// The id of the topic that has this name.
    pub fn id(&self, name: &str) -> Result<TopicId, Unavailable> {
        self.image
            .peek()
            .names
            .get(name)
            .copied()
            .ok_or(Unavailable::UnknownTopic)
    }

    /// Opens a partition, unless it has been opened meanwhile. Blocking.
    fn first_use(&self, id: PartitionId) -> Result<Handle, Unavailable> {
        let files = self.files.of(id);
        let _alone = files.lock();
        if let Some(handle) = self.if_open(id) {
            return Ok(handle);
        }
        let (role, settings) = self.published(id)?;
        let folder = partition_folder(&self.data, id);
        let opened = Handle::open(&self.env, folder, id, role, settings);
        let is_news = self.note_files(id, opened.as_ref().err());
        let handle = opened.map_err(|error| {
            let (topic, partition) = (self.name_of(id), id.index);
            // Every request for the partition comes by here.
            match is_news && !error.is_out_of_handles() {
                true => error!(topic, partition, "cannot open: {error}"),
                false => debug!(topic, partition, "cannot open: {error}"),
            }
            Unavailable::Open(Arc::new(error))
        })?;
        let entry = self.open.entry(id);
        // An image that was published meanwhile did not find it among the open ones.
        let (role, settings) = self.published(id)?;
        take_up(&handle, role, settings);
        Ok(entry.or_insert(handle).clone())
    }

    /// The role and the settings that the image gives a partition.
    fn published(&self, id: PartitionId) -> Result<(Role, Settings), Unavailable> {
        let image = self.image.peek();
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

    /// The name of a partition's topic, for messages.
    pub fn name_of(&self, id: PartitionId) -> String {
        match self.image.peek().topic(id.topic_id) {
            Some(topic) => topic.name.clone(),
            None => format!("(deleted topic {})", id.topic_id),
        }
    }

    /// Opens a partition again that a disk error closed, and puts the successor in the place of
    /// `failed`. Blocking.
    pub fn reopen(&self, failed: &Handle) -> Result<Handle, NotReopened> {
        let id = failed.id();
        let files = self.files.of(id);
        let _alone = files.lock();
        let (role, settings) = self.published(id)?;
        let successor = failed.control().reopen(role, settings)?;
        self.lost.lock().remove(&id);
        match self.open.entry(id) {
            Entry::Occupied(mut entry) if entry.get().is(failed) => {
                // An image that was published meanwhile reached its predecessor only.
                let (role, settings) = self.published(id)?;
                take_up(&successor, role, settings);
                entry.insert(successor.clone());
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {
                return Err(Unavailable::UnknownPartition.into());
            }
        }
        failed.control().succeeded_by(&successor);
        Ok(successor)
    }

    /// Partitions that a disk error closed, except the logs of machines: their drivers have them
    /// opened again.
    pub fn failed(&self) -> Vec<Handle> {
        let failed = |handle: &Handle| {
            handle.control().failed().is_some() && handle.role().writers != Writers::Site
        };
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

    /// Waits for logs that have space reserved ahead, and releases the space of those that have not
    /// grown for `quiet`, or since the last call.
    pub async fn release_idle(&self, quiet: Duration) {
        let reserved = self.env.reserved.clone();
        reserved.some().await;
        sleep(quiet).await;
        if let Err(error) = self.blocking(move || reserved.release_idle()).await {
            debug!(%error, "reserved space is not released");
        }
    }

    /// How many partitions take no writes after a disk error.
    pub fn closed_count(&self) -> usize {
        self.open
            .iter()
            .filter(|entry| entry.value().control().failed().is_some())
            .count()
    }

    /// Runs work that waits for the disk on a thread for blocking work.
    ///
    /// # Errors
    /// If the site stops and the work was not done.
    pub async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        self.env.flusher.run(work).await
    }

    /// The space of the file system of the data directory. Blocking.
    pub fn space(&self) -> io::Result<Space> {
        self.env.disk.space(&self.data)
    }

    /// Open partitions with records whose folder is gone from the data directory: it was removed by
    /// somebody else. Blocking.
    ///
    /// A folder is made before anything is written to it and removed after its topic; so sizes are
    /// looked at before folders, and folders before the image.
    pub fn without_files(&self) -> io::Result<BTreeSet<PartitionId>> {
        let mut lost: BTreeSet<PartitionId> = self
            .all_open()
            .into_iter()
            .filter(|(_, handle)| handle.control().size_bytes() > 0)
            .map(|(id, _)| id)
            .collect();
        for id in partitions_with_folder(&*self.env.disk, &self.data)? {
            lost.remove(&id);
        }
        let image = self.image.load();
        lost.retain(|id| image.topic(id.topic_id).is_some());
        Ok(lost)
    }

    /// The partitions that are open now, in the order of their ids, so that a simulation by seed
    /// visits them in the same order every time.
    pub fn all_open(&self) -> Vec<(PartitionId, Handle)> {
        let mut open: Vec<_> = self
            .open
            .iter()
            .map(|entry| (*entry.key(), entry.value().clone()))
            .collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        open
    }

    /// Open partitions take the roles and settings of a new image.
    fn take_up(&self, before: &Image, image: &Image) {
        let links_changed = !Arc::ptr_eq(&before.links, &image.links);
        for (id, handle) in self.all_open() {
            let (old, new) = (before.topic(id.topic_id), image.topic(id.topic_id));
            let same_topic = matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new));
            if same_topic && !links_changed {
                continue;
            }
            if let Some((topic, record)) =
                new.and_then(|topic| Some((topic, topic.partition(id.index)?)))
            {
                take_up(
                    &handle,
                    role(image, topic, record, self.broker_id),
                    settings(topic, record, &self.defaults),
                );
            }
        }
    }
}

fn take_up(handle: &Handle, role: Role, settings: Settings) {
    handle.control().set_settings(settings);
    if handle.role() != role {
        handle.control().set_role(role);
    }
}

#[cfg(feature = "fakes")]
impl Partitions {
    /// Holds up the opening of a partition, as a long recovery does, until the answer is dropped.
    pub fn hold_up_opening(&self, id: PartitionId) -> std::sync::mpsc::Sender<()> {
        let files = self.files.of(id);
        let (release, released) = std::sync::mpsc::channel();
        let (tell, held) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _guard = files.lock();
            tell.send(()).expect("the caller waits");
            // An error: the sender was dropped.
            let _ = released.recv();
        });
        held.recv().expect("the lock is taken");
        release
    }

    /// How many tasks wait for a partition to be opened, or open it.
    pub fn waiting_for(&self, id: PartitionId) -> usize {
        // The map's reference and the one made here; each task has its share and its place in the
        // queue.
        (Arc::strong_count(&self.turns.of(id)) - 2) / 2
    }
}

#[cfg(test)]
#[path = "partitions_tests.rs"]
mod tests;
