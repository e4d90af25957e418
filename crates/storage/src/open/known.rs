//! Knowledge of a log before its segments are looked at: its checkpoint, and whether a sync failed.

use crate::{
    checkpoint::{self, Checkpoint, CheckpointExtra, OnDisk},
    disk::{Boot, Disk},
    durability::Durable,
    error::LogError,
    flush::SYNC_FAILED_FILE,
};
use gnomon_protocol::ids::Offset;
use std::path::Path;

/// A log's checkpoint, and how far it can be trusted.
pub(super) struct Known {
    /// [`Boot::Other`] also after a failed sync.
    pub boot: Boot,
    /// A sync failed: the page cache may hold what the disk does not.
    pub distrust: bool,
    pub checkpoint: Option<Checkpoint>,
    /// There is a checkpoint, and it cannot be read: nobody knows what was synced.
    pub place_unknown: bool,
    /// Offsets that this process knows to be durable, of a log that it had open before.
    pub durable: Option<Durable>,
}

impl Known {
    pub fn read(
        disk: &dyn Disk,
        dir: &Path,
        boot: Boot,
        durable: Option<Durable>,
    ) -> Result<Known, LogError> {
        let distrust = durable.is_some()
            || disk
                .exists(&dir.join(SYNC_FAILED_FILE))
                .map_err(LogError::io("look into", dir))?;
        let (checkpoint, place_unknown) = match checkpoint::load(disk, dir)? {
            OnDisk::Valid(checkpoint) => (Some(*checkpoint), false),
            OnDisk::Absent => {
                // The process that made the log may have ended here: the names may not be durable.
                sync_names(disk, dir)?;
                (None, false)
            }
            OnDisk::Damaged => {
                tracing::error!(dir = %dir.display(), "checkpoint is damaged: everything is scanned, and the log's start may be an earlier one");
                (None, true)
            }
        };
        Ok(Known {
            boot: if distrust { Boot::Other } else { boot },
            distrust,
            checkpoint,
            place_unknown,
            durable,
        })
    }

    /// The log start of the checkpoint; `Offset::MIN` without one.
    pub fn start(&self) -> Offset {
        self.checkpoint
            .as_ref()
            .map_or(Offset::MIN, |checkpoint| checkpoint.start)
    }

    /// The durable part of a log whose oldest segment begins at `first`.
    pub fn durable(&self, first: Offset) -> Durable {
        let noted = self.checkpoint.as_ref().map(|checkpoint| Durable {
            flushed: checkpoint.flushed,
            flushed_data: checkpoint.flushed_data,
        });
        match (noted, self.durable) {
            (Some(noted), Some(durable)) => noted.max(durable),
            (Some(known), None) | (None, Some(known)) => known,
            (None, None) => Durable::at(first),
        }
    }

    /// The checkpoint's part that batches of another process are verified by.
    pub fn history(&self) -> CheckpointExtra {
        self.checkpoint
            .as_ref()
            .map_or_else(CheckpointExtra::default, |checkpoint| {
                checkpoint.extra.clone()
            })
    }

    /// The partition's part of the checkpoint, as far as it is about a log that ends at `end`.
    pub fn extra_up_to(&self, end: Offset) -> CheckpointExtra {
        let mut extra = self.history();
        // The epoch of a log that was trimmed to its end begins at that end, and is not beyond it.
        let emptied = self.start() == end;
        extra.truncate(if emptied {
            end.saturating_add(1)
        } else {
            end.max(self.start())
        });
        extra
    }

    pub fn report_missing_segments(&self, dir: &Path, first: Offset) {
        if let Some(checkpoint) = self
            .checkpoint
            .as_ref()
            .filter(|checkpoint| checkpoint.start < first && checkpoint.flushed > checkpoint.start)
        {
            tracing::error!(dir = %dir.display(), from = checkpoint.start, to = first, "segments are missing: the log begins after them");
        }
    }
}

/// Makes the names of a log's files and its own durable.
fn sync_names(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    [Some(dir), parent]
        .into_iter()
        .flatten()
        .try_for_each(|dir| {
            disk.sync_dir(dir)
                .map_err(LogError::io("sync directory", dir))
        })
}
