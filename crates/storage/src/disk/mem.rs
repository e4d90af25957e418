//! A simulated disk that forgets what was not synced.
//!
//! It keeps two states, what a running system sees and what would be found after a power loss, and
//! moves bytes to the second on [`DiskFile::sync_data`] and names on [`Disk::sync_dir`] only.
//! [`MemDisk::power_loss`] then decides by seed, for everything in between: each 4 KiB page of a
//! file kept, lost or torn at a 512-byte sector, each file's length, each change of a name.
//! Invariant: the same calls and the same seed give the same bytes. Not here: latency, and read
//! errors.

mod faults;
mod inode;
mod names;

pub use self::faults::Fault;

use super::{Boot, Disk, DiskFile, FileSystem, LockGuard, Mapped, OpenMode, Space};
use bytes::Bytes;
use faults::{Faults, injected};
use inode::{DiskRng, Inode};
use names::{Change, Names, Node, rename};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A handle on one simulated disk; clones share it.
#[derive(Clone, Default)]
pub struct MemDisk(Arc<MemDiskState>);

#[derive(Default)]
struct MemDiskState {
    names: Mutex<Names>,
    /// Files opened before the last power loss are dead.
    generation: AtomicU64,
    faults: Faults,
    /// Reads of files so far.
    reads: AtomicU64,
    /// Renames so far.
    renames: AtomicU64,
    /// The time that files are written at, in milliseconds since 1970; `None`: at the end of all
    /// time.
    now_ms: Mutex<Option<i64>>,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// Another disk as this one is now, written and not synced bytes included, without faults and
    /// locks: what the next process finds if this one is killed at this moment.
    pub fn copy(&self) -> MemDisk {
        MemDisk(Arc::new(MemDiskState {
            names: Mutex::new(self.0.names.lock().copy()),
            ..MemDiskState::default()
        }))
    }

    /// The power goes: what was not synced is kept, lost or torn by `seed`. Files that are open are
    /// unusable from now on, locks are free, and the boot id is another one.
    pub fn power_loss(&self, seed: u64) {
        let mut rng = DiskRng(seed);
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        self.0.faults.heal();
        let names = &mut *self.0.names.lock();
        names.held.clear();
        let mut files: Vec<_> = names
            .live
            .values()
            .chain(names.durable.values())
            .filter_map(Node::file)
            .collect();
        let mut durable = std::mem::take(&mut names.durable);
        // One seed in four each: all changes of names made it, none did, or each by itself.
        let mood = rng.below(4);
        for change in names.pending.drain(..) {
            let survives = match mood {
                0 => true,
                1 => false,
                _ => rng.below(2) == 0,
            };
            if survives {
                change.apply(&mut durable);
            }
        }
        files.extend(durable.values().filter_map(Node::file));
        let known: BTreeSet<PathBuf> = durable
            .iter()
            .filter(|(_, node)| matches!(node, Node::Dir))
            .map(|(path, _)| path.clone())
            .collect();
        durable.retain(|path, _| {
            path.ancestors()
                .skip(1)
                .all(|above| is_root(above) || known.contains(above))
        });
        names.durable = durable.clone();
        names.live = durable;
        for file in files {
            file.lock().power_loss(&mut rng);
        }
    }

    /// The next operation of that kind fails, on whatever file.
    pub fn fail_next(&self, fault: Fault) {
        self.0.faults.fail_next(fault);
    }

    /// Calls so far that change something or sync.
    pub fn calls(&self) -> u64 {
        self.0.faults.calls()
    }

    /// Renames so far: each file that is written atomically takes one.
    pub fn renames(&self) -> u64 {
        self.0.renames.load(Ordering::Relaxed)
    }

    /// Reads of files so far, as often as somebody asked for bytes.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// Calls with these numbers, as [`MemDisk::calls`] counts, fail, having done part of their work
    /// where a real one could.
    pub fn fail_calls(&self, calls: Range<u64>) {
        self.0.faults.fail_calls(calls);
    }

    /// While set, new files and writes that make a file longer fail with `StorageFull`.
    pub fn set_full(&self, full: bool) {
        self.0.faults.set_full(full);
    }

