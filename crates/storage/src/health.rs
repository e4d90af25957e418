//! Known damage of a log, as far as recovery and readers have met it: for metrics, and for the
//! check of a log that lies still; and whether its files are still there.
//!
//! Invariant: reads no file, so that it may be asked often.

use crate::{log::Log, reader::LogReader, recover::Cut, segment::Segment};
use gnomon_protocol::ids::Offset;
use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

/// Known damage, and what was done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// By offset. What has gone with the log's start is not in it.
    pub damage: Vec<FoundDamage>,
    /// The end that recovery cut off when the log was opened.
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
    /// The offset after the last that cannot be read.
    pub to: Offset,
}

impl LogReader {
    /// Segments whose files are no longer where the log made them, oldest first. Looks at the
    /// folder once, and opens nothing.
    ///
    /// # Errors
    /// If the folder cannot be read; that it is not there means that every segment is missing.
    pub fn missing_files(&self) -> io::Result<Vec<PathBuf>> {
        // Before the folder: a segment that comes later is not looked for.
        let segments = self.shared.segments.load_full();
        let names: BTreeSet<String> = match self.shared.disk.list(&self.shared.dir) {
            Ok(names) => names.into_iter().collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        let missing = |segment: &&Arc<Segment>| {
            let name = segment.path.file_name().and_then(|name| name.to_str());
            name.is_none_or(|name| !names.contains(name)) && self.shared.owns(segment)
        };
        Ok(segments
            .iter()
            .filter(missing)
            .map(|segment| segment.path.clone())
            .collect())
    }

    /// Whether this is a reader of that log, not of one that came before it.
    pub fn reads(&self, log: &Log) -> bool {
        Arc::ptr_eq(&self.shared, &log.shared)
    }

    /// The log's known damage.
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
