//! After a failed sync: writing again what the disk may not have.

use crate::{disk::ReadWait, error::LogError, flush::SYNC_FAILED_FILE, log::Log};
use std::io::{self, IoSlice};

/// Bytes written at once.
const REWRITE_CHUNK: usize = 1 << 20;

/// After a failed sync the page cache may hold what the disk does not, and no later sync would
/// write it: write it again, from a batch at or before the first one in doubt.
pub(super) fn rewrite(log: &Log) -> Result<(), LogError> {
    let mut chunk = vec![0; REWRITE_CHUNK];
    for segment in log
        .segments
        .iter()
        .filter(|segment| segment.end() > log.flushed())
    {
        let len = segment.len();
        let from = segment
            .anchor(&*log.shared.disk, log.flushed(), ReadWait::Waits)
            .map_err(LogError::io("read index of", &segment.path))?;
        let mut position = from.position;
        while position < len {
            let want = REWRITE_CHUNK.min((len - position) as usize);
            segment
                .file
                .read_exact_at(&mut chunk[..want], position)
                .map_err(LogError::io("read", &segment.path))?;
            segment
                .file
                .write_all_at(&mut [IoSlice::new(&chunk[..want])], position)
                .map_err(LogError::io("write again", &segment.path))?;
            position += want as u64;
        }
        segment
            .file
            .sync_data()
            .map_err(LogError::io("sync", &segment.path))?;
    }
    let mark = log.dir().join(SYNC_FAILED_FILE);
    match log.shared.disk.remove_file(&mark) {
        Ok(()) => {}
        // The disk would not even take the mark, or there was nothing to mark.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(LogError::Io {
                what: "remove",
                path: mark,
                source,
            });
        }
    }
    log.shared
        .disk
        .sync_dir(log.dir())
        .map_err(LogError::io("sync directory", log.dir()))
}
