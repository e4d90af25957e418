//! A disk that is looked at and never written: what would be written stays in memory, so that
//! opening a log shows what it would do.
//!
//! Invariant: nothing on the disk below changes. Files that are there can be shortened in the view
//! only, and a write into one is forgotten: opening a log makes new files, shortens old ones, and
//! writes into old ones only what stands there. Not here: locks; a dry look needs none.

use super::{Disk, DiskFile, FileSystem, LockGuard, Mapped, MemDisk, OpenMode, Space};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A view of another disk.
pub(crate) struct DryDisk {
    below: Arc<dyn Disk>,
    /// Files made since.
    made: MemDisk,
    /// Names of the disk below that were removed or replaced since.
    gone: Mutex<BTreeSet<PathBuf>>,
}

impl DryDisk {
    pub fn new(below: Arc<dyn Disk>) -> DryDisk {
        DryDisk {
            below,
            made: MemDisk::new(),
            gone: Mutex::default(),
        }
    }

    fn is_below(&self, path: &Path) -> bool {
        !self.gone.lock().contains(path)
    }

    fn refuse<T>(&self, what: &str, path: &Path) -> io::Result<T> {
        Err(io::Error::new(
            io::ErrorKind::ReadOnlyFilesystem,
            format!("{what} {}: only looked at", path.display()),
        ))
    }
}

impl Disk for DryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        match mode {
            OpenMode::Create => {
                self.gone.lock().insert(path.to_owned());
                self.made
                    .create_dir_all(path.parent().unwrap_or(Path::new("")))?;
                self.made.open(path, OpenMode::Create)
            }
            OpenMode::Read | OpenMode::ReadWrite if self.is_below(path) => {
                let file = self.below.open(path, OpenMode::Read)?;
                let len = AtomicU64::new(file.len()?);
                Ok(Arc::new(DryFile { file, len }))
            }
            OpenMode::Read | OpenMode::ReadWrite => self.made.open(path, mode),
        }
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names: BTreeSet<String> = self
            .below
            .list(dir)?
            .into_iter()
            .filter(|name| self.is_below(&dir.join(name)))
            .collect();
        if self.made.exists(dir)? {
            names.extend(self.made.list(dir)?);
        }
        Ok(names.into_iter().collect())
    }

    fn rename(&self, from: &Path, _: &Path) -> io::Result<()> {
        self.refuse("rename", from)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.gone.lock().insert(path.to_owned()) {
            return if self.below.exists(path)? {
                Ok(())
            } else {
                Err(io::ErrorKind::NotFound.into())
            };
        }
        self.made.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.refuse("remove", path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        if self.is_below(path) {
            self.below.exists(path)
        } else {
            self.made.exists(path)
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if self.is_below(path) {
            self.below.read(path)
        } else {
            self.made.read(path)
        }
    }

    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.open(path, OpenMode::Create)?
            .write_all_at(&mut [IoSlice::new(content)], 0)
    }

    fn boot_id(&self) -> Option<String> {
        self.below.boot_id()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        self.refuse("lock", path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.below.space(path)
    }

    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        self.refuse("sync the file system of", dir)
    }
}

/// A file of the disk below as it was when it was opened: what is appended to it meanwhile does not
/// show.
struct DryFile {
    file: Arc<dyn DiskFile>,
    len: AtomicU64,
}

impl DiskFile for DryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len.load(Ordering::Relaxed))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.load(Ordering::Relaxed).saturating_sub(offset);
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_at(&mut buf[..want], offset)
    }

    fn write_all_at(&self, _: &mut [IoSlice<'_>], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn modified_ms(&self) -> io::Result<i64> {
        self.file.modified_ms()
    }

    fn is_removed(&self) -> io::Result<bool> {
        self.file.is_removed()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.len.fetch_min(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn read_at_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.load(Ordering::Relaxed).saturating_sub(offset);
        let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_at_now(&mut buf[..want], offset)
    }

    fn descriptor(&self) -> io::Result<Option<Arc<File>>> {
        Ok(None)
    }

    fn map(&self, len: usize) -> io::Result<Mapped> {
        let mut bytes = vec![0; len];
        (self as &dyn DiskFile).read_exact_at(&mut bytes, 0)?;
        Ok(Mapped::Owned(bytes.into()))
    }
}
