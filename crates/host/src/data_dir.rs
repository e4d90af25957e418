//! The data directory itself: one process at a time, a format that this build knows, and whether
//! the kernel that wrote it still runs.
//!
//! The boot id is written only when every partition has been recovered since that boot
//! ([`DataDir::all_recovered`]): until then a further start recovers what is left as carefully as
//! the first one.

use crate::layout::{METADATA_PARTITION, PARTITIONS_FOLDER, partition_folder};
use gnomon_storage::{Boot, Disk, LockGuard};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::warn;

/// The format of everything in the directory. A higher one was written by a newer version.
const FORMAT: &str = "gnomon-format 1\n";

const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";
const BOOT_FILE: &str = "boot";

/// As many names are shown of a directory that is not ours.
const FOREIGN_NAMES_MAX: usize = 3;

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
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data directory {path} is in use: {source}")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The error of the lock, with its holder as far as is known.
        source: io::Error,
    },
    /// It was used, and the folder of its partitions is gone.
    #[error(
        "{folder} is gone, with every topic of this site. Bring it back; or, to begin as a new site without them, remove the rest of the data directory"
    )]
    Lost {
        /// Where the partitions were.
        folder: PathBuf,
    },
    /// Written by another version.
    #[error(
        "{path} says {found:?}; this version of Gnomon reads data directories of format {FORMAT:?} only"
    )]
    Format {
        /// The directory's format file.
        path: PathBuf,
        /// The content of its format file.
        found: String,
    },
    /// It has files, and none of them is ours.
    #[error(
        "{path} is not a data directory of Gnomon: it has no `{FORMAT_FILE}` file, and it has {}; name an empty or a new directory with --data",
        found.join(", ")
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Some of what lies there.
        found: Vec<String>,
    },
    /// It has partitions of a format that nothing tells.
    #[error(
        "{path} has partitions but no `{FORMAT_FILE}` file, so it is not complete: restore the whole directory from a backup; if only that file is missing \
         and this version of Gnomon wrote the rest, write {FORMAT:?} into {path}/{FORMAT_FILE}"
    )]
    NoFormat {
        /// The directory.
        path: PathBuf,
    },
}

impl DataDir {
    /// Takes the directory, making it where it does not exist.
    pub fn take(disk: Arc<dyn Disk>, path: &Path) -> Result<DataDir, DataDirError> {
        let failed = |source| DataDirError::Io {
            path: path.to_owned(),
            source,
        };
        check_without_format(&*disk, path)?;
        let started_before = disk.exists(&path.join(FORMAT_FILE)).map_err(failed)?;
        let folder = path.join(PARTITIONS_FOLDER);
        if started_before && !disk.exists(&folder).map_err(failed)? {
            return Err(DataDirError::Lost { folder });
        }
        make_folders(&*disk, path).map_err(failed)?;
        keep_metadata_private(&*disk, path).map_err(failed)?;
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

/// A directory without a format file is used only if it is new: no partitions in it, which come
/// after the format file, and nothing of others. Nothing is written before that is known.
fn check_without_format(disk: &dyn Disk, path: &Path) -> Result<(), DataDirError> {
    let failed = |source| DataDirError::Io {
        path: path.to_owned(),
        source,
    };
    let partitions = path.join(PARTITIONS_FOLDER);
    if !disk.exists(path).map_err(failed)?
        || disk.exists(&path.join(FORMAT_FILE)).map_err(failed)?
    {
        return Ok(());
    }
    if disk.exists(&partitions).map_err(failed)?
        && !disk.list(&partitions).map_err(failed)?.is_empty()
    {
        return Err(DataDirError::NoFormat {
            path: path.to_owned(),
        });
    }
    let mut found = disk.list(path).map_err(failed)?;
    found.retain(|name| !may_be_in_a_new_directory(name));
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    found.truncate(FOREIGN_NAMES_MAX);
    Err(DataDirError::Foreign {
        path: path.to_owned(),
        found,
    })
}

/// Files that a first start has left that was cut short, and those of people and file systems:
/// configuration, link files, `lost+found`, hidden files.
fn may_be_in_a_new_directory(name: &str) -> bool {
    let left = [LOCK_FILE, BOOT_FILE, PARTITIONS_FOLDER, "format.tmp"];
    left.contains(&name)
        || name == "lost+found"
        || name.starts_with('.')
        || [".toml", ".yaml", ".yml"]
            .iter()
            .any(|extension| name.ends_with(extension))
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

/// The metadata log may hold secrets of links. An earlier version made its folder readable for
/// everybody.
fn keep_metadata_private(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let folder = partition_folder(path, METADATA_PARTITION);
    if !disk.exists(&folder)? {
        return Ok(());
    }
    match disk.keep_private(&folder) {
        // Only its owner may say who else reads it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            warn!(
                "{} belongs to another user, and may be readable for others: {error}",
                folder.display()
            );
            Ok(())
        }
        kept => kept,
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<String>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_storage::MemDisk;

    fn taken(disk: &Arc<dyn Disk>) -> Result<(), DataDirError> {
        DataDir::take(disk.clone(), Path::new("/d")).map(drop)
    }

    fn write(disk: &Arc<dyn Disk>, name: &str) {
        let path = Path::new("/d").join(name);
        let folder = path.parent().expect("a folder");
        disk.create_dir_all(folder).expect("made");
        disk.write_atomic(&path, b"content").expect("written");
    }

    #[test]
    fn a_new_directory_may_have_configuration_and_what_a_first_start_left() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        for name in [
            "gnomon.toml",
            "from-b.yaml",
            ".keep",
            "lost+found/x",
            "format.tmp",
        ] {
            write(&disk, name);
        }
        disk.create_dir_all(Path::new("/d/partitions"))
            .expect("made");
        taken(&disk).expect("new");
        write(&disk, "notes.txt");
        taken(&disk).expect("ours: it has a format file");
    }

    #[test]
    fn a_directory_of_others_is_refused_and_left_as_it_is() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        write(&disk, "thesis.tex");
        let refused = taken(&disk).expect_err("not ours").to_string();
        assert!(refused.contains("it has thesis.tex"), "{refused}");
        assert_eq!(disk.list(Path::new("/d")).expect("listed"), ["thesis.tex"]);
    }

    #[test]
    fn partitions_without_a_format_file_are_refused() {
        let disk: Arc<dyn Disk> = Arc::new(MemDisk::new());
        taken(&disk).expect("new");
        write(&disk, "partitions/orders-0/00000000000000000000.log");
        disk.remove_file(Path::new("/d/format")).expect("removed");
        let refused = taken(&disk).expect_err("incomplete").to_string();
        assert!(refused.contains("no `format` file"), "{refused}");
    }
}
