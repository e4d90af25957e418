//! Which partitions have files, so that files that were lost are noticed.
//!
//! A partition makes its folder at its first write, so a partition without a folder may be one that
//! was never written, or one whose folder is lost. The two are told apart by a mark: an empty file
//! beside the folder, `<folder>.written`.
//!
//! Invariants:
//! - The mark is made after the log, whose names are durable by then, and removed, durably, before
//!   the log is removed: after a crash at any point there is no mark without a log.
//! - A mark that is missing says nothing: it is made when a log is opened that has none (a data
//!   directory of an earlier version, or a crash right after the log was made). So making it needs
//!   no sync of its own.
//!
//! Not here: what becomes of a partition whose files are lost (`handle.rs` refuses to open it, the
//! broker says so), and files that are lost of a log that has others (`gnomon_storage`: damage).

use crate::{error::OpenError, id::PartitionName};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{Checkpoint, Disk, Log, LogError, LogOptions, OpenMode, read_checkpoint};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::warn;

/// The ending of a mark's name, after the name of the partition's folder.
const SUFFIX: &str = ".written";

/// The mark of the partition whose files lie in `folder`.
fn mark(folder: &Path) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(SUFFIX);
    PathBuf::from(path)
}

/// The name of the folder that a file of this name marks; `None` for a file that is no mark.
pub fn marked_folder(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(SUFFIX)
}

/// The partition has files from now on. Without the mark it works as well as with it; the next
/// opening makes up for it.
pub(crate) fn note(disk: &dyn Disk, folder: &Path, name: &PartitionName) {
    let mark = mark(folder);
    let made = match disk.exists(&mark) {
        Ok(false) if !forget_presence() => disk.open(&mark, OpenMode::Create).map(drop),
        there => there.map(drop),
    };
    if let Err(error) = made {
        warn!(topic = %name.topic, partition = name.index, mark = %mark.display(), %error, "the mark that the partition has files cannot be made: a loss of them would not be noticed");
    }
}

/// Whether the partition may be opened: it has its files, or never had any.
pub(crate) fn check(disk: &dyn Disk, folder: &Path) -> Result<(), OpenError> {
    match lost(disk, folder).map_err(OpenError::Look)? {
        None => Ok(()),
        Some(why) => Err(OpenError::Lost {
            folder: folder.to_owned(),
            why,
        }),
    }
}

/// The partition's files are about to be removed. Durable, so that a crash in between does not look
/// like a loss.
pub(crate) fn forget(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    match disk.remove_file(&mark(folder)) {
        Ok(()) => match folder.parent() {
            Some(above) => disk.sync_dir(above),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the folder and the mark of a partition whose topic was deleted. A mark that a crash
/// leaves behind is one of an unknown topic, which is removed at the next start.
pub fn remove(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    let there = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    there(disk.remove_file(&mark(folder)))?;
    there(disk.remove_dir_all(folder))
}

/// Why the partition whose files belong in `folder` has lost them; `None` while it has them, or
/// never had any.
pub fn lost(disk: &dyn Disk, folder: &Path) -> io::Result<Option<String>> {
    let names = match disk.list(folder) {
        Ok(names) => Some(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if names.iter().flatten().any(|name| Log::is_segment(name)) || !disk.exists(&mark(folder))? {
        return Ok(None);
    }
    Ok(Some(match names {
        None => "its folder is gone".to_owned(),
        Some(_) => match read_checkpoint(disk, folder) {
            // Emptied, and the new first segment was not made before a crash: opening makes it.
            Ok(Some(checkpoint)) if checkpoint.flushed <= checkpoint.start => return Ok(None),
            Ok(Some(checkpoint)) => format!(
                "all of its segments are gone; offsets {} to {} (exclusive) were there",
                checkpoint.start, checkpoint.flushed
            ),
            Ok(None) | Err(_) => "all of its segments are gone".to_owned(),
        },
    }))
}

/// Gives up what [`lost`] reports: the partition is empty and takes writes again. It goes on at the
/// last offset that its checkpoint knows, so that none is given to another record, and at 0 where
/// the checkpoint is lost as well. Returns that offset.
///
/// # Errors
/// If the disk refuses; the loss is not accepted then.
pub fn accept_loss(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Offset, LogError> {
    let checkpoint = read_checkpoint(&**disk, folder).ok().flatten();
    if let Some(Checkpoint { flushed, extra, .. }) = checkpoint {
        let options = LogOptions::default();
        let mut log = Log::create(disk.clone(), folder.to_owned(), options, flushed)?;
        log.checkpoint(extra)?;
        return Ok(flushed);
    }
    let gone = |source| LogError::Io {
        what: "remove what is left of",
        path: folder.to_owned(),
        source,
    };
    remove(&**disk, folder).map_err(gone)?;
    if let Some(above) = folder.parent() {
        disk.sync_dir(above).map_err(gone)?;
    }
    Ok(0)
}

/// Planted fault for tests of lost files: nobody remembers that there were any.
fn forget_presence() -> bool {
    gnomon_failpoints::fail_point!("forget_presence", |_| true);
    false
}