    /// Files may have so many bytes in all: what does not fit any more is written as far as it
    /// does, and fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.faults.set_capacity(bytes);
    }

    /// Whether after a failed sync a running system sees what the disk holds, zeros where it holds
    /// nothing, as on some file systems; else the unsynced bytes stay readable.
    pub fn set_forgetful(&self, forgetful: bool) {
        self.0.faults.set_forgetful(forgetful);
    }

    /// Files that are written from now on note this time, in milliseconds since 1970. Until it is
    /// set no file is of any age.
    pub fn set_time(&self, now_ms: i64) {
        *self.0.now_ms.lock() = Some(now_ms);
    }

    /// Whether a read must wait for the disk: nothing is in the page cache.
    pub fn set_cold(&self, cold: bool) {
        self.0.faults.set_cold(cold);
    }

    /// Syncs of files below this path hang until another path, or `None`, is given.
    pub fn hold_syncs(&self, below: Option<PathBuf>) {
        self.0.faults.hold_syncs(below);
    }

    /// From now on every sync of a file or directory takes this long, as on a slow disk.
    pub fn set_sync_time(&self, time: Duration) {
        self.0.faults.set_sync_time(time);
    }

    /// Everything works again, and what was held goes on.
    pub fn heal(&self) {
        self.0.faults.heal();
    }

    /// Bytes of all files that have a name, and what is reserved for them.
    pub fn used_bytes(&self) -> u64 {
        self.0.used_bytes()
    }

    fn inode(&self, path: &Path) -> io::Result<Arc<Mutex<Inode>>> {
        self.0
            .names
            .lock()
            .live
            .get(path)
            .and_then(Node::file)
            .ok_or_else(|| missing(path))
    }
}

impl MemDiskState {
    fn used_bytes(&self) -> u64 {
        let files: Vec<_> = self
            .names
            .lock()
            .live
            .values()
            .filter_map(Node::file)
            .collect();
        files.iter().map(|file| file.lock().taken() as u64).sum()
    }

    fn now_ms(&self) -> i64 {
        self.now_ms.lock().unwrap_or(i64::MAX)
    }

