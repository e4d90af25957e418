//! The content of a partition's own files, for tools that look at them from outside, also while a
//! process writes them.
//!
//! Not here: the log's files (`gnomon_storage::check`, `gnomon_storage::dump`).

use crate::{producer::Producer, producer_snapshot, txn_index::Aborted};
use gnomon_protocol::ids::{Offset, ProducerId};
use gnomon_storage::{Checkpoint, Disk, LogError, WrongFile};
use std::{io, path::Path};

/// A producer snapshot taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It holds what all batches below this offset make.
    pub at: Offset,
    /// The idempotent producers, by id.
    pub producers: Vec<(ProducerId, Producer)>,
    /// Open transactions: whose, and the offset of the first record.
    pub open: Vec<(ProducerId, Offset)>,
    /// Aborted transactions, by the offset of their marker.
    pub aborted: Vec<Aborted>,
}

/// Reads a snapshot's file; `None` if it is not one, or not what was written.
pub fn read_snapshot(name: &str, bytes: &[u8]) -> Option<Snapshot> {
    let at = name.strip_suffix(".snapshot")?.parse().ok()?;
    let (producers, txns) = producer_snapshot::decode(bytes, at)?;
    Some(Snapshot {
        at,
        producers: producers
            .iter()
            .map(|(id, producer)| (id, producer.clone()))
            .collect(),
        open: txns.open().collect(),
        aborted: txns.aborted().entries().to_vec(),
    })
}

/// Whether the snapshot that a checkpoint names is what was written. One below the log's start is
/// used by nobody.
pub fn check_snapshot(
    disk: &dyn Disk,
    dir: &Path,
    checkpoint: &Checkpoint,
) -> Result<Option<WrongFile>, LogError> {
    let at = checkpoint.extra.producer_snapshot_at;
    if at < checkpoint.start {
        return Ok(None);
    }
    let name = producer_snapshot::file_name(at);
    let file = dir.join(&name);
    let right = match disk.read(&file) {
        Ok(bytes) => read_snapshot(&name, &bytes).is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(source) => {
            return Err(LogError::Io {
                what: "read",
                path: file,
                source,
            });
        }
    };
    let why = "is missing or not what was written: the log is read from its start instead".into();
    Ok((!right).then_some(WrongFile { file, why }))
}
