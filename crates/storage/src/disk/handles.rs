//! Descriptors of log files, as many as the process may have: a file that nobody uses is closed to
//! make room, and opened again when it is needed.
//!
//! Invariants: a file that was written and not synced since stays open, for a write-back that
//! failed is told to a descriptor that was open then; a file is opened again only as the same
//! inode, so that one that was removed or replaced is never taken for it. When nothing can be
//! closed there are more open than planned: the system's own limit decides. Not here: what is read
//! and written (`real.rs`).

use parking_lot::Mutex;
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// How many are looked at before one more than planned is opened.
const STEPS_MAX: usize = 64;

/// All files of a disk that are open.
pub(crate) struct Handles {
    open_max: usize,
    ring: Mutex<Ring>,
}

/// Second chance: the hand passes over what was used since it came by last.
#[derive(Default)]
struct Ring {
    open: Vec<Weak<Slot>>,
    hand: usize,
}

/// One file, open or not.
pub(crate) struct Slot {
    handles: Arc<Handles>,
    path: PathBuf,
    writable: bool,
    /// Device and inode.
    identity: (u64, u64),
    file: Mutex<Option<Arc<File>>>,
    used: AtomicBool,
    /// Writes so far, and how many of them are synced.
    written: AtomicU64,
    synced: AtomicU64,
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Handles {
    /// About `open_max` files are open at once.
    pub fn new(open_max: usize) -> Handles {
        Handles {
            open_max,
            ring: Mutex::default(),
        }
    }

    /// Opens a file.
    pub fn open(
        self: &Arc<Handles>,
        path: &Path,
        options: &OpenOptions,
        writable: bool,
    ) -> io::Result<Arc<Slot>> {
        let file = options.open(path)?;
        let slot = Arc::new(Slot {
            handles: self.clone(),
            path: path.to_owned(),
            writable,
            identity: identity(&file)?,
            file: Mutex::new(Some(Arc::new(file))),
            used: AtomicBool::new(true),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        });
        self.opened(&slot);
        Ok(slot)
    }

    /// One more is open: another one may have to go.
    fn opened(&self, slot: &Arc<Slot>) {
        let ring = &mut *self.ring.lock();
        ring.open.push(Arc::downgrade(slot));
        for _ in 0..STEPS_MAX {
            if ring.open.len() <= self.open_max {
                return;
            }
            ring.hand = if ring.hand < ring.open.len() {
                ring.hand
            } else {
                0
            };
            match ring.open[ring.hand].upgrade() {
                Some(other) if Arc::ptr_eq(&other, slot) || !other.close_if_idle() => {
                    ring.hand += 1
                }
                Some(_) | None => drop(ring.open.swap_remove(ring.hand)),
            }
        }
    }

    #[cfg(test)]
    fn open_now(&self) -> usize {
        self.ring
            .lock()
            .open
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|slot| slot.file.lock().is_some())
            .count()
    }
}

impl Slot {
    /// The open file.
    ///
    /// # Errors
    /// `NotFound` when it is no longer under its name, or another one is.
    pub fn file(self: &Arc<Slot>) -> io::Result<Arc<File>> {
        self.used.store(true, Ordering::Relaxed);
        let mut open = self.file.lock();
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(self.writable)
            .open(&self.path)?;
        if identity(&file)? != self.identity {
            return Err(self.is_another());
        }
        let file = open.insert(Arc::new(file)).clone();
        drop(open);
        self.handles.opened(self);
        Ok(file)
    }

    /// What the file system says of the file, which is not opened for it.
    ///
    /// # Errors
    /// As [`Slot::file`]. While the file is open it is found without a name, too.
    pub fn metadata(&self) -> io::Result<Metadata> {
        if let Some(file) = self.file.lock().clone() {
            return file.metadata();
        }
        let metadata = fs::metadata(&self.path)?;
        if (metadata.dev(), metadata.ino()) != self.identity {
            return Err(self.is_another());
        }
        Ok(metadata)
    }

    fn is_another(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} is another file now", self.path.display()),
        )
    }

    /// Writes so far. Taken before a sync, it says what the sync covers.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Bytes are about to be written.
    pub fn note_write(&self) {
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    /// So many writes are synced.
    pub fn note_synced(&self, written: u64) {
        self.synced.fetch_max(written, Ordering::AcqRel);
    }

    /// Closes the file unless it was used of late, is being used, or has something to lose. Never
    /// waits.
    fn close_if_idle(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let Some(mut open) = self.file.try_lock() else {
            return false;
        };
        let idle = open
            .as_ref()
            .is_none_or(|file| Arc::strong_count(file) == 1);
        let clean = self.synced.load(Ordering::Acquire) >= self.written();
        if idle && clean {
            *open = None;
        }
        idle && clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(handles: &Arc<Handles>, dir: &Path, name: &str) -> Arc<Slot> {
        let mut options = OpenOptions::new();
        handles
            .open(
                &dir.join(name),
                options.read(true).write(true).create(true).truncate(true),
                true,
            )
            .expect("made")
    }

    #[test]
    fn few_are_open_and_each_is_there_when_it_is_needed() {
        use std::os::unix::fs::FileExt;
        let dir = tempfile::tempdir().expect("a directory");
        let handles = Arc::new(Handles::new(4));
        let slots: Vec<_> = (0..40)
            .map(|n| made(&handles, dir.path(), &n.to_string()))
            .collect();
        assert_eq!(handles.open_now(), 4);
        for (n, slot) in slots.iter().enumerate() {
            slot.file()
                .expect("open")
                .write_all_at(&[n as u8], 0)
                .expect("written");
        }
        for (n, slot) in slots.iter().enumerate().rev() {
            let mut byte = [0];
            slot.file()
                .expect("open")
                .read_exact_at(&mut byte, 0)
                .expect("read");
            assert_eq!(byte, [n as u8]);
            assert!(handles.open_now() <= 4);
        }
    }

    #[test]
    fn what_is_dirty_or_in_use_stays_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let handles = Arc::new(Handles::new(2));
        let dirty = made(&handles, dir.path(), "dirty");
        dirty.note_write();
        let sending = made(&handles, dir.path(), "sending");
        let held = sending.file().expect("open");
        let others: Vec<_> = (0..20)
            .map(|n| made(&handles, dir.path(), &n.to_string()))
            .collect();
        assert!(dirty.file.lock().is_some() && sending.file.lock().is_some());
        assert!(handles.open_now() <= 4, "{} open", handles.open_now());

        drop(held);
        dirty.note_synced(dirty.written());
        let more: Vec<_> = (0..20)
            .map(|n| made(&handles, dir.path(), &format!("more-{n}")))
            .collect();
        assert!(dirty.file.lock().is_none() && sending.file.lock().is_none());
        assert_eq!((handles.open_now(), others.len(), more.len()), (2, 20, 20));
    }

    #[test]
    fn a_file_that_took_the_place_of_another_is_not_taken_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let handles = Arc::new(Handles::new(1));
        let first = made(&handles, dir.path(), "one");
        let _second = made(&handles, dir.path(), "two");
        assert!(first.file.lock().is_none());
        std::fs::rename(dir.path().join("two"), dir.path().join("one")).expect("replaced");
        assert_eq!(
            first.file().expect_err("another file").kind(),
            io::ErrorKind::NotFound
        );
        std::fs::remove_file(dir.path().join("one")).expect("removed");
        assert_eq!(
            first.file().expect_err("no file").kind(),
            io::ErrorKind::NotFound
        );
    }
}
