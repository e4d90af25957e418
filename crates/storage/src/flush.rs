//! The files to be synced, as a value that is carried out without the log's lock.
//!
//! Invariants: [`crate::Log::flushed`] moves only by a point whose sync succeeded, and only within
//! the generation of the log that it was taken in; after one failed sync no point of this log ever
//! succeeds again, because the kernel may have dropped what it could not write and a second sync
//! would not say so.

use crate::{
    disk::{Disk, FileSystem, OpenMode},
    error::LogError,
    segment::{Segment, Synced},
    shared::Shared,
};
use gnomon_protocol::ids::Offset;
use std::{
    fmt,
    io::IoSlice,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Left by a failed sync: the next opening of the log must not believe the page cache.
pub(crate) const SYNC_FAILED_FILE: &str = "sync-failed";

/// Everything that must be synced so that the log up to [`FlushPoint::end`] is durable. `Send`;
/// taken under the log's lock, synced without it, and handed back to [`crate::Log::flushed_to`].
pub struct FlushPoint {
    pub(crate) shared: Arc<Shared>,
    pub(crate) end: Offset,
    pub(crate) data_end: Offset,
    pub(crate) generation: u64,
    /// The active segment, if it has something to sync: nearly always the only one.
    pub(crate) last: Option<(Arc<Segment>, u64)>,
    /// Older ones, with the lengths to sync.
    pub(crate) older: Vec<(Arc<Segment>, u64)>,
    pub(crate) done: AtomicBool,
}

impl FlushPoint {
    /// The log's end when the point was taken.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Whether there is nothing to sync.
    pub fn is_clean(&self) -> bool {
        self.last.is_none() && self.older.is_empty()
    }

    /// Whether [`FlushPoint::sync`] succeeded.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Syncs many logs at once, by one sync of the file system: for a hundred files it takes a
    /// third of what their own syncs take on several threads, for a thousand a quarter; it also
    /// syncs what others have written there. Each point ends as it would by its own sync. Blocks.
    pub fn sync_together(
        points: &[&FlushPoint],
        file_system: &dyn FileSystem,
    ) -> Vec<Result<(), LogError>> {
        FlushPoint::try_together(points, file_system)
            .unwrap_or_else(|| points.iter().map(|point| point.sync()).collect())
    }

    /// `None` when the file system could not sync, or does not hold every file: the files' own
    /// syncs tell whose bytes are in doubt.
    fn try_together(
        points: &[&FlushPoint],
        file_system: &dyn FileSystem,
    ) -> Option<Vec<Result<(), LogError>>> {
        gnomon_failpoints::fail_point!("skip_fsync", |_| None);
        gnomon_failpoints::fail_point!("storage_sync", |_| None);
        let _one_at_a_time: Vec<_> = points
            .iter()
            .map(|point| point.shared.syncing.lock())
            .collect();
        // Taken before the sync: what is written meanwhile is not covered.
        let covered = |point: &&FlushPoint| -> Vec<(u64, u64)> {
            point
                .segments()
                .map(|(segment, _)| (segment.len(), segment.file.written()))
                .collect()
        };
        let covered: Vec<_> = points.iter().map(covered).collect();
        if !points.iter().all(|point| {
            point
                .segments()
                .all(|(segment, _)| file_system.covers(&*segment.file))
        }) {
            return None;
        }
        if let Err(error) = file_system.sync() {
            tracing::error!(%error, "the file system does not sync: each file is asked");
            return None;
        }
        let ended = points.iter().zip(covered).map(|(point, covered)| {
            if point.shared.sync_failed.load(Ordering::Acquire) {
                return Err(LogError::Closed {
                    why: "a sync failed".into(),
                });
            }
            point
                .check_names()
                .inspect_err(|_| point.shared.sync_failed.store(true, Ordering::Release))?;
            for ((segment, _), (len, written)) in point.segments().zip(covered) {
                segment.file.note_synced(written);
                segment.note_synced(Synced {
                    generation: point.generation,
                    len,
                });
                segment.name_synced.store(true, Ordering::Release);
            }
            point.done.store(true, Ordering::Release);
            Ok(())
        });
        Some(ended.collect())
    }

    /// The segments to be synced, with their lengths.
    fn segments(&self) -> impl Iterator<Item = &(Arc<Segment>, u64)> {
        self.older.iter().chain(&self.last)
    }

    /// Syncs: `fdatasync` of each file, and of the directory when a file is new. Blocks. After an
    /// error the log takes no more writes and no other point of it succeeds.
    pub fn sync(&self) -> Result<(), LogError> {
        gnomon_failpoints::fail_point!("skip_fsync", |_| {
            self.done.store(true, Ordering::Release);
            Ok(())
        });
        let _one_at_a_time = self.shared.syncing.lock();
        if self.shared.sync_failed.load(Ordering::Acquire) {
            // That failure may have swallowed our bytes as well.
            return Err(LogError::Closed {
                why: "a sync failed".into(),
            });
        }
        if let Err(failure) = self.check_names().and_then(|()| self.sync_all()) {
            self.shared.sync_failed.store(true, Ordering::Release);
            // Best effort: the disk just failed. Of a file that is gone there is nothing to
            // distrust.
            if !matches!(failure, LogError::Lost { .. })
                && let Err(error) = leave_mark(&*self.shared.disk, &self.shared.dir)
            {
                tracing::error!(%error, "cannot note that a sync failed");
            }
            return Err(failure);
        }
        self.done.store(true, Ordering::Release);
        Ok(())
    }

    /// A file that was synced must be found again: a file that somebody removed takes everything
    /// along that was written to it. Files that the log itself took away meanwhile are none of
    /// that.
    fn check_names(&self) -> Result<(), LogError> {
        if believe_in_removed_files() {
            return Ok(());
        }
        for (segment, _) in self.segments() {
            let removed = segment
                .file
                .is_removed()
                .map_err(LogError::io("look at", &segment.path))?;
            if removed && self.shared.owns(segment) {
                return Err(LogError::Lost {
                    path: segment.path.clone(),
                });
            }
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<(), LogError> {
        let mut new_name = false;
        for (segment, len) in self.segments() {
            if !segment.is_synced(self.generation, *len) {
                // Taken before the sync: what is written meanwhile is not covered.
                let covered = segment.len();
                let sync = || {
                    gnomon_failpoints::fail_point!("storage_sync", |_| Err(std::io::Error::other(
                        "fail point storage_sync"
                    )));
                    segment.file.sync_data()
                };
                sync().map_err(LogError::io("sync", &segment.path))?;
                segment.note_synced(Synced {
                    generation: self.generation,
                    len: covered,
                });
            }
            new_name |= !segment.name_synced.load(Ordering::Acquire);
        }
        if new_name && !skip_name_sync() {
            self.shared
                .disk
                .sync_dir(&self.shared.dir)
                .map_err(LogError::io("sync directory", &self.shared.dir))?;
            for (segment, _) in self.segments() {
                segment.name_synced.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

/// Notes, durably, that the next opening of the log must not believe the page cache.
pub(crate) fn leave_mark(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let path = dir.join(SYNC_FAILED_FILE);
    let marked = disk.open(&path, OpenMode::Create).and_then(|file| {
        file.write_all_at(
            &mut [IoSlice::new(
                b"a sync failed; the next start rewrites what it did not cover\n",
            )],
            0,
        )?;
        file.sync_data()?;
        disk.sync_dir(dir)
    });
    marked.map_err(LogError::io("write", path))
}

impl fmt::Debug for FlushPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.older.len() + usize::from(self.last.is_some());
        f.debug_struct("FlushPoint")
            .field("end", &self.end)
            .field("files", &files)
            .field("done", &self.is_done())
            .finish()
    }
}

/// Planted fault for tests of durability: a new file's name is not synced.
fn skip_name_sync() -> bool {
    gnomon_failpoints::fail_point!("skip_name_sync", |_| true);
    false
}

/// Planted fault for tests of lost files: what is written to a removed file counts as durable.
fn believe_in_removed_files() -> bool {
    gnomon_failpoints::fail_point!("believe_in_removed_files", |_| true);
    false
}
