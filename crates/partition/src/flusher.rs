//! Group commit: one flusher for all partitions that wrote something, and the one seam for blocking
//! work.
//!
//! A partition queues itself at its first append after a flush began; one pass covers whatever was
//! appended by then, however many replies wait for it. Partitions flush beside each other on a few
//! threads, one partition never twice at once; where many are due, one thread takes them all and
//! syncs the file system once ([`TOGETHER_MIN`]). What somebody waits for goes at once; the rest
//! may wait a moment ([`LINGER`]) for company.
//!
//! Invariant: no lock of a partition or of the queue is held while the disk works. What a pass
//! means is `durable.rs`'s.

use crate::flushable::Flushable;
use gnomon_storage::{FileSystem, FlushPoint};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    io,
    panic::resume_unwind,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{Notify, Semaphore},
};

/// How long a write that nobody waits for may stay unflushed for company's sake.
const LINGER: Duration = Duration::from_millis(5);

/// With so many partitions due, one sync of the file system is cheaper than one of each file on
/// several threads (64 files: 2.7 ms and 7.3 ms, 1,000 files: 36 ms and 120 ms), even though it
/// syncs what others have written there, too.
const TOGETHER_MIN: usize = 16;

/// Heavy work done at once ([`Flusher::run_heavy`]). Each piece holds at most a codec's window, 128
/// MiB; and a machine of few cores has some left for others.
const HEAVY_AT_ONCE: usize = 4;

/// Most threads that a pool flushes with.
pub const THREADS_MAX: usize = 8;

/// Where blocking work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On threads of its own: `threads` for flushing, tokio's blocking pool for the rest.
    Pool {
        /// Flushing threads, at least one, at most [`THREADS_MAX`].
        threads: usize,
    },
    /// Where it is called, on the runtime's own thread: for simulations on one thread. Needs a
    /// tokio runtime from the start.
    Inline {
        /// How long each flush waits for its turn at a slow disk; what is appended meanwhile is
        /// covered by it.
        flush: Duration,
    },
}

/// The handle on it, shared by all partitions. The last one dropped stops its threads.
#[derive(Clone)]
pub struct Flusher(Arc<Owner>);

struct Owner {
    shared: Arc<FlusherShared>,
    blocking: Blocking,
    heavy: Arc<Semaphore>,
}

struct FlusherShared {
    /// Where every partition lies; `None`: each file is synced by itself.
    file_system: Option<Arc<dyn FileSystem>>,
    queue: Mutex<Queue>,
    ready: Condvar,
    /// The same as `ready`, for the task that flushes inline.
    ready_inline: Notify,
}

#[derive(Default)]
struct Queue {
    /// A partition that all have let go of is not flushed any more: for its files that is the same
    /// as a process that died.
    due: VecDeque<Weak<dyn Flushable>>,
    urgent: bool,
    stopped: bool,
}

impl Flusher {
    /// Starts it for partitions that lie anywhere: each file is synced by itself. Fails if the
    /// system gives no threads.
    ///
    /// # Panics
    /// With [`Blocking::Inline`] outside of a tokio runtime.
    pub fn start(blocking: Blocking) -> io::Result<Flusher> {
        Flusher::start_with(blocking, None)
    }

    /// As [`Flusher::start`], for partitions in one file system, opened before any of them was
    /// written.
    pub fn over(file_system: Arc<dyn FileSystem>, blocking: Blocking) -> io::Result<Flusher> {
        Flusher::start_with(blocking, Some(file_system))
    }

    fn start_with(
        blocking: Blocking,
        file_system: Option<Arc<dyn FileSystem>>,
    ) -> io::Result<Flusher> {
        let shared = Arc::new(FlusherShared {
            file_system,
            queue: Mutex::default(),
            ready: Condvar::new(),
            ready_inline: Notify::new(),
        });
        match blocking {
            Blocking::Pool { threads } => {
                for number in 0..threads.clamp(1, THREADS_MAX) {
                    let shared = shared.clone();
                    thread::Builder::new()
                        .name(format!("flush-{number}"))
                        .spawn(move || shared.work())?;
                }
            }
            Blocking::Inline { flush } => {
                let shared = shared.clone();
                drop(tokio::spawn(async move { shared.work_inline(flush).await }));
            }
        }
        Ok(Flusher(Arc::new(Owner {
            shared,
            blocking,
            heavy: Arc::new(Semaphore::new(HEAVY_AT_ONCE)),
        })))
    }

