//! Cutting a log off where it ends, and counting what goes.

use crate::{
    create::remove_segment,
    disk::{Disk, DiskFile, OpenMode},
    recover::Cut,
    resync::{Search, resync},
    segment::log_path,
    walk::{Step, Walk},
};
use gnomon_protocol::ids::Offset;
use std::{io, path::Path, sync::Arc};

/// A place in a segment.
pub(super) struct Place<'a> {
    pub file: &'a Arc<dyn DiskFile>,
    /// Bytes in the file.
    pub len: u64,
    pub position: u64,
    /// Offset of the batch that would be there.
    pub offset: Offset,
}

/// Whether a later segment begins with a batch.
pub(super) fn any_valid(disk: &dyn Disk, dir: &Path, later: &[Offset]) -> io::Result<bool> {
    for base in later {
        let file = disk.open(&log_path(dir, *base), OpenMode::Read)?;
        let len = file.len()?;
        if let Step::Batch(header) = Walk::new(file, 0, len).peek()?
            && header.base_offset >= *base
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends the log at a place: the rest of the segment goes, and every segment after it. `why` is
/// noted with what went.
pub(super) fn cut_off(
    disk: &dyn Disk,
    dir: &Path,
    at: &Place<'_>,
    later: &[Offset],
    why: String,
) -> io::Result<Cut> {
    let &Place {
        file,
        len,
        position,
        offset,
    } = at;
    let mut cut = Cut {
        at: offset,
        batches: 0,
        bytes: len - position,
        why,
    };
    let search = Search {
        from: position,
        end: len,
        lowest: offset,
        below: Offset::MAX,
        target: None,
    };
    if let Some((found, _)) = resync(file, &search)? {
        cut.batches += count(file.clone(), found, len)?;
    }
    for base in later.iter().rev() {
        let gone = disk.open(&log_path(dir, *base), OpenMode::Read)?;
        let bytes = gone.len()?;
        cut.bytes += bytes;
        cut.batches += count(gone, 0, bytes)?;
        remove_segment(disk, dir, *base).map_err(io::Error::other)?;
        disk.sync_dir(dir)?;
    }
    file.set_len(position)?;
    file.sync_data()?;
    Ok(cut)
}

/// Headers that follow one another from `position` on.
fn count(file: Arc<dyn DiskFile>, position: u64, len: u64) -> io::Result<u64> {
    let mut walk = Walk::new(file, position, len);
    let mut batches = 0;
    while let Step::Batch(_) = walk.next()? {
        batches += 1;
    }
    Ok(batches)
}
