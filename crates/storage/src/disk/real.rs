//! The operating system's files (Linux): positioned and vectored writes, `fdatasync`, `flock`.
//!
//! Invariants: files and directories made here are for their owner only, because logs hold records
//! and the metadata log may hold secrets of links; only index files of sealed segments are mapped,
//! and those are replaced, never changed, so no store and no truncation can meet a map. Not here:
//! any caching or retrying; an error is the caller's to judge.
#![expect(unsafe_code, reason = "a memory map of a sealed file")]

use super::{
    Boot, Disk, DiskFile, FileSystem, LockGuard, Mapped, OpenMode, Space,
    handles::{HELD_BACK, Handles, Slot},
};
use bytes::Bytes;
use rustix::{
    fs::{FallocateFlags, FlockOperation},
    io::{Errno, ReadWriteFlags},
};
use std::{
    fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions},
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// Buffers of one vectored write; Linux takes 1,024.
const BUFFERS_PER_WRITE: usize = 1024;

/// Access to a file that is made: for its owner only.
const FILE_MODE: u32 = 0o600;

/// Access to a directory that is made: for its owner only.
const DIR_MODE: u32 = 0o700;

/// Log files kept open where the system sets no limit.
const OPEN_FILES_MAX: usize = 1 << 20;

/// Log files kept open at least.
const OPEN_FILES_MIN: usize = 16;

/// The file system of this machine.
pub struct RealDisk {
    handles: Arc<Handles>,
}

impl Default for RealDisk {
    fn default() -> Self {
        RealDisk::new()
    }
}

impl RealDisk {
    /// Half of the descriptors that the process may have now are for log files, with those that are
    /// held back for their syncs and checkpoints; the rest is left to connections. Nothing is
    /// opened by this.
    pub fn new() -> RealDisk {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = limit
            .and_then(|limit| usize::try_from(limit / 2).ok())
            .unwrap_or(OPEN_FILES_MAX);
        let files = half.saturating_sub(HELD_BACK);
        RealDisk {
            handles: Arc::new(Handles::new(files.clamp(OPEN_FILES_MIN, OPEN_FILES_MAX))),
        }
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::Create => options
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(FILE_MODE),
        };
        Ok(Arc::new(RealFile(self.handles.open(
            path,
            &options,
            mode != OpenMode::Read,
        )?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(path)
    }

    fn keep_private(&self, dir: &Path) -> io::Result<()> {
        fs::set_permissions(dir, Permissions::from_mode(DIR_MODE))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.handles.briefly(|| fs::read_dir(dir))? {
            // A name that is not text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.handles.briefly(|| fs::remove_dir_all(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.handles.briefly(|| File::open(dir))?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.handles.briefly(|| fs::read(path))
    }

    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let written = self
            .handles
            .briefly(|| private_file(&temporary, true))
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_data()?;
                fs::rename(&temporary, path)
            });
        if written.is_err() {
            // On a full disk it would hold on to what little space there is.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => self.sync_dir(dir),
            Some(_) | None => self.sync_dir(Path::new(".")),
        }
    }

