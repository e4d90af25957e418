//! State that the writer, its readers and its flush points share. Readers never wait for the
//! writer: they load a list and two numbers.

use crate::{checkpoint::CheckpointExtra, disk::Disk, recover::Cut, segment::Segment};
use arc_swap::ArcSwap;
use gnomon_protocol::ids::Offset;
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    /// Oldest first, never empty; replaced as a whole when a segment comes or goes.
    pub segments: ArcSwap<Vec<Arc<Segment>>>,
    start: AtomicI64,
    end: AtomicI64,
    /// Raised before bytes that readers may look at are taken back (truncation, restart).
    generation: AtomicU64,
    /// The checkpoint's history of epochs at the opening. Batches that this process did not write
    /// are verified by it.
    pub history: CheckpointExtra,
    /// The end that recovery cut off when the log was opened.
    pub cut: Option<Cut>,
    /// There is damage, and [`crate::LogReader::health`] has to look for it.
    pub damaged: AtomicBool,
    /// A sync failed: nothing that was not durable by then can be called durable any more.
    pub sync_failed: AtomicBool,
    /// One sync at a time: the kernel tells of a page that it could not write once, and of two
    /// syncs at work it may tell the other one.
    pub syncing: Mutex<()>,
    /// Sequence of the newest checkpoint on disk; held while one is written.
    pub checkpoint_written: Mutex<u64>,
}

/// The findings of an opening, for readers.
#[derive(Default)]
pub(crate) struct Found {
    pub history: CheckpointExtra,
    pub cut: Option<Cut>,
    pub damaged: bool,
}

impl Shared {
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        segments: Vec<Arc<Segment>>,
        start: Offset,
        end: Offset,
        found: Found,
    ) -> Shared {
        Shared {
            disk,
            dir,
            segments: ArcSwap::from_pointee(segments),
            history: found.history,
            cut: found.cut,
            damaged: AtomicBool::new(found.damaged),
            start: AtomicI64::new(start),
            end: AtomicI64::new(end),
            generation: AtomicU64::new(0),
            sync_failed: AtomicBool::new(false),
            syncing: Mutex::new(()),
            checkpoint_written: Mutex::new(0),
        }
    }

    /// Whether a segment is one of the log's, and was not taken away by a trim or a truncation.
    pub fn owns(&self, segment: &Arc<Segment>) -> bool {
        let segments = self.segments.load();
        segments.iter().any(|own| Arc::ptr_eq(own, segment))
    }

    pub fn start(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    pub fn set_start(&self, start: Offset) {
        self.start.store(start, Ordering::Release);
    }

    pub fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    pub fn set_end(&self, end: Offset) {
        self.end.store(end, Ordering::Release);
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