    fn room(&self) -> Option<u64> {
        self.faults.room(|| self.used_bytes())
    }
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.parent().is_none()
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("{} is not on the simulated disk", path.display()),
    )
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::Create {
            self.0.faults.call()?;
        }
        let room = self.0.room();
        let names = &mut *self.0.names.lock();
        let inode = match (names.live.get(path), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(inode)), OpenMode::Create) => {
                inode.lock().live.clear();
                inode.clone()
            }
            (Some(Node::File(inode)), OpenMode::Read | OpenMode::ReadWrite) => inode.clone(),
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(missing(path)),
            (None, OpenMode::Create) => {
                let above = path.parent().unwrap_or(Path::new(""));
                if !is_root(above) && !matches!(names.live.get(above), Some(Node::Dir)) {
                    return Err(missing(above));
                }
                if room == Some(0) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let inode = Arc::new(Mutex::new(Inode {
                    modified_ms: self.0.now_ms(),
                    ..Inode::default()
                }));
                names
                    .live
                    .insert(path.to_owned(), Node::File(inode.clone()));
                names
                    .pending
                    .push(Change::Put(path.to_owned(), Node::File(inode.clone())));
                inode
            }
        };
        let generation = self.0.generation.load(Ordering::SeqCst);
        Ok(Arc::new(MemFile {
            disk: self.0.clone(),
            path: path.to_owned(),
            inode,
            generation,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.faults.call()?;
        let names = &mut *self.0.names.lock();
        let mut wanted: Vec<_> = path.ancestors().filter(|above| !is_root(above)).collect();
        wanted.reverse();
        for dir in wanted {
            match names.live.get(dir) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    names.live.insert(dir.to_owned(), Node::Dir);
                    names.pending.push(Change::Put(dir.to_owned(), Node::Dir));
                }
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.0.names.lock();
        if !is_root(dir) && !matches!(names.live.get(dir), Some(Node::Dir)) {
            return Err(missing(dir));
        }
        let inside = names.live.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.faults.call()?;
        self.0.renames.fetch_add(1, Ordering::Relaxed);
        let names = &mut *self.0.names.lock();
        if !names.live.contains_key(from) {
            return Err(missing(from));
        }
        rename(&mut names.live, from, to);
        names
            .pending
            .push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.faults.call()?;
        let names = &mut *self.0.names.lock();
        match names.live.remove(path) {
            Some(Node::File(_)) => names.pending.push(Change::Remove(path.to_owned())),
            Some(Node::Dir) => {
                names.live.insert(path.to_owned(), Node::Dir);
                return Err(io::ErrorKind::IsADirectory.into());
            }
            None => return Err(missing(path)),
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let failed = self.0.faults.call();
        let names = &mut *self.0.names.lock();
        if !names.live.contains_key(path) {
            return Err(missing(path));
        }
        if failed.is_err() {
            // It came as far as the first file.
            let inside = names
                .live
                .iter()
                .find(|(name, node)| name.starts_with(path) && matches!(node, Node::File(_)));
            if let Some(first) = inside.map(|(name, _)| name.clone()) {
                names.live.remove(&first);
                names.pending.push(Change::Remove(first));
            }
            return failed;
        }
        names.live.retain(|name, _| !name.starts_with(path));
        names.pending.push(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.faults.take_sync_time();
        self.0.faults.call()?;
        let names = &mut *self.0.names.lock();
        if !is_root(dir) && !matches!(names.live.get(dir), Some(Node::Dir)) {
            return Err(missing(dir));
        }
        for change in names.pending.extract_if(.., |change| change.touches(dir)) {
            change.apply(&mut names.durable);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.names.lock().live.contains_key(path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.inode(path)?.lock().live.clone())
    }

    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let written = self.open(&temporary, OpenMode::Create).and_then(|file| {
            file.write_all_at(&mut [IoSlice::new(content)], 0)?;
            file.sync_data()?;
            self.rename(&temporary, path)
        });
        if written.is_err() {
            let _ = self.remove_file(&temporary);
        }
        written?;
        self.sync_dir(path.parent().unwrap_or(Path::new("")))
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!(
            "simulated boot {}",
            self.0.generation.load(Ordering::SeqCst)
        ))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        if !self.0.names.lock().held.insert(path.to_owned()) {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is held by another handle", path.display()),
            ));
        }
        let generation = self.0.generation.load(Ordering::SeqCst);
        let mut guard = MemLock {
            disk: self.0.clone(),
            path: path.to_owned(),
            generation,
            boot: Boot::Other,
        };
        let before = self
            .inode(path)
            .ok()
            .and_then(|inode| String::from_utf8(inode.lock().live.clone()).ok());
        let now = self.boot_id();
        if before.is_some() && before == now {
            guard.boot = Boot::Same;
        }
        self.write_atomic(path, now.unwrap_or_default().as_bytes())?;
        Ok(Box::new(guard))
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            free: self.0.room().unwrap_or(1 << 40),
            total: 1 << 40,
        })
    }

    fn file_system(&self, _: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(MemFileSystem {
            disk: self.clone(),
            generation: self.0.generation.load(Ordering::SeqCst),
        }))
    }
}

struct MemLock {
    disk: Arc<MemDiskState>,
    path: PathBuf,
    generation: u64,
    boot: Boot,
}

impl LockGuard for MemLock {
    fn boot(&self) -> Boot {
        self.boot
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        if self.generation == self.disk.generation.load(Ordering::SeqCst) {
            self.disk.names.lock().held.remove(&self.path);
        }
    }
}

struct MemFileSystem {
    disk: MemDisk,
    generation: u64,
}

impl FileSystem for MemFileSystem {
    fn covers(&self, _: &dyn DiskFile) -> bool {
        true
    }

    fn sync(&self) -> io::Result<()> {
        let MemDiskState {
            faults,
            names,
            generation,
            ..
        } = &*self.disk.0;
        if self.generation != generation.load(Ordering::SeqCst) {
            return Err(io::Error::other("opened before the power was lost"));
        }
        faults.call()?;
        if faults.take(Fault::Sync) {
            // The file whose bytes it was says so itself when it is asked.
            self.disk.fail_next(Fault::Sync);
            return Err(injected("sync the file system"));
        }
        let names = &mut *names.lock();
        for node in names.live.values() {
            if let Node::File(inode) = node {
                inode.lock().sync();
            }
        }
        for change in std::mem::take(&mut names.pending) {
            change.apply(&mut names.durable);
        }
        Ok(())
    }
}

