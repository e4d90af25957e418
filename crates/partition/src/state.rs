//! The state of a partition in memory, and its two locks.
//!
//! - `writer`: the log's writing end. Held while a batch is judged and handed to the kernel, and by
//!   every change of role, so that an append and a fence decide in one order. Never held during an
//!   fsync, except for the small file of a checkpoint.
//! - `view`: everything that readers need, and what admission judges by. Held for moments only,
//!   never during I/O. Order: `writer` before `view`, `view` before `refused` only.
//!
//! Invariant: the view changes in [`Inner::update`] only, which releases replies and wakes fetches
//! when a mark moved.

use crate::{
    acks::{Acks, Lost},
    ahead::QueryTable,
    flushable::{Flushable, Turn},
    id::{PartitionId, PartitionName},
    log_state::LogState,
    offsets::{Offsets, Watermarks},
    presence,
    refused::Refused,
    role::Role,
    settings::{Env, Settings},
    waiters::Waiters,
};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{Log, LogError, LogReader};
use parking_lot::{Mutex, RwLock};
use std::{path::PathBuf, sync::Arc};
use tracing::{debug, error, warn};

pub(crate) struct Inner {
    pub(crate) id: PartitionId,
    /// For log lines.
    pub(crate) name: PartitionName,
    pub(crate) dir: PathBuf,
    pub(crate) env: Env,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) view: RwLock<View>,
    /// One checkpoint at a time; taken before `writer`.
    pub(crate) checkpointing: Mutex<()>,
    /// Replies that wait for the high watermark.
    pub(crate) acks: Acks,
    /// Those that wait for the disk.
    pub(crate) flushes: Acks,
    pub(crate) waiters: Waiters,
    pub(crate) turn: Turn,
    /// Clients' batches that will come again. A successor after a disk error has the same, since a
    /// request may still find this partition when the next one finds the successor.
    pub(crate) refused: Arc<Mutex<Refused>>,
}

/// The writing end.
pub(crate) struct Writer {
    /// `None` until the first write makes the files.
    pub(crate) log: Option<Log>,
    /// Rises whenever `log` becomes another one, so that a flush of the former one says nothing
    /// about it.
    pub(crate) generation: u64,
    /// Offset of the snapshot that the checkpoint names, -1 if there is none.
    pub(crate) snapshot_at: Offset,
    /// Something changed since the last checkpoint.
    pub(crate) changed: bool,
    /// The disk refused the last write, and the log is as it was.
    pub(crate) refused: bool,
    /// It is on the list of [`crate::ReservedLogs`].
    pub(crate) listed: bool,
}

/// The state that readers see.
pub(crate) struct View {
    pub(crate) watermarks: Watermarks,
    pub(crate) log_state: LogState,
    pub(crate) role: Role,
    pub(crate) settings: Arc<Settings>,
    pub(crate) reader: Option<LogReader>,
    pub(crate) closed: Option<Closed>,
    /// Asks of a shadow's readers.
    pub(crate) queries: QueryTable,
}

/// Why a partition takes no more writes, and whether it may still be read.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) why: Arc<str>,
    pub(crate) readable: bool,
    pub(crate) cause: Cause,
}

/// The event that closed a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A write or a sync failed: it can be opened again.
    Disk,
    /// A stop, a deletion, a successor: for good.
    End,
}

impl View {
    pub(crate) fn offsets(&self) -> Offsets {
        self.watermarks
            .offsets(self.log_state.txns.first_unstable())
    }

    /// The log that positions of readers are compared with.
    pub(crate) fn log(&self) -> crate::ahead::PositionedLog<'_> {
        let (offsets, awaits_source) = (self.offsets(), self.role.awaits_source());
        crate::ahead::PositionedLog {
            offsets,
            epochs: &self.log_state.epochs,
            awaits_source,
            queries: &self.queries,
        }
    }

    /// No batch ever stood in the log.
    pub(crate) fn never_written(&self, writer: &Writer) -> bool {
        self.log_state.epochs.entries().is_empty()
            && writer.log.as_ref().is_none_or(|log| log.size_bytes() == 0)
    }

    /// Begins the present leadership as the role says.
    pub(crate) fn take_up_role(&mut self) {
        let end = self.offsets().end;
        let epochs = &mut self.log_state.epochs;
        match self.role.own_batch_epoch() {
            Some(epoch)
                if epochs
                    .leadership()
                    .is_none_or(|(present, _)| present != epoch) =>
            {
                epochs.lead(epoch, end)
            }
            Some(_) => {}
            None => epochs.follow(),
        }
    }
}

impl Inner {
    pub(crate) fn offsets(&self) -> Offsets {
        self.view.read().offsets()
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.view.read().settings.clone()
    }

    /// Why a disk error closed the partition, if one did.
    pub(crate) fn disk_error(&self) -> Option<Arc<str>> {
        let view = self.view.read();
        view.closed
            .as_ref()
            .filter(|closed| closed.cause == Cause::Disk)
            .map(|closed| closed.why.clone())
    }

