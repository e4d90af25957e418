//! Where a site's files lie below its data directory, and which partition a folder belongs to.

use gnomon_partition::{PartitionId, presence};
use gnomon_protocol::ids::Uuid;
use gnomon_storage::Disk;
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// Holds a folder for each partition that was ever written.
pub const PARTITIONS_FOLDER: &str = "partitions";

/// The metadata log's name.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// The metadata log's only partition. Its topic id is the same in every cluster, as in Kafka.
pub const METADATA_PARTITION: PartitionId = PartitionId {
    topic_id: Uuid::from_u128(1),
    index: 0,
};

/// The folder of a partition below the data directory. It is named by the topic's id, so that a
/// topic's name can be used again while the files of its predecessor are being removed.
pub fn partition_folder(data: &Path, id: PartitionId) -> PathBuf {
    data.join(PARTITIONS_FOLDER)
        .join(format!("{}-{}", id.topic_id.simple(), id.index))
}

/// The partition that a folder of this name belongs to.
pub fn partition_of(folder: &str) -> Option<PartitionId> {
    let (topic_id, index) = folder.split_once('-')?;
    Some(PartitionId {
        topic_id: topic_id.parse().ok()?,
        index: index.parse().ok()?,
    })
}

/// The partitions that have files or had some, except the metadata log.
pub(crate) fn partitions_on_disk(
    disk: &dyn Disk,
    data: &Path,
) -> io::Result<BTreeSet<PartitionId>> {
    let mark_or_folder = |name: &str| presence::marked_folder(name).unwrap_or(name).to_owned();
    partitions_in(disk, data, |name| partition_of(&mark_or_folder(name)))
}

/// The partitions that have a folder, except the metadata log.
pub(crate) fn partitions_with_folder(
    disk: &dyn Disk,
    data: &Path,
) -> io::Result<BTreeSet<PartitionId>> {
    partitions_in(disk, data, partition_of)
}

fn partitions_in(
    disk: &dyn Disk,
    data: &Path,
    read: impl Fn(&str) -> Option<PartitionId>,
) -> io::Result<BTreeSet<PartitionId>> {
    match disk.list(&data.join(PARTITIONS_FOLDER)) {
        Ok(names) => Ok(names
            .iter()
            .filter_map(|name| read(name))
            .filter(|id| *id != METADATA_PARTITION)
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}
