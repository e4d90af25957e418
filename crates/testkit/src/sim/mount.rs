//! A simulated disk as one life of a process has it: everything fails once that life is over, and
//! it may end in the middle of an operation.
//!
//! Invariant: after the life's end, not a byte and not a name changes on the disk by it. What a
//! power loss leaves is `MemDisk`'s.

use gnomon_storage::{
    Boot, Disk, DiskFile, FileSystem, LockGuard, Mapped, MemDisk, OpenMode, Space,
};
use parking_lot::Mutex;
use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One life's disk. Clones are the same.
#[derive(Clone)]
pub struct Mount(Arc<MountShared>);

struct MountShared {
    disk: MemDisk,
    state: Mutex<MountState>,
}

struct MountState {
    alive: bool,
    /// Operations left until the life ends.
    fuse: Option<u64>,
    /// Additional work at that moment.
    blown: Option<Box<dyn FnOnce() + Send>>,
    /// The lock that is held, so that death frees it.
    lock: Option<Box<dyn LockGuard>>,
}

impl Mount {
    /// The disk for a new life.
    pub fn new(disk: MemDisk) -> Mount {
        Mount(Arc::new(MountShared {
            disk,
            state: Mutex::new(MountState {
                alive: true,
                fuse: None,
                blown: None,
                lock: None,
            }),
        }))
    }

    /// The life is over.
    pub fn end(&self) {
        let mut state = self.0.state.lock();
        (state.alive, state.lock, state.fuse) = (false, None, None);
    }

    /// The life ends right before the operation that comes `after` that many others; then `blown`
    /// is called, once.
    pub fn end_after(&self, after: u64, blown: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state.lock();
        if state.alive {
            state.fuse = Some(after);
            state.blown = Some(Box::new(blown));
        }
    }

    /// The disk, if the life goes on.
    fn disk(&self) -> io::Result<&MemDisk> {
        let mut state = self.0.state.lock();
        match &mut state.fuse {
            Some(0) => {
                (state.alive, state.lock, state.fuse) = (false, None, None);
                let blown = state.blown.take();
                drop(state);
                if let Some(blown) = blown {
                    blown();
                }
                return Err(dead());
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if state.alive {
            Ok(&self.0.disk)
        } else {
            Err(dead())
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("the process that had this disk is dead")
}

impl Disk for Mount {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File {
            mount: self.clone(),
            file: self.disk()?.open(path, mode)?,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk()?.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk()?.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk()?.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk()?.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk()?.remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk()?.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk()?.exists(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk()?.read(path)
    }

    /// In the steps that a file system has for it, so that the power may go between any two.
    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.open(&temporary, OpenMode::Create)?;
        file.write_all_at(&mut [IoSlice::new(content)], 0)?;
        file.sync_data()?;
        self.rename(&temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }

    fn boot_id(&self) -> Option<String> {
        self.0.disk.boot_id()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let guard = self.disk()?.lock(path)?;
        let boot = guard.boot();
        self.0.state.lock().lock = Some(guard);
        Ok(Box::new(Held {
            mount: self.clone(),
            boot,
        }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk()?.space(path)
    }

    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(Whole {
            mount: self.clone(),
            file_system: self.disk()?.file_system(dir)?,
        }))
    }
}

/// The process's lock: it has one, on its data directory.
struct Held {
    mount: Mount,
    boot: Boot,
}

impl LockGuard for Held {
    fn boot(&self) -> Boot {
        self.boot
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.mount.0.state.lock().lock = None;
    }
}

struct File {
    mount: Mount,
    file: Arc<dyn DiskFile>,
}

/// The file system, for as long as the life goes on.
struct Whole {
    mount: Mount,
    file_system: Arc<dyn FileSystem>,
}

impl FileSystem for Whole {
    fn covers(&self, _: &dyn DiskFile) -> bool {
        true
    }

    fn sync(&self) -> io::Result<()> {
        self.mount.disk()?;
        self.file_system.sync()
    }
}

impl File {
    fn file(&self) -> io::Result<&dyn DiskFile> {
        self.mount.disk()?;
        Ok(&*self.file)
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at(buf, offset)
    }

    fn write_all_at(&self, bufs: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file()?.write_all_at(bufs, offset)
    }

    fn modified_ms(&self) -> io::Result<i64> {
        self.file()?.modified_ms()
    }

    fn is_removed(&self) -> io::Result<bool> {
        self.file()?.is_removed()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file()?.allocate(offset, len)
    }

    fn read_at_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at_now(buf, offset)
    }

    fn descriptor(&self) -> io::Result<Option<Arc<std::fs::File>>> {
        Ok(None)
    }

    fn map(&self, len: usize) -> io::Result<Mapped> {
        self.file()?.map(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn after_the_end_nothing_changes_and_the_lock_is_free() {
        let disk = MemDisk::new();
        let mount = Mount::new(disk.clone());
        mount.create_dir_all(Path::new("/data")).unwrap();
        let held = mount.lock(Path::new("/data/lock")).unwrap();
        let file = mount
            .open(Path::new("/data/file"), OpenMode::Create)
            .unwrap();
        mount.end();
        assert!(
            file.write_all_at(&mut [IoSlice::new(b"late")], 0).is_err()
                && mount.remove_file(Path::new("/data/file")).is_err()
        );
        assert_eq!(disk.read(Path::new("/data/file")).unwrap(), b"");
        let next = Mount::new(disk);
        let again = next.lock(Path::new("/data/lock")).unwrap();
        drop(held);
        assert!(
            next.lock(Path::new("/data/lock")).is_err(),
            "the former life's guard frees nothing of the next one"
        );
        drop(again);
    }

    #[test]
    fn the_power_goes_between_two_steps_of_an_operation() {
        let path = Path::new("/state");
        let mut found = std::collections::BTreeSet::new();
        for after in 0..6 {
            let disk = MemDisk::new();
            disk.write_atomic(path, b"old").unwrap();
            let mount = Mount::new(disk.clone());
            let dark = Arc::new(AtomicBool::new(false));
            let (told, power) = (dark.clone(), disk.clone());
            mount.end_after(after, move || {
                power.power_loss(after);
                told.store(true, Ordering::SeqCst);
            });
            let written = mount.write_atomic(path, b"new");
            assert_eq!(written.is_err(), dark.load(Ordering::SeqCst));
            let there = disk.read(path).unwrap();
            assert!(
                there == b"old" || there == b"new" && (written.is_ok() || after >= 4),
                "{after}: {there:?}"
            );
            found.insert((written.is_ok(), there));
        }
        assert!(found.len() >= 2, "{found:?}");
    }
}
