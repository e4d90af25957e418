//! The operations that a log needs of a disk: two small traits, one real and one simulated
//! implementation.
//!
//! The contract of durability is POSIX's, taken at its weakest: bytes survive a power loss only
//! after [`DiskFile::sync_data`] returned `Ok`, a name only after [`Disk::sync_dir`] of its
//! directory did. After a failed sync of a file its bytes are in doubt for good: a later sync that
//! succeeds says nothing about them, unless they were written again. Names go through the file
//! system's journal: a later [`Disk::sync_dir`] that succeeds covers them too, because a journal
//! that failed takes nothing any more. Every call blocks; callers that must not block call from
//! elsewhere.

mod dry;
mod handles;
mod mem;
mod real;

pub(crate) use self::{dry::DryDisk, handles::is_exhausted};
pub use self::{
    mem::{Fault, MemDisk},
    real::RealDisk,
};

use bytes::Bytes;
use std::{
    fs::File,
    io::{self, IoSlice},
    ops::Deref,
    path::Path,
    sync::Arc,
};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Read,
    /// It must exist.
    ReadWrite,
    /// Made if missing, emptied if not; its name is durable after [`Disk::sync_dir`].
    Create,
}

/// Whether the kernel that runs now is the one that ran when a log was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The process may have died, the page cache has not: only the last write can be incomplete.
    Same,
    /// Bytes that were not synced may be there, be missing, or be half there, in any order.
    Other,
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadWait {
    /// As long as it takes.
    Waits,
    /// A read that would have to wait fails with `WouldBlock` ([`DiskFile::read_at_now`]), where
    /// the system can tell.
    Never,
}

/// A file system.
pub trait Disk: Send + Sync {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and what is missing above it; durable after [`Disk::sync_dir`] of each
    /// parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Takes the access to a directory from all but its owner, where the disk knows of access. New
    /// directories have no other; one that an earlier version made may.
    fn keep_private(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Gives a file or directory another name; atomic, durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; those who have it open keep reading.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and everything in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether a file or directory of that name is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The whole content of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Replaces a small file so that after a crash it holds the old or the new content, and after
    /// `Ok` the new one.
    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Identity of the running kernel; `None` when it does not say, and then nothing may be taken
    /// as the same boot.
    fn boot_id(&self) -> Option<String>;
    /// Takes the lock file at `path` until the guard is dropped. An error of kind `WouldBlock` says
    /// who holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;
    /// The space of the file system that `path` lies in.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// The whole file system that `dir` lies in. It vouches only for what is written after this
    /// call: open it first and keep it.
    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>>;
}

/// The space of a file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// May still be written by a process without privileges (`statvfs`: `f_bavail`).
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// A whole file system, to be synced in one go.
pub trait FileSystem: Send + Sync {
    /// Whether `file` lies in it.
    fn covers(&self, file: &dyn DiskFile) -> bool;
    /// `syncfs`: everything that anybody has written to it so far, names included, is durable after
    /// `Ok`. After an error it is not known whose bytes are lost: the files' own
    /// [`DiskFile::sync_data`] say it.
    fn sync(&self) -> io::Result<()>;
}

/// A held lock file.
pub trait LockGuard: Send + Sync {
    /// Compares the running kernel with the one that the previous holder wrote into the file:
    /// [`Boot::Other`] when either is unknown.
    fn boot(&self) -> Boot;
}

/// An open file. All methods may be called from several threads.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads up to `buf.len()` bytes; 0 only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all buffers one after another, beginning at `offset`. After an error any part may
    /// have been written.
    fn write_all_at(&self, bufs: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// When the file was last written, in milliseconds since 1970, as the file system notes it. It
    /// stays through restarts, and through copies that keep times; a copy that does not is as young
    /// as the copying.
    fn modified_ms(&self) -> io::Result<i64>;
    /// Whether the file has no name any more: somebody removed it, or put another one in its place.
    /// What is written to it is lost when it is closed. Never waits for the disk for a file that
    /// was written of late.
    fn is_removed(&self) -> io::Result<bool>;
    /// Cuts the file, or lengthens it with zeros. Space that was allocated after the new end is
    /// given back. A length that the file has already leaves [`DiskFile::modified_ms`] as it is.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// `fdatasync`: bytes and length written so far are durable after `Ok`.
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space without changing the length. May do nothing.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// As [`DiskFile::read_at`] for callers that must not block: an error of kind `WouldBlock`
    /// where the disk would have to be waited for, and of kind `Unsupported` where the system
    /// cannot tell. May read less than is there.
    fn read_at_now(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The open file for `sendfile`, if there is one: it stays open while it is held.
    fn descriptor(&self) -> io::Result<Option<Arc<File>>>;
    /// Writes so far, where somebody counts them. Taken before a [`FileSystem::sync`], it says what
    /// that covers.
    fn written(&self) -> u64 {
        0
    }
    /// So many writes are durable by a [`FileSystem::sync`].
    fn note_synced(&self, _written: u64) {}
    /// The first `len` bytes, read-only, of a file that is never changed again.
    fn map(&self, len: usize) -> io::Result<Mapped>;
}

impl dyn DiskFile + '_ {
    /// Fills `buf`, or fails with `UnexpectedEof`.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact(buf, offset, ReadWait::Waits)
    }

    /// The same, with that much patience.
    pub(crate) fn read_exact(&self, buf: &mut [u8], offset: u64, wait: ReadWait) -> io::Result<()> {
        match self.fill(buf, offset, wait)? {
            got if got == buf.len() => Ok(()),
            got => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "file ends after {got} of {} bytes at position {offset}",
                    buf.len()
                ),
            )),
        }
    }

    /// Fills as much of `buf` as the file has.
    pub fn read_up_to(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fill(buf, offset, ReadWait::Waits)
    }

    fn fill(&self, buf: &mut [u8], offset: u64, wait: ReadWait) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            let (rest, at) = (&mut buf[filled..], offset + filled as u64);
            let read = match wait {
                ReadWait::Waits => self.read_at(rest, at),
                ReadWait::Never => match self.read_at_now(rest, at) {
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        self.read_at(rest, at)
                    }
                    read => read,
                },
            };
            match read {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Bytes of a file that does not change.
pub enum Mapped {
    /// From the page cache: no memory of ours.
    Map(memmap2::Mmap),
    /// Read.
    Owned(Bytes),
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Mapped::Map(map) => map,
            Mapped::Owned(bytes) => bytes,
        }
    }
}