struct MemFile {
    disk: Arc<MemDiskState>,
    /// Its name when it was opened.
    path: PathBuf,
    inode: Arc<Mutex<Inode>>,
    generation: u64,
}

impl MemFile {
    fn alive(&self) -> io::Result<()> {
        if self.generation == self.disk.generation.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(io::Error::other("opened before the power was lost"))
    }
}

impl DiskFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        self.alive()?;
        Ok(self.inode.lock().live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.alive()?;
        self.disk.reads.fetch_add(1, Ordering::Relaxed);
        let inode = self.inode.lock();
        let Some(rest) = usize::try_from(offset)
            .ok()
            .and_then(|offset| inode.live.get(offset..))
        else {
            return Ok(0);
        };
        let got = rest.len().min(buf.len());
        buf[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }

    fn write_all_at(&self, bufs: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.alive()?;
        let whole: Vec<u8> = bufs
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let offset =
            usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let failed =
            self.disk
                .faults
                .call()
                .and_then(|()| match self.disk.faults.take(Fault::Write) {
                    true => Err(injected("write")),
                    false => Ok(()),
                });
        let room = self.disk.room();
        let now_ms = self.disk.now_ms();
        let mut inode = self.inode.lock();
        inode.modified_ms = now_ms;
        if failed.is_err() {
            inode.write(offset, &whole[..whole.len() / 2]);
            return failed;
        }
        let longest = room.map_or(usize::MAX, |room| {
            inode
                .taken()
                .saturating_add(usize::try_from(room).unwrap_or(usize::MAX))
        });
        if offset + whole.len() > longest {
            inode.write(offset, &whole[..longest.saturating_sub(offset)]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.write(offset, &whole);
        Ok(())
    }

    fn modified_ms(&self) -> io::Result<i64> {
        self.alive()?;
        Ok(self.inode.lock().modified_ms)
    }

    fn is_removed(&self) -> io::Result<bool> {
        self.alive()?;
        let named = self.disk.names.lock().live.get(&self.path).cloned();
        Ok(!named
            .and_then(|node| node.file())
            .is_some_and(|inode| Arc::ptr_eq(&inode, &self.inode)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.alive()?;
        self.disk.faults.call()?;
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let now_ms = self.disk.now_ms();
        let mut inode = self.inode.lock();
        let before = inode.live.len();
        if before != len {
            inode.modified_ms = now_ms;
        }
        inode.touch(before.min(len), before.max(len));
        inode.live.resize(len, 0);
        inode.reserved = inode.reserved.min(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.faults.wait_for_release(&self.path);
        self.disk.faults.take_sync_time();
        self.alive()?;
        let failed =
            self.disk
                .faults
                .call()
                .and_then(|()| match self.disk.faults.take(Fault::Sync) {
                    true => Err(injected("sync")),
                    false => Ok(()),
                });
        let mut inode = self.inode.lock();
        match failed {
            Ok(()) => inode.sync(),
            Err(_) => inode.fail_sync(self.disk.faults.is_forgetful()),
        }
        failed
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.alive()?;
        let until = usize::try_from(offset.saturating_add(len))
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let room = self.disk.room();
        let mut inode = self.inode.lock();
        let more = until.saturating_sub(inode.taken()) as u64;
        if room.is_some_and(|room| more > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.reserved = inode.reserved.max(until);
        Ok(())
    }

    fn read_at_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.disk.faults.is_cold() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            self.read_at(buf, offset)
        }
    }

    fn descriptor(&self) -> io::Result<Option<Arc<File>>> {
        Ok(None)
    }

    fn map(&self, len: usize) -> io::Result<Mapped> {
        self.alive()?;
        let inode = self.inode.lock();
        let bytes = inode
            .live
            .get(..len)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(Mapped::Owned(Bytes::copy_from_slice(bytes)))
    }
}