    /// Runs blocking work (reads that miss the page cache, retention, checkpoints) where it holds
    /// nobody up: the one seam. Others run before it does.
    ///
    /// # Errors
    /// If the runtime is shutting down and the work was not done.
    ///
    /// # Panics
    /// As `work` does.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        match self.0.blocking {
            Blocking::Pool { .. } => match tokio::task::spawn_blocking(work).await {
                Ok(done) => Ok(done),
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(stopping) => Err(io::Error::other(stopping)),
                },
            },
            Blocking::Inline { .. } => {
                tokio::task::yield_now().await;
                Ok(work())
            }
        }
    }

    /// Runs work that takes long and much memory (unpacking large batches) where it holds nobody
    /// up, a few at a time, in the order in which they came. What has begun goes on, and keeps its
    /// turn, when this is dropped.
    ///
    /// # Errors
    /// As [`Flusher::run`].
    ///
    /// # Panics
    /// As `work` does.
    pub async fn run_heavy<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        let turn = self.0.heavy.clone().acquire_owned().await;
        let turn = turn.map_err(io::Error::other)?;
        self.run(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
    }

    /// Runs blocking work where it is called, for callers that cannot await; the runtime's other
    /// tasks go on elsewhere meanwhile.
    pub fn run_here<R>(&self, work: impl FnOnce() -> R) -> R {
        let has_others = || {
            Handle::try_current()
                .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
        };
        match self.0.blocking {
            Blocking::Pool { .. } if has_others() => tokio::task::block_in_place(work),
            Blocking::Pool { .. } | Blocking::Inline { .. } => work(),
        }
    }

    /// Asks for a pass over this partition that begins after now.
    pub(crate) fn submit(&self, partition: &Arc<dyn Flushable>, urgent: bool) {
        let shared = &self.0.shared;
        let queued = partition.turn().ask();
        if !queued && !urgent {
            return;
        }
        let mut queue = shared.queue.lock();
        if queued {
            queue.due.push_back(Arc::downgrade(partition));
        }
        if urgent {
            queue.urgent = true;
        }
        drop(queue);
        shared.ready.notify_one();
        shared.ready_inline.notify_one();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queue.lock().stopped = true;
        self.shared.ready.notify_all();
        self.shared.ready_inline.notify_one();
    }
}

/// The next piece of work in the queue.
enum Next {
    Flush(Vec<Weak<dyn Flushable>>),
    /// There is work that may wait a moment.
    Linger,
    Sleep,
    Stop,
}

/// On a flushing thread: its work would stay unfinished, and its waiters would
/// wait for ever. A restart recovers.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(
                "a thread that makes records durable panicked: the process ends, a restart recovers"
            );
            std::process::abort();
        }
    }
}

impl FlusherShared {
    /// The threads' loop.
    fn work(&self) {
        let _ends_the_process = EndsTheProcess;
        let mut queue = self.queue.lock();
        loop {
            match queue.next(self.file_system.is_some()) {
                Next::Flush(due) => {
                    drop(queue);
                    self.cycle(&due);
                    queue = self.queue.lock();
                }
                Next::Linger => {
                    if self.ready.wait_for(&mut queue, LINGER).timed_out() {
                        queue.urgent = true;
                    }
                }
                Next::Sleep => self.ready.wait(&mut queue),
                Next::Stop => return,
            }
        }
    }

    /// The same as a task, for simulations.
    async fn work_inline(&self, flush: Duration) {
        loop {
            let next = self.queue.lock().next(self.file_system.is_some());
            match next {
                Next::Flush(due) => {
                    if !flush.is_zero() {
                        tokio::time::sleep(flush).await;
                    }
                    self.cycle(&due);
                    tokio::task::yield_now().await;
                }
                Next::Linger => {
                    if tokio::time::timeout(LINGER, self.ready_inline.notified())
                        .await
                        .is_err()
                    {
                        self.queue.lock().urgent = true;
                    }
                }
                Next::Sleep => self.ready_inline.notified().await,
                Next::Stop => return,
            }
        }
    }

    /// One partition, or many that are synced together.
    fn cycle(&self, due: &[Weak<dyn Flushable>]) {
        let due: Vec<Arc<dyn Flushable>> = due.iter().filter_map(Weak::upgrade).collect();
        let mut passes = Vec::with_capacity(due.len());
        for partition in &due {
            partition.turn().begin();
            passes.extend(partition.begin_pass().map(|pass| (partition, pass)));
        }
        let points: Vec<&FlushPoint> = passes.iter().map(|(_, pass)| &pass.point).collect();
        let synced = match &self.file_system {
            Some(file_system) if points.len() >= TOGETHER_MIN => {
                FlushPoint::sync_together(&points, &**file_system)
            }
            Some(_) | None => points.iter().map(|point| point.sync()).collect(),
        };
        for ((partition, pass), synced) in passes.into_iter().zip(synced) {
            partition.end_pass(pass, synced);
        }
        for partition in &due {
            if partition.turn().end() {
                // Requests that came meanwhile have waited for the length of a flush already.
                let mut queue = self.queue.lock();
                queue.due.push_back(Arc::downgrade(partition));
                queue.urgent = true;
                drop(queue);
                self.ready.notify_one();
                self.ready_inline.notify_one();
            }
        }
    }
}

impl Queue {
    fn next(&mut self, together: bool) -> Next {
        if self.stopped {
            return Next::Stop;
        }
        if self.due.is_empty() {
            self.urgent = false;
            return Next::Sleep;
        }
        if !self.urgent {
            return Next::Linger;
        }
        let count = if together && self.due.len() >= TOGETHER_MIN {
            self.due.len()
        } else {
            1
        };
        Next::Flush(self.due.drain(..count).collect())
    }
}

#[cfg(test)]
#[path = "flusher_tests.rs"]
mod tests;
