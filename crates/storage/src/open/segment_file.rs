//! The file of one segment, with what is known of it before its bytes are looked at.

use super::known::Known;
use crate::{
    checkpoint::Summary,
    disk::{Disk, DiskFile, OpenMode},
    error::LogError,
    segment::log_path,
};
use gnomon_protocol::ids::Offset;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// One segment's file.
pub(super) struct SegmentFile<'a> {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub base: Offset,
    /// Bytes in the file.
    pub len: u64,
    /// Base offsets of the segments after it.
    pub later: &'a [Offset],
    /// The checkpoint's summary of it.
    pub summary: Option<Summary>,
}

impl<'a> SegmentFile<'a> {
    /// Opens the file of the segment at `base`, which the segments at `later` follow.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        known: &Known,
        base: Offset,
        later: &'a [Offset],
    ) -> Result<SegmentFile<'a>, LogError> {
        let path = log_path(dir, base);
        let file = disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(LogError::io("open", &path))?;
        let len = file.len().map_err(LogError::io("look at", &path))?;
        let mut noted = known.checkpoint.iter().flat_map(|c| &c.segments);
        let summary = noted.find(|summary| summary.base == base).copied();
        Ok(SegmentFile {
            path,
            file,
            base,
            len,
            later,
            summary,
        })
    }
}
