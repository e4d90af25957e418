//! Looks whether the logs of a data directory are what was written, without its lock, also while a
//! site is using it.
//!
//! A log that is being written is seen at several moments; so what is found counts only if it is
//! found again. Not here: what is wrong with a log (`gnomon_storage::check`), and how it is
//! printed.

use super::{InspectError, read_image};
use gnomon_catalog::Image;
use gnomon_host::{
    METADATA_PARTITION, METADATA_TOPIC, PARTITIONS_FOLDER, boot, partition_folder, partition_of,
};
use gnomon_partition::{PartitionId, inspect::check_snapshot, presence};
use gnomon_storage::{Boot, Checked, Disk, LogError, RealDisk, read_checkpoint};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How often something is looked at until it is clean.
const LOOKS: usize = 3;

/// One partition's log.
#[derive(Clone, Debug)]
pub struct CheckedPartition {
    /// TOPIC-PARTITION; the folder's name where no topic has its id.
    pub name: String,
    pub folder: PathBuf,
    pub checked: Checked,
}

/// Checks the named partitions, or all of them, one after the other.
pub struct Checks {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    boot: Boot,
    /// Why folders have no topics' names, if they have none.
    pub nameless: Option<InspectError>,
    /// Logs that are not checked yet: name and folder.
    rest: std::vec::IntoIter<(String, PathBuf)>,
}

impl Checks {
    /// A check of `partitions` (TOPIC-PARTITION, or folders' names), or of everything in the data
    /// directory.
    pub fn of(data: &Path, partitions: &[String]) -> Result<Checks, InspectError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source: io::Error| InspectError::Io { path, source }
        };
        let boot = boot(&*disk, data).map_err(failed(data))?;
        let folders = data.join(PARTITIONS_FOLDER);
        let listed = disk.list(&folders).map_err(failed(&folders))?;
        let (image, nameless) = match read_image(data) {
            Ok(image) => (image, None),
            Err(error) => (Image::default(), Some(error)),
        };
        // A mark without a folder is one of a partition that has lost it.
        let mut all: Vec<(String, PathBuf)> = listed
            .iter()
            .map(|listed| presence::marked_folder(listed).unwrap_or(listed))
            .filter_map(|folder| {
                Some((
                    name(&image, partition_of(folder)?).unwrap_or_else(|| folder.to_owned()),
                    folders.join(folder),
                ))
            })
            .collect();
        all.sort();
        all.dedup();
        if !partitions.is_empty() {
            all = partitions
                .iter()
                .map(|wanted| find(data, &image, &all, wanted))
                .collect::<Result<_, _>>()?;
        }
        Ok(Checks {
            disk,
            data: data.to_owned(),
            boot,
            nameless,
            rest: all.into_iter(),
        })
    }

    fn check(&self, folder: &Path) -> Result<Checked, LogError> {
        let look = |source| LogError::Io {
            what: "look at",
            path: folder.to_owned(),
            source,
        };
        let lost = presence::lost(&*self.disk, folder).map_err(look)?;
        // A partition that was never written has no folder.
        if !self.disk.exists(folder).map_err(look)? {
            return Ok(Checked {
                lost,
                ..Checked::default()
            });
        }
        let mut checked = gnomon_storage::check(&self.disk, folder, self.boot)?;
        checked.lost = lost;
        if let Some(checkpoint) = read_checkpoint(&*self.disk, folder)? {
            checked
                .wrong
                .extend(check_snapshot(&*self.disk, folder, &checkpoint)?);
        }
        Ok(checked)
    }

    fn check_again(&self, folder: &Path) -> Result<Checked, InspectError> {
        let mut look = self.check(folder);
        for _ in 1..LOOKS {
            if look.as_ref().is_ok_and(Checked::is_clean) {
                break;
            }
            look = self.check(folder);
        }
        look.map_err(|error| InspectError::Log {
            folder: folder.to_owned(),
            why: error.to_string(),
        })
    }
}

impl Iterator for Checks {
    type Item = Result<CheckedPartition, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, folder) = self.rest.next()?;
        let checked = self.check_again(&folder);
        Some(checked.map(|checked| CheckedPartition {
            name,
            folder,
            checked,
        }))
    }
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks")
            .field("data", &self.data)
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

fn name(image: &Image, id: PartitionId) -> Option<String> {
    match id {
        METADATA_PARTITION => Some(format!("{METADATA_TOPIC}-0")),
        PartitionId { topic_id, index } => image
            .topic(topic_id)
            .map(|topic| format!("{}-{index}", topic.name)),
    }
}

/// A partition by its name, or its folder's.
fn find(
    data: &Path,
    image: &Image,
    all: &[(String, PathBuf)],
    wanted: &str,
) -> Result<(String, PathBuf), InspectError> {
    let is_it = |(name, folder): &&(String, PathBuf)| {
        name == wanted || folder.file_name().is_some_and(|folder| folder == wanted)
    };
    if let Some(found) = all.iter().find(is_it) {
        return Ok(found.clone());
    }
    let unknown = || InspectError::Unknown {
        name: wanted.to_owned(),
        path: data.to_owned(),
    };
    let (topic, index) = wanted.rsplit_once('-').ok_or_else(unknown)?;
    let (topic, index) = (
        image.topic_by_name(topic).ok_or_else(unknown)?,
        index.parse().map_err(|_| unknown())?,
    );
    topic.partition(index).ok_or_else(unknown)?;
    Ok((
        wanted.to_owned(),
        partition_folder(
            data,
            PartitionId {
                topic_id: topic.id,
                index,
            },
        ),
    ))
}
