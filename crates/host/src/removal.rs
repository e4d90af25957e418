//! Removing the files of partitions whose topics were deleted.

use crate::{
    layout::{partition_folder, partitions_on_disk},
    partitions::Partitions,
};
use gnomon_partition::{PartitionId, presence};
use std::{io, sync::Arc};
use tracing::{info, warn};

impl Partitions {
    /// Removes the folders of topics that do not exist: a deletion was cut short. A folder is made
    /// at a partition's first write, when its topic has been published; so the folders are listed
    /// before the image is looked at. An error says that they could not be listed or removed, or
    /// that the site stops.
    pub async fn remove_orphans(self: &Arc<Self>) -> io::Result<()> {
        let partitions = self.clone();
        self.blocking(move || partitions.remove_orphans_now())
            .await?
    }

    fn remove_orphans_now(&self) -> io::Result<()> {
        let found = partitions_on_disk(&*self.env.disk, &self.data)?;
        let image = self.image.load();
        for id in found {
            if image.topic(id.topic_id).is_none() {
                // The metadata has no name for it any more.
                let folder = partition_folder(&self.data, id);
                info!(folder = %folder.display(), "removing the files of a topic that was deleted");
                presence::remove(&*self.env.disk, &folder)?;
            }
        }
        Ok(())
    }

    /// Deletes a partition's files; its topic is gone from the image. Idempotent. `topic` is the
    /// name that it had, for messages. An error says that the site stops.
    pub async fn delete(self: &Arc<Self>, topic: &str, id: PartitionId) -> io::Result<()> {
        let (partitions, topic) = (self.clone(), topic.to_owned());
        self.blocking(move || partitions.delete_now(&topic, id))
            .await
    }

    fn delete_now(&self, topic: &str, id: PartitionId) {
        let files = self.files.of(id);
        let _alone = files.lock();
        if let Some((_, handle)) = self.open.remove(&id)
            && let Err(error) = handle.control().delete()
        {
            warn!(topic, partition = id.index, "cannot delete: {error}");
        }
        let folder = partition_folder(&self.data, id);
        self.lost.lock().remove(&id);
        if let Err(error) = presence::remove(&*self.env.disk, &folder) {
            warn!(
                topic,
                partition = id.index,
                "cannot remove its files in {}: {error}",
                folder.display()
            );
        }
    }
}
