//! Making a log: its directory and its first segment, all with durable names.

use crate::{
    checkpoint,
    disk::{Disk, OpenMode},
    durability::{Durability, Durable},
    error::LogError,
    log::Log,
    options::LogOptions,
    segment::{Indexer, Segment, base_of, log_path},
    shared::{Found, Shared},
};
use gnomon_protocol::ids::Offset;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

impl Log {
    /// Makes the directory and the first segment, both with durable names. `start` is where the
    /// first offset will be.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        start: Offset,
    ) -> Result<Log, LogError> {
        create(disk, dir, options, start)
    }
}

pub(crate) fn create(
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    start: Offset,
) -> Result<Log, LogError> {
    // Every directory that is made here needs a durable name too, and the last one also if an
    // earlier attempt made it and came no further.
    let mut to_sync = vec![dir.as_path()];
    for above in dir.ancestors() {
        let parent = above
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let is_new = !disk.exists(above).map_err(LogError::io("look at", above))?;
        match parent {
            Some(parent) if is_new || above == dir => to_sync.push(parent),
            Some(_) | None => break,
        }
    }
    disk.create_dir_all(&dir)
        .map_err(LogError::io("create", &dir))?;
    remove(&*disk, &dir.join(checkpoint::FILE))?;
    remove_empty_segments(&*disk, &dir)?;
    let segment =
        Segment::create(&*disk, &dir, start, 0).map_err(LogError::io("create segment in", &dir))?;
    segment.name_synced.store(true, Ordering::Release);
    // From the top: what is below a name that is not durable is not either.
    for dir in to_sync.into_iter().rev() {
        disk.sync_dir(dir)
            .map_err(LogError::io("sync directory", dir))?;
    }
    let indexer = Indexer::new(start, options.index_interval_bytes);
    let durability = Durability::new(Durable::at(start), Vec::new());
    let shared = Shared::new(
        disk,
        dir,
        vec![segment.into()],
        start,
        start,
        Found::default(),
    );
    Ok(Log::new(shared, options, indexer, durability))
}

/// Removes the empty segments that a failed attempt to make a log left here. A segment with batches
/// is none of that.
fn remove_empty_segments(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    for base in disk
        .list(dir)
        .map_err(LogError::io("list", dir))?
        .iter()
        .filter_map(|name| base_of(name))
    {
        let path = log_path(dir, base);
        let file = disk
            .open(&path, OpenMode::Read)
            .map_err(LogError::io("open", &path))?;
        if !file.is_empty().map_err(LogError::io("look at", &path))? {
            return Err(LogError::Io {
                what: "make a log where there is one,",
                path,
                source: io::ErrorKind::AlreadyExists.into(),
            });
        }
        remove_segment(disk, dir, base)?;
    }
    Ok(())
}

/// Removes a segment's files, its indexes first: they are nothing without it.
pub(crate) fn remove_segment(disk: &dyn Disk, dir: &Path, base: Offset) -> Result<(), LogError> {
    let path = log_path(dir, base);
    ["timeindex", "index", "log"]
        .iter()
        .try_for_each(|extension| remove(disk, &path.with_extension(extension)))
}

/// Removes a file that may not be there.
fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(LogError::io("remove", path)),
    }
}
