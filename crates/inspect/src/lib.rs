//! The offline tools' view of a data directory: reads whole batches and the metadata without the
//! directory's lock, also while a site uses it. It changes nothing.
//!
//! - [`Checks`] reads every batch of a site and reports damage.
//! - [`whole_batches`] visits the batches of one partition.
//! - [`read_image`] rebuilds the site's metadata from its log.
#![forbid(unsafe_code)]

mod check;

pub use check::{CheckedPartition, Checks};
pub use gnomon_partition::inspect::{Snapshot, read_snapshot};

use bytes::Bytes;
use gnomon_catalog::{Catalog, Image};
use gnomon_driver::{JournalError, LogPosition, ReadLog, Visit, read_durable, visit_batch};
use gnomon_host::{METADATA_PARTITION, partition_folder};
use gnomon_partition::PartitionId;
use gnomon_protocol::{
    batch::{BatchHeader, BatchView, HEADER_BYTES},
    ids::Offset,
};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

/// How much of a file is read at a time.
const READ_BYTES: usize = 1 << 20;

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// Not TOPIC-PARTITION.
    #[error("{given:?} is not TOPIC-PARTITION, such as orders-0")]
    Name { given: String },
    /// No such topic or partition.
    #[error("there is no partition {name} in {path}")]
    Unknown { name: String, path: PathBuf },
    /// A partition's log cannot be looked at.
    #[error("cannot check {folder}: {why}")]
    Log {
        /// The partition's folder.
        folder: PathBuf,
        why: String,
    },
    /// The metadata log holds what this build does not know.
    #[error("cannot read the metadata in {path}: {why}")]
    Metadata { path: PathBuf, why: String },
}

/// The range that was covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First offset.
    pub start: Offset,
    /// The offset after the last.
    pub end: Offset,
    /// Whole batches.
    pub batches: u64,
    pub bytes: u64,
}

/// Hands every whole batch of a partition, below `to` if that is given, to `visit`, in order.
pub fn whole_batches(
    data: &Path,
    partition: &str,
    to: Option<Offset>,
    mut visit: impl FnMut(&[u8]),
) -> Result<Span, InspectError> {
    let id = find(data, partition)?;
    let mut span: Option<Span> = None;
    each_batch(&partition_folder(data, id), &mut |batch| {
        let header = batch.header();
        if to.is_some_and(|to| header.next_offset() > to) {
            return false;
        }
        let so_far = span.get_or_insert(Span {
            start: header.base_offset,
            ..Span::default()
        });
        so_far.end = header.next_offset();
        so_far.batches += 1;
        so_far.bytes += batch.bytes().len() as u64;
        visit(batch.bytes());
        true
    })?;
    Ok(span.unwrap_or_default())
}

fn find(data: &Path, partition: &str) -> Result<PartitionId, InspectError> {
    let wrong = || InspectError::Name {
        given: partition.to_owned(),
    };
    let (name, index) = partition.rsplit_once('-').ok_or_else(wrong)?;
    let index: i32 = index.parse().map_err(|_| wrong())?;
    let unknown = || InspectError::Unknown {
        name: partition.to_owned(),
        path: data.to_owned(),
    };
    let image = read_image(data)?;
    let topic = image.topic_by_name(name).ok_or_else(unknown)?;
    topic.partition(index).ok_or_else(unknown)?;
    Ok(PartitionId {
        topic_id: topic.id,
        index,
    })
}

/// The site's metadata as it lies on the disk.
pub fn read_image(data: &Path) -> Result<Image, InspectError> {
    let folder = partition_folder(data, METADATA_PARTITION);
    let mut stored = Vec::new();
    each_batch(&folder, &mut |batch| {
        stored.push(batch);
        true
    })?;
    let log = StoredLog {
        folder,
        batches: stored,
    };
    match read_durable::<Catalog>(&log) {
        Ok(image) => Ok(image),
        Err(error) => Err(InspectError::Metadata {
            path: log.folder,
            why: error.to_string(),
        }),
    }
}

/// A log that was read whole.
struct StoredLog {
    folder: PathBuf,
    batches: Vec<BatchView>,
}

impl ReadLog for StoredLog {
    fn start(&self) -> LogPosition {
        let first = self.batches.first();
        LogPosition::at(first.map_or(0, |batch| batch.header().base_offset))
    }

    fn read_from(
        &self,
        from: LogPosition,
        _committed_only: bool,
        visit: &mut Visit<'_>,
    ) -> Result<LogPosition, JournalError> {
        let name = self.folder.display().to_string();
        let mut next = from;
        for batch in &self.batches {
            next = visit_batch(batch, from.offset(), &name, visit)?;
        }
        Ok(next)
    }
}

/// Hands every whole batch of a log to `visit`, in order, until one is not whole or `visit` has
/// seen enough. A segment that retention takes away meanwhile is passed over.
fn each_batch(folder: &Path, visit: &mut dyn FnMut(BatchView) -> bool) -> Result<(), InspectError> {
    for path in segments(folder)? {
        let failed = |source| InspectError::Io {
            path: path.clone(),
            source,
        };
        let mut file = match File::open(&path) {
            Ok(file) => BufReader::with_capacity(READ_BYTES, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        while let Some(batch) = next_batch(&mut file).map_err(failed)? {
            if !visit(batch) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A log's segments in the order of their offsets; a partition that was never written has none.
fn segments(folder: &Path) -> Result<Vec<PathBuf>, InspectError> {
    let failed = |source| InspectError::Io {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                if path.extension().is_some_and(|extension| extension == "log") {
                    found.push(path);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    found.sort();
    Ok(found)
}

/// The next batch; `None` at the end of what is whole.
fn next_batch(file: &mut impl Read) -> io::Result<Option<BatchView>> {
    let mut bytes = vec![0; HEADER_BYTES];
    match file.read_exact(&mut bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let Ok(header) = BatchHeader::parse(&bytes) else {
        return Ok(None);
    };
    let rest = header.total_bytes() - HEADER_BYTES;
    let read = file.take(rest as u64).read_to_end(&mut bytes)?;
    if read < rest {
        return Ok(None);
    }
    Ok(BatchView::parse_first(&mut Bytes::from(bytes))
        .ok()
        .flatten())
}
