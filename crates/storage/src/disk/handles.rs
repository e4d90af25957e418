//! Descriptors of log files, as many as the process may have: a file that nobody uses is closed to
//! make room, and opened again when it is needed.
//!
//! Invariants: a file that was written and not synced since is synced before it is closed, for a
//! write-back that failed is told to a descriptor that was open then; should that sync fail, the
//! next sync of the file says so. A file is opened again only as the same inode, so that one that
//! was removed or replaced is never taken for it. Some descriptors are held back for what a log
//! needs one for a moment only (its folder's sync, its checkpoint): whatever else uses up the
//! process's descriptors, a log that is open can be synced. When all files are in use there are
//! more open than planned: the system's own limit decides. Not here: what is read and written
//! (`real.rs`).

use parking_lot::Mutex;
use rustix::io::Errno;
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    ptr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How many are looked at before one more than planned is opened.
const STEPS_MAX: usize = 64;

/// Descriptors held back. A log needs one at a time for a moment; this many flushing threads, and
/// some more, can need one at once.
pub(crate) const HELD_BACK: usize = 12;

/// Pause between two warnings of the same shortage.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// All files of a disk that are open.
pub(crate) struct Handles {
    open_max: usize,
    ring: Mutex<Ring>,
    held_back: Mutex<Vec<File>>,
    said: Mutex<Option<Instant>>,
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
    /// One sync at a time: of two that are at work the kernel may tell either of a failure.
    syncing: Mutex<()>,
    /// A sync that made room failed: nothing that was written before is known to be durable.
    failed: AtomicBool,
}

