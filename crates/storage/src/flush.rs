//! What has to be synced, as a value that is carried out without the log's lock.
//!
//! Invariants: [`crate::Log::flushed`] moves only by a point whose sync succeeded, and only within the generation of the log that it was
//! taken in; after one failed sync no point of this log ever succeeds again, because the kernel may have dropped what it could not write
//! and a second sync would not say so.

use crate::{
    disk::{Disk, OpenMode},
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

/// Left behind by a failed sync: whoever opens the log next must not believe the page cache.
pub(crate) const SYNC_FAILED_FILE: &str = "sync-failed";

/// Everything that must be synced so that the log up to [`FlushPoint::end`] is durable. `Send`; taken under the log's lock, synced
/// without it, and handed back to [`crate::Log::flushed_to`].
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

    /// Syncs: `fdatasync` of each file, and of the directory when a file is new. Blocks. After an error the log takes no more writes and no
    /// other point of it succeeds.
    pub fn sync(&self) -> Result<(), LogError> {
        fail::fail_point!("skip_fsync", |_| {
            self.done.store(true, Ordering::Release);
            Ok(())
        });
        let _one_at_a_time = self.shared.syncing.lock();
        if self.shared.sync_failed.load(Ordering::Acquire) {
            // That failure may have swallowed our bytes as well.
            return Err(LogError::Closed { why: "a sync failed".into() });
        }
        if let Err(failure) = self.sync_all() {
            self.shared.sync_failed.store(true, Ordering::Release);
            // Best effort: the disk just failed.
            if let Err(error) = leave_mark(&*self.shared.disk, &self.shared.dir) {
                tracing::error!(%error, "cannot note that a sync failed");
            }
            return Err(failure);
        }
        self.done.store(true, Ordering::Release);
        Ok(())
    }

    fn sync_all(&self) -> Result<(), LogError> {
        let mut new_name = false;
        for (segment, len) in self.older.iter().chain(&self.last) {
            if !segment.is_synced(self.generation, *len) {
                // Taken before the sync: what is written meanwhile is not covered.
                let covered = segment.len();
                let sync = || {
                    fail::fail_point!("storage_sync", |_| Err(std::io::Error::other("fail point storage_sync")));
                    segment.file.sync_data()
                };
                sync().map_err(LogError::io("sync", &segment.path))?;
                segment.note_synced(Synced { generation: self.generation, len: covered });
            }
            new_name |= !segment.name_synced.load(Ordering::Acquire);
        }
        if new_name {
            self.shared.disk.sync_dir(&self.shared.dir).map_err(LogError::io("sync directory", &self.shared.dir))?;
            for (segment, _) in self.older.iter().chain(&self.last) {
                segment.name_synced.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

/// Notes, durably, that whoever opens the log next must not believe the page cache.
pub(crate) fn leave_mark(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let path = dir.join(SYNC_FAILED_FILE);
    let marked = disk.open(&path, OpenMode::Create).and_then(|file| {
        file.write_all_at(&mut [IoSlice::new(b"a sync failed; the next start rewrites what it did not cover\n")], 0)?;
        file.sync_data()?;
        disk.sync_dir(dir)
    });
    marked.map_err(LogError::io("write", path))
}

impl fmt::Debug for FlushPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.older.len() + usize::from(self.last.is_some());
        f.debug_struct("FlushPoint").field("end", &self.end).field("files", &files).field("done", &self.is_done()).finish()
    }
}
