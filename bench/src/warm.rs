//! The memory trap: on virtual machines the first touch of a page costs more CPU than the write
//! that needs it, and pages that were free for some seconds count as untouched again. A run on cold
//! memory measures that alone.

use crate::failure::Failure;
use std::{fs, io::Write, path::Path};

const CHUNK: usize = 1 << 20;

/// Writes a file as large as the coming run will and removes it, so that the run gets touched
/// pages. To be called right before.
pub fn touch_pages(folder: &Path, bytes: u64) -> Result<(), Failure> {
    let path = folder.join("hot");
    let failed = |error: std::io::Error| {
        format!(
            "cannot write {bytes} bytes to {} to warm the page cache: {error}",
            path.display()
        )
    };
    let mut file = fs::File::create(&path).map_err(failed)?;
    let chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(CHUNK as u64);
        file.write_all(&chunk[..now as usize]).map_err(failed)?;
        left -= now;
    }
    drop(file);
    fs::remove_file(&path).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        super::touch_pages(folder.path(), (1 << 20) + 1).expect("room for a megabyte");
        assert_eq!(
            std::fs::read_dir(folder.path())
                .expect("the folder")
                .count(),
            0
        );
    }
}