/// Whether an error says that this process, or the system, has no descriptor left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    let [process, system] = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|code| code == process || code == system)
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
            held_back: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// Does what takes one descriptor and gives it back, with one that is held back if there is no
    /// other.
    pub fn briefly<R>(&self, work: impl Fn() -> io::Result<R>) -> io::Result<R> {
        let mut done = work();
        // Somebody else may be quicker than we are.
        while done.as_ref().is_err_and(is_exhausted) {
            self.say_exhausted();
            let Some(one) = self.held_back.lock().pop() else {
                break;
            };
            drop(one);
            done = work();
        }
        self.hold_back();
        done
    }

    /// Takes back what was given out, as far as there are descriptors.
    fn hold_back(&self) {
        let mut held_back = self.held_back.lock();
        while held_back.len() < held_back_max() {
            match File::open("/dev/null") {
                Ok(one) => held_back.push(one),
                Err(_none_left) => break,
            }
        }
    }

    /// Opens a log's file; another one is closed if there is no descriptor left.
    fn open_or_make_room(&self, open: impl Fn() -> io::Result<File>) -> io::Result<File> {
        loop {
            match open() {
                Err(error) if is_exhausted(&error) => {
                    self.say_exhausted();
                    if !self.close_one(Pick::AnyIdle(None)) {
                        return Err(error);
                    }
                }
                opened => return opened,
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only how often a line is logged depends on this clock"
    )]
    fn say_exhausted(&self) {
        let mut said = self.said.lock();
        if said.is_some_and(|said| said.elapsed() < SAID_AGAIN_AFTER) {
            return;
        }
        *said = Some(Instant::now());
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        tracing::warn!(
            limit,
            log_files = self.open_count(),
            "no file handle is left: logs take turns with those that they have, and connections and partitions that need another one are refused. Raise the limit (ulimit -n, or LimitNOFILE= of the systemd unit)"
        );
    }

    /// Opens a file.
    pub fn open(
        self: &Arc<Handles>,
        path: &Path,
        options: &OpenOptions,
        writable: bool,
    ) -> io::Result<Arc<Slot>> {
        let file = self.open_or_make_room(|| options.open(path))?;
        let slot = Arc::new(Slot {
            handles: self.clone(),
            path: path.to_owned(),
            writable,
            identity: identity(&file)?,
            file: Mutex::new(Some(Arc::new(file))),
            used: AtomicBool::new(true),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            syncing: Mutex::default(),
            failed: AtomicBool::new(false),
        });
        self.opened(&slot);
        Ok(slot)
    }

    /// One more is open: another one may have to go, one with nothing to lose rather than one that
    /// has to be synced first.
    fn opened(&self, slot: &Arc<Slot>) {
        self.ring.lock().open.push(Arc::downgrade(slot));
        while self.open_count() > self.open_max
            && (self.close_one(Pick::UnusedOfLate(slot))
                || self.close_one(Pick::AnyIdle(Some(slot))))
        {}
    }

    /// Files that are open, and some that were dropped since.
    fn open_count(&self) -> usize {
        self.ring.lock().open.len()
    }

    /// Closes one file, or takes note that one is closed; false if there is none that could be.
    fn close_one(&self, pick: Pick<'_>) -> bool {
        let mut dirty = None;
        let steps = match pick {
            Pick::UnusedOfLate(_) => STEPS_MAX,
            Pick::AnyIdle(_) => self.open_count(),
        };
        for _ in 0..steps {
            let ring = &mut *self.ring.lock();
            if ring.open.is_empty() {
                return false;
            }
            if ring.hand >= ring.open.len() {
                ring.hand = 0;
            }
            let closed = match ring.open[ring.hand].upgrade() {
                None => true,
                Some(other) => match pick {
                    Pick::UnusedOfLate(new) | Pick::AnyIdle(Some(new)) if ptr::eq(&*other, new) => {
                        false
                    }
                    Pick::UnusedOfLate(_) if other.used.swap(false, Ordering::Relaxed) => false,
                    Pick::UnusedOfLate(_) => other.close_if_clean(),
                    Pick::AnyIdle(_) => {
                        let closed = other.close_if_clean();
                        if !closed && other.is_idle() {
                            dirty.get_or_insert(other);
                        }
                        closed
                    }
                },
            };
            if closed {
                ring.open.swap_remove(ring.hand);
                return true;
            }
            ring.hand += 1;
        }
        // The ring is free while the disk works; the next round finds the file clean.
        dirty.is_some_and(|dirty| {
            dirty.sync_now() && {
                let ring = &mut *self.ring.lock();
                let closed = dirty.close_if_clean();
                if closed {
                    ring.open
                        .retain(|open| !Weak::ptr_eq(open, &Arc::downgrade(&dirty)));
                }
                closed
            }
        })
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

/// Which file is closed to make room.
#[derive(Clone, Copy)]
enum Pick<'a> {
    /// One that nobody used since the hand came by last, and that has nothing to lose; not this one.
    UnusedOfLate(&'a Slot),
    /// Whichever nobody uses at this moment, synced first if need be; not this one.
    AnyIdle(Option<&'a Slot>),
}

impl Slot {
    /// The open file.
    ///
    /// # Errors
    /// `NotFound` when it is no longer under its name, or another one is.
    pub fn file(self: &Arc<Slot>) -> io::Result<Arc<File>> {
        self.used.store(true, Ordering::Relaxed);
        let open = self.file.lock();
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        // Room is made without our own lock, which others may try to take for the same reason.
        drop(open);
        let file = self.handles.open_or_make_room(|| {
            OpenOptions::new()
                .read(true)
                .write(self.writable)
                .open(&self.path)
        })?;
        if identity(&file)? != self.identity {
            return Err(self.is_another());
        }
        let mut open = self.file.lock();
        if let Some(file) = &*open {
            // Somebody else was quicker.
            return Ok(file.clone());
        }
        let file = open.insert(Arc::new(file)).clone();
        drop(open);
        self.handles.opened(self);
        Ok(file)
    }

    /// The file system's metadata of the file, which is not opened for it.
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

    /// Syncs the file: what was written before is durable after `Ok`.
    ///
    /// # Errors
    /// Also when a sync that made room failed before; from then on always.
    pub fn sync_data(self: &Arc<Slot>) -> io::Result<()> {
        let _alone = self.syncing.lock();
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other(format!(
                "an earlier sync of {} failed",
                self.path.display()
            )));
        }
        let written = self.written();
        self.file()?.sync_data()?;
        self.note_synced(written);
        Ok(())
    }

    /// Syncs the file so that it can be closed. What fails is told by the next
    /// [`Slot::sync_data`].
    fn sync_now(&self) -> bool {
        let _alone = self.syncing.lock();
        let written = self.written();
        let Some(file) = self.file.lock().clone() else {
            return true;
        };
        match file.sync_data() {
            Ok(()) => self.note_synced(written),
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "cannot sync a file to close it");
                self.failed.store(true, Ordering::Release);
            }
        }
        !self.failed.load(Ordering::Acquire)
    }

    /// Nobody uses the file at this moment. Never waits.
    fn is_idle(&self) -> bool {
        let unused = |file: &Arc<File>| Arc::strong_count(file) == 1;
        self.file
            .try_lock()
            .is_some_and(|open| open.as_ref().is_none_or(unused))
    }

    /// Closes the file unless it is being used, or has something to lose. Never waits.
    fn close_if_clean(&self) -> bool {
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

/// Planted fault for tests of full processes: nothing is held back.
fn held_back_max() -> usize {
    gnomon_failpoints::fail_point!("hold_no_handle_back", |_| 0);
    HELD_BACK
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
    fn what_is_in_use_stays_open_and_what_is_dirty_is_synced_before_it_is_closed() {
        let dir = tempfile::tempdir().expect("a directory");
        let handles = Arc::new(Handles::new(2));
        let dirty = made(&handles, dir.path(), "dirty");
        dirty.note_write();
        let busy = made(&handles, dir.path(), "busy");
        busy.note_write();
        let writing = busy.file().expect("open");
        let sending = made(&handles, dir.path(), "sending");
        let held = sending.file().expect("open");
        let others: Vec<_> = (0..20)
            .map(|n| made(&handles, dir.path(), &n.to_string()))
            .collect();
        assert!(busy.file.lock().is_some() && sending.file.lock().is_some());
        assert!(handles.open_now() <= 4, "{} open", handles.open_now());
        assert!(dirty.file.lock().is_none() && dirty.synced.load(Ordering::Acquire) == 1);

        drop((held, writing));
        let more: Vec<_> = (0..20)
            .map(|n| made(&handles, dir.path(), &format!("more-{n}")))
            .collect();
        // Those with nothing to lose first.
        assert!(busy.file.lock().is_some() && sending.file.lock().is_none());
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