    fn boot_id(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = id.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let mut file = private_file(path, false)?;
        let mut content = String::new();
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                file.read_to_string(&mut content)?;
                let holder = content.lines().next().unwrap_or_default();
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!(
                        "{} is held by {}",
                        path.display(),
                        if holder.is_empty() {
                            "another process"
                        } else {
                            holder
                        }
                    ),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        // What is not text was not written by us: an unknown boot.
        let previous = file
            .read_to_string(&mut content)
            .ok()
            .and_then(|_| content.lines().nth(1))
            .map(str::to_owned);
        let boot_id = self.boot_id();
        let boot = match (&previous, &boot_id) {
            (Some(before), Some(now)) if before == now => Boot::Same,
            (Some(_), Some(_)) | (None, _) | (_, None) => Boot::Other,
        };
        file.set_len(0)?;
        file.rewind()?;
        writeln!(
            file,
            "process {}\n{}",
            std::process::id(),
            boot_id.unwrap_or_default()
        )?;
        file.sync_all()?;
        Ok(Box::new(RealLock { _file: file, boot }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        let root = File::open(dir)?;
        let device = rustix::fs::fstat(&root)?.st_dev;
        Ok(Arc::new(RealFileSystem { root, device }))
    }
}

/// Opens a file for reading and writing, made if missing and emptied if `empty`.
fn private_file(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(empty)
        .mode(FILE_MODE)
        .open(path)
}

/// One descriptor for as long as the process lives: `syncfs` reports every error since its last
/// call by this descriptor, and none twice.
struct RealFileSystem {
    root: File,
    device: u64,
}

impl FileSystem for RealFileSystem {
    fn covers(&self, file: &dyn DiskFile) -> bool {
        // What cannot be told is not vouched for.
        let stat = file
            .descriptor()
            .ok()
            .flatten()
            .and_then(|file| rustix::fs::fstat(file).ok());
        stat.is_some_and(|stat| stat.st_dev == self.device)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }
}

/// The kernel drops the lock with the descriptor.
struct RealLock {
    _file: File,
    boot: Boot,
}

impl LockGuard for RealLock {
    fn boot(&self) -> Boot {
        self.boot
    }
}

/// One file, which may be closed while nobody uses it.
struct RealFile(Arc<Slot>);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.file()?.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.file()?.read_at(buf, offset)
    }

    fn write_all_at(&self, mut bufs: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let file = self.0.file()?;
        self.0.note_write();
        IoSlice::advance_slices(&mut bufs, 0);
        while !bufs.is_empty() {
            let now = &bufs[..bufs.len().min(BUFFERS_PER_WRITE)];
            match rustix::io::pwritev(&file, now, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut bufs, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn modified_ms(&self) -> io::Result<i64> {
        let modified = self.0.metadata()?.modified()?;
        Ok(match modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        })
    }

    fn is_removed(&self) -> io::Result<bool> {
        match self.0.metadata() {
            Ok(metadata) => Ok(metadata.nlink() == 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let file = self.0.file()?;
        let before = file.metadata()?;
        file.set_len(len)?;
        if before.len() == len {
            // `ftruncate` notes the time even then: at each restart, and whenever reserved space is
            // given back.
            file.set_times(FileTimes::new().set_modified(before.modified()?))?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            self.0.file()?,
            FallocateFlags::KEEP_SIZE,
            offset,
            len,
        )?)
    }

    fn read_at_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = rustix::io::preadv2(
            self.0.file()?,
            &mut [IoSliceMut::new(buf)],
            offset,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            // The file system, the kernel, or what filters its calls.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            read => Ok(read?),
        }
    }

    fn descriptor(&self) -> io::Result<Option<Arc<File>>> {
        self.0.file().map(Some)
    }

    fn written(&self) -> u64 {
        self.0.written()
    }

    fn note_synced(&self, written: u64) {
        self.0.note_synced(written);
    }

    fn map(&self, len: usize) -> io::Result<Mapped> {
        if len == 0 {
            return Ok(Mapped::Owned(Bytes::new()));
        }
        let file = self.0.file()?;
        // SAFETY: the file is a sealed index inside our locked directory: it is replaced by rename
        // or removed, never written or cut.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(&*file)? };
        Ok(Mapped::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("made").permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let (disk, below) = (RealDisk::new(), dir.path().join("a").join("b"));
        disk.create_dir_all(&below).expect("made");
        disk.open(&below.join("log"), OpenMode::Create)
            .expect("made");
        disk.write_atomic(&below.join("checkpoint"), b"1")
            .expect("written");
        let _lock = disk.lock(&below.join("lock")).expect("taken");
        for name in ["log", "checkpoint", "lock"] {
            assert_eq!(mode(&below.join(name)), 0o600, "{name}");
        }
        assert_eq!((mode(&below), mode(&dir.path().join("a"))), (0o700, 0o700));
    }

    #[test]
    fn a_directory_that_others_could_read_is_taken_from_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = dir.path().join("open");
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, Permissions::from_mode(0o755)).expect("opened");
        RealDisk::new().keep_private(&open).expect("taken");
        assert_eq!(mode(&open), 0o700);
    }
}