    /// The only way in which the view changes. Releases the lock, then wakes the tasks that waited
    /// for this change.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        let (result, before, after) = {
            let mut view = self.view.write();
            let before = view.offsets();
            let result = change(&mut view);
            let reached = view.offsets().high_watermark;
            view.log_state.txns.reached(reached);
            (result, before, view.offsets())
        };
        if after.high_watermark > before.high_watermark {
            self.acks.release(after.high_watermark);
        }
        if after.flushed > before.flushed {
            self.flushes.release(after.flushed);
        }
        let readable = |offsets: Offsets| {
            (
                offsets.log_start,
                offsets.last_stable,
                offsets.high_watermark,
            )
        };
        if readable(before) != readable(after) {
            self.waiters.wake();
        }
        result
    }

    /// The log start moved up in memory.
    pub(crate) fn trimmed(&self, start: Offset) {
        self.update(|view| {
            view.log_state.trim_to(start);
            view.watermarks.trimmed(start);
        });
    }

    /// Brings the log start in memory up to the log's own. A call to the log may have moved it and
    /// failed after that; what it removed is gone all the same.
    pub(crate) fn follow_log_start(&self, writer: &mut Writer) {
        let log_start = self.view.read().watermarks.log_start();
        if let Some(start) = writer.log.as_ref().map(Log::start)
            && start > log_start
            && !start_lags()
        {
            writer.changed = true;
            self.trimmed(start);
        }
    }

    /// After a call to the log that failed. If the log closed over it, so does the partition:
    /// everything that waits is lost, reads go on. If the log is as it was (a full disk, mostly),
    /// the next write may do.
    pub(crate) fn failed(&self, writer: &mut Writer, failure: &LogError) {
        self.follow_log_start(writer);
        let open = writer.log.as_ref().is_none_or(|log| log.closed().is_none());
        if open {
            if failure.is_out_of_handles() {
                debug!(topic = %self.name.topic, partition = self.name.index, %failure, "refused");
            } else if !std::mem::replace(&mut writer.refused, true) {
                warn!(topic = %self.name.topic, partition = self.name.index, %failure, "the disk refuses writes; they are tried as they come");
            }
            return;
        }
        self.fail(failure);
    }

    /// No more writes, for a disk error that left the log in doubt.
    pub(crate) fn fail(&self, failure: &LogError) {
        let why: Arc<str> = failure.to_string().into();
        error!(topic = %self.name.topic, partition = self.name.index, %why, "closed to writing until it is opened again");
        self.close(
            Closed {
                why: why.clone(),
                readable: true,
                cause: Cause::Disk,
            },
            &Lost::Closed { why },
        );
        self.env.troubles.tell();
    }

    /// No more writes and no more reads, for good.
    pub(crate) fn end(&self, why: &str) {
        let why: Arc<str> = why.into();
        self.close(
            Closed {
                why: why.clone(),
                readable: false,
                cause: Cause::End,
            },
            &Lost::Closed { why },
        );
    }

    /// Takes no more writes; `lost` is what everyone who waits is told. The first reason stands.
    pub(crate) fn close(&self, closed: Closed, lost: &Lost) {
        self.update(|view| match &mut view.closed {
            Some(earlier) => {
                earlier.readable &= closed.readable;
                if closed.cause == Cause::End {
                    earlier.cause = Cause::End;
                }
            }
            None => view.closed = Some(closed),
        });
        self.acks.fail(lost, true);
        self.flushes.fail(lost, true);
        self.waiters.wake();
    }

    /// The log, created at `first` if there is none yet. Creating it syncs directories: the async
    /// worker that this may run on gives its other tasks away meanwhile.
    pub(crate) fn log<'w>(
        &self,
        writer: &'w mut Writer,
        first: Offset,
    ) -> Result<&'w mut Log, LogError> {
        if writer.log.is_none() {
            let options = self.view.read().settings.log.clone();
            let log = self.env.flusher.run_here(|| {
                let log = Log::create(self.env.disk.clone(), self.dir.clone(), options, first)?;
                presence::note(&*self.env.disk, &self.dir, &self.name);
                Ok(log)
            })?;
            let reader = log.reader();
            self.update(|view| view.reader = Some(reader));
            writer.generation += 1;
            writer.snapshot_at = -1;
            writer.log = Some(log);
        }
        Ok(writer.log.as_mut().expect("made just now"))
    }

    /// Removes the log's files; the next write makes new ones. A failure closes the partition: some
    /// of them may be gone.
    pub(crate) fn forget_log(&self, writer: &mut Writer) -> Result<(), LogError> {
        let Some(log) = writer.log.take() else {
            return Ok(());
        };
        writer.generation += 1;
        self.update(|view| view.reader = None);
        let path = self.dir.clone();
        let remove = || presence::forget(&*self.env.disk, &self.dir).and_then(|()| log.remove());
        let removed = self
            .env
            .flusher
            .run_here(remove)
            .map_err(|source| LogError::Io {
                what: "remove",
                path,
                source,
            });
        removed.inspect_err(|failure| self.fail(failure))
    }

    /// Whether somebody waits for this partition's watermark.
    pub(crate) fn awaited(&self) -> bool {
        self.acks.any() || self.flushes.any() || self.waiters.any()
    }

    /// Queues a flush, if a flush would change anything that may be waited for.
    pub(crate) fn ask_flush(self: &Arc<Self>, urgent: bool) {
        let partition: Arc<dyn Flushable> = self.clone();
        self.env.flusher.submit(&partition, urgent);
    }
}

/// Planted fault for tests of retention and disk errors: a log start that moved is not seen in
/// memory.
fn start_lags() -> bool {
    gnomon_failpoints::fail_point!("start_lags", |_| true);
    false
}
