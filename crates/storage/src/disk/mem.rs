//! A simulated disk that forgets what was not synced.

use super::{Disk, DiskFile, LockGuard, OpenMode};
use std::{io, path::Path, sync::Arc};

/// A handle on one simulated disk; clones share it.
#[derive(Clone, Default)]
pub struct MemDisk {}

/// What [`MemDisk::fail_next`] makes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next write writes half and fails.
    Write,
    /// The next sync of a file fails, and its unsynced bytes are in doubt for good.
    Sync,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// The power goes: per page what was not synced is kept, lost or torn, names that were not synced may be gone. Files that are open
    /// stay unusable. The boot id is another one.
    pub fn power_loss(&self, seed: u64) {
        let _ = seed;
        unimplemented!()
    }

    /// The next operation of that kind fails.
    pub fn fail_next(&self, fault: Fault) {
        let _ = fault;
        unimplemented!()
    }

    /// While set, writes that need space fail with `StorageFull`.
    pub fn set_full(&self, full: bool) {
        let _ = full;
        unimplemented!()
    }
}

impl Disk for MemDisk {
    fn open(&self, _: &Path, _: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        unimplemented!()
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        unimplemented!()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unimplemented!()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }

    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unimplemented!()
    }

    fn exists(&self, _: &Path) -> io::Result<bool> {
        unimplemented!()
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        unimplemented!()
    }

    fn write_atomic(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        unimplemented!()
    }

    fn boot_id(&self) -> Option<String> {
        unimplemented!()
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn LockGuard>> {
        unimplemented!()
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        unimplemented!()
    }
}
