//! Partitions that had files and have none: which they are, and accepting the loss.
//!
//! Not here: how it is known that a partition had files (`gnomon_partition::presence`).

use crate::{
    layout::{PARTITIONS_FOLDER, partition_folder, partitions_on_disk},
    partitions::Partitions,
};
use gnomon_partition::{OpenError, PartitionId, presence};
use gnomon_storage::LogError;
use tracing::{error, warn};

impl Partitions {
    /// Notes whether a partition has its files, after it was opened or failed to. False for a loss
    /// that was known.
    pub fn note_files(&self, id: PartitionId, error: Option<&OpenError>) -> bool {
        match error {
            Some(OpenError::Lost { .. }) => return self.lost.lock().insert(id),
            Some(_) => {}
            None => _ = self.lost.lock().remove(&id),
        }
        true
    }

    /// How many partitions are known to have lost their files.
    pub fn lost_count(&self) -> usize {
        self.lost.lock().len()
    }

    /// Looks for partitions that had files and have none, and names them. With `accept` they are
    /// empty from now on, and take writes. Blocking.
    ///
    /// # Errors
    /// If the folder of the partitions cannot be read, or the disk refuses to accept a loss.
    pub fn find_lost(&self, accept: bool) -> Result<(), LogError> {
        let image = self.image.load();
        let failed = |source| LogError::Io {
            what: "look for lost partitions in",
            path: self.data.join(PARTITIONS_FOLDER),
            source,
        };
        for id in partitions_on_disk(&*self.env.disk, &self.data).map_err(failed)? {
            let Some(topic) = image.topic(id.topic_id) else {
                continue;
            };
            let folder = partition_folder(&self.data, id);
            let Some(why) = presence::lost(&*self.env.disk, &folder).map_err(failed)? else {
                continue;
            };
            let (topic, partition, folder_name) = (&topic.name, id.index, folder.display());
            if accept {
                let start = presence::accept_loss(&self.env.disk, &folder)?;
                warn!(topic, partition, folder = %folder_name, start, "{why}: the loss is accepted, the partition is empty");
            } else {
                self.lost.lock().insert(id);
                error!(topic, partition, folder = %folder_name, "{why}: the partition is neither read nor written. Stop the site, bring the files back and start it again; or start it with --accept-loss to go on without these records");
            }
        }
        Ok(())
    }
}
