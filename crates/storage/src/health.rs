//! What is wrong with a log, as far as recovery and readers have met it: for metrics, and for the
//! check of a log that lies still.
//!
//! Invariant: looks at what is known and reads nothing, so that it may be asked often.

use crate::{open::Cut, reader::LogReader};
use gnomon_protocol::ids::Offset;
use std::{path::PathBuf, sync::atomic::Ordering};

/// What is known to be wrong, and what was done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// By offset. What has gone with the log's start is not in it.
    pub damage: Vec<FoundDamage>,
    /// What recovery cut off when the log was opened.
    pub cut: Option<Cut>,
    /// Segments whose index files were missing or wrong when they were needed, and were rebuilt.
    pub indexes_rebuilt: usize,
}

/// A place where batches are not what was written; reading them is answered with
/// [`crate::ReadError::Damaged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDamage {
    /// The segment's file.
    pub file: PathBuf,
    /// Where in it.
    pub position: u64,
    /// How many bytes; 0 where they are missing.
    pub bytes: u64,
    /// The first offset that cannot be read.
    pub from: Offset,
    /// The offset behind the last that cannot be read.
    pub to: Offset,
}

impl LogReader {
    /// What is known to be wrong with the log.
    pub fn health(&self) -> Health {
        let segments = self.shared.segments.load();
        let mut health = Health {
            cut: self.shared.cut.clone(),
            ..Health::default()
        };
        health.indexes_rebuilt = segments
            .iter()
            .filter(|segment| segment.was_rebuilt())
            .count();
        if self.shared.damaged.load(Ordering::Acquire) {
            for segment in segments.iter() {
                let verified = segment.verified.lock();
                let unreadable = verified
                    .damage()
                    .iter()
                    .filter(|damage| damage.from < damage.to && damage.to > self.start());
                health.damage.extend(unreadable.map(|damage| FoundDamage {
                    file: segment.path.clone(),
                    position: damage.start,
                    bytes: damage.stop - damage.start,
                    from: damage.from,
                    to: damage.to,
                }));
            }
        }
        health
    }
}
