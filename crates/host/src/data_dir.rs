//! The data directory itself: one process at a time, a format that this build knows, and whether
//! the kernel that wrote it still runs.
//!
//! The boot id is written only when every partition has been recovered since that boot
//! ([`DataDir::all_recovered`]): until then a further start recovers what is left as carefully as
//! the first one.

use crate::layout::PARTITIONS_FOLDER;
use gnomon_storage::{Boot, Disk, LockGuard};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The format of everything in the directory. A higher one was written by a newer version.
const FORMAT: &str = "gnomon-format 1\n";

const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";
const BOOT_FILE: &str = "boot";

/// A data directory that is ours until this is dropped.
pub struct DataDir {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    boot: Boot,
    _lock: Box<dyn LockGuard>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, read or written.
    #[error("cannot use the data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data directory {path} is in use: {source}")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who has it, as far as is known.
        source: io::Error,
    },
    /// Written by another version.
    #[error(
        "{path} says {found:?}; this version of Gnomon reads data directories of format {FORMAT:?} only"
    )]
    Format {
        /// The directory's format file.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
}

impl DataDir {
    /// Takes the directory, making it where it does not exist.
    pub fn take(disk: Arc<dyn Disk>, path: &Path) -> Result<DataDir, DataDirError> {
        let failed = |source| DataDirError::Io {
            path: path.to_owned(),
            source,
        };
        make_folders(&*disk, path).map_err(failed)?;
        let lock = disk
            .lock(&path.join(LOCK_FILE))
            .map_err(|source| match source.kind() {
                io::ErrorKind::WouldBlock => DataDirError::Locked {
                    path: path.to_owned(),
                    source,
                },
                _ => failed(source),
            })?;
        match read(&*disk, &path.join(FORMAT_FILE)).map_err(failed)? {
            None => disk
                .write_atomic(&path.join(FORMAT_FILE), FORMAT.as_bytes())
                .map_err(failed)?,
            Some(found) if found == FORMAT => {}
            Some(found) => {
                return Err(DataDirError::Format {
                    path: path.join(FORMAT_FILE),
                    found,
                });
            }
        }
        let boot = boot(&*disk, path).map_err(failed)?;
        Ok(DataDir {
            disk,
            path: path.to_owned(),
            boot,
            _lock: lock,
        })
    }

    /// Whether the kernel that wrote the directory still runs.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// Every partition has been opened since this boot.
    pub fn all_recovered(&self) -> io::Result<()> {
        match self.disk.boot_id() {
            Some(boot_id) => self
                .disk
                .write_atomic(&self.path.join(BOOT_FILE), boot_id.as_bytes()),
            None => Ok(()),
        }
    }
}

/// Whether the kernel that wrote the directory still runs.
pub fn boot(disk: &dyn Disk, path: &Path) -> io::Result<Boot> {
    Ok(match read(disk, &path.join(BOOT_FILE))? {
        Some(boot_id) if Some(boot_id.as_str()) == disk.boot_id().as_deref() => Boot::Same,
        Some(_) | None => Boot::Other,
    })
}

/// Makes the directory and the folder of the partitions, and their names durable: a log below makes
/// only its own name so. A start before this one may have made them and come no further.
fn make_folders(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let folder = path.join(PARTITIONS_FOLDER);
    let missing = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !disk.exists(folder).unwrap_or(true))
        .count();
    disk.create_dir_all(&folder)?;
    for (depth, made) in folder.ancestors().enumerate().take(missing.max(2)) {
        let synced = match made.parent() {
            Some(above) if above.as_os_str().is_empty() => disk.sync_dir(Path::new(".")),
            Some(above) => disk.sync_dir(above),
            None => Ok(()),
        };
        match synced {
            // Somebody else's folder, in which ours was made by others as well.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && depth >= missing => {}
            synced => synced?,
        }
    }
    Ok(())
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<String>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
