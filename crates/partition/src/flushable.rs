//! A partition as the flusher sees it: its passes, and its place in the queue.

use gnomon_storage::{FlushPoint, LogError};
use std::sync::atomic::{AtomicU8, Ordering};

/// A partition, as the flusher sees it. Failures are the partition's own matter.
pub(crate) trait Flushable: Send + Sync {
    /// Begins a pass: what is to be synced so that everything appended so far is durable; `None` if
    /// that is nothing.
    fn begin_pass(&self) -> Option<Pass>;
    /// Ends a pass: says to those who wait what became of it.
    fn end_pass(&self, pass: Pass, synced: Result<(), LogError>);
    /// Where it stands with the flusher.
    fn turn(&self) -> &Turn;
}

/// One partition's part of a cycle.
pub(crate) struct Pass {
    /// Which log of the partition it is.
    pub(crate) generation: u64,
    /// The files to be synced.
    pub(crate) point: FlushPoint,
}

/// A partition's place in the queue: it stands there at most once, and is worked on by one thread
/// at most.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_AGAIN: u8 = 3;

impl Turn {
    /// Asks for a pass that begins after now; true if the caller must queue the partition.
    pub(crate) fn ask(&self) -> bool {
        let next = |turn| match turn {
            IDLE => Some(QUEUED),
            RUNNING => Some(RUNNING_AGAIN),
            _already => None,
        };
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            == Ok(IDLE)
    }

    pub(crate) fn begin(&self) {
        self.0.store(RUNNING, Ordering::Release);
    }

    /// True if it was asked for again meanwhile and must be queued again.
    pub(crate) fn end(&self) -> bool {
        if self
            .0
            .compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            return false;
        }
        self.0.store(QUEUED, Ordering::Release);
        true
    }
}
