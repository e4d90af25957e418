//! One partition: append, copy, role, and what others ask about it. The other halves of [`Handle`]
//! are beside it: `look.rs` looks at records before they are appended, `reader.rs` reads,
//! `by_time.rs` finds records by their time, `durable.rs` waits, flushes and closes, `follow.rs`
//! follows a source, `ahead` answers readers ahead of a shadow, `failover.rs` takes
//! over from a source, `trim.rs` moves the log start.
//!
//! Invariants:
//! - an append, copied or ours, and a change of role decide under one lock (`state.rs`): after
//!   [`Handle::set_role`] returned its cut, no batch of the former writers is appended.
//! - state changes after the bytes were handed to the kernel, never before; a failed write closes
//!   the partition to writing, unless the log is as it was (a full disk): then it is refused and no
//!   more.
//! - nothing is on the disk before the first write, save where a copy begins (`begin_copy_at`).

use crate::{
    admit::{self, Admitted, AppendPosition, State},
    admit_at::{CopiedEnd, SourceBounds},
    ahead::QueryTable,
    error::{AppendAtError, AppendError, EpochMismatch, OpenError},
    flusher::Turn,
    log_state::{LogState, OpenTxn},
    offsets::{Offsets, Watermarks},
    presence,
    producer::{LastMarker, Producer},
    rebuild::{self, LogFrom},
    refused::Refused,
    role::{Fence, Origin, Role, Writers},
    settings::{Env, PartitionId, Settings, TimestampType},
    state::{Closed, Inner, View, Writer},
    waiters::Waiter,
};
use gnomon_protocol::{
    batch::{BatchHeader, BatchView, Marker, PlacedBatch},
    ids::{BatchEpoch, LeaderEpoch, Offset, ProducerId},
};
use gnomon_storage::{Health, Log, LogError};
use parking_lot::{Mutex, RwLock};
use std::{io, path::PathBuf, sync::Arc};
use tracing::info;

/// One partition. Cheap to clone; all clones are the same partition. Dropping the last one without
/// [`Handle::close`] is for its files what the death of the process is.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Inner>);

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record. It is durable when `durable(last_offset + 1)` resolves.
    pub last_offset: Offset,
    /// The partition's log start.
    pub log_start: Offset,
    /// The time its records got from us, -1 if they kept their own. Milliseconds.
    pub log_append_time_ms: i64,
    /// It had been appended before; these are its first offsets.
    pub duplicate: bool,
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedTo {
    /// Our log end.
    pub end: Offset,
}

/// Where a log stood when its role changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Next offset: everything of the former writers lies below.
    pub end: Offset,
    /// Epoch of the last batch, [`BatchEpoch::NONE`] if there is none.
    pub epoch: BatchEpoch,
}

impl Handle {
    /// Opens a partition: reads back what its files say if there are any, makes none if not.
    /// Blocking, for long after a crash.
    pub fn open(
        env: &Env,
        dir: PathBuf,
        id: PartitionId,
        role: Role,
        settings: Settings,
    ) -> Result<Handle, OpenError> {
        Handle::open_from(env, dir, id, role, settings, LogFrom::Disk, Arc::default())
    }

    pub(crate) fn open_from(
        env: &Env,
        dir: PathBuf,
        id: PartitionId,
        role: Role,
        settings: Settings,
        from: LogFrom<'_>,
        refused: Arc<Mutex<Refused>>,
    ) -> Result<Handle, OpenError> {
        let mut writer = Writer {
            log: None,
            generation: 0,
            snapshot_at: -1,
            changed: false,
            refused: false,
            growing: false,
        };
        let mut watermarks = Watermarks::new(0, 0, 0, settings.write_caching);
        let mut log_state = LogState::default();
        let mut reader = None;
        let name = settings.partition_name(id.index);
        presence::check(&*env.disk, &dir)?;
        // One that failed is there, or it cannot be opened again.
        if matches!(from, LogFrom::Failed(_))
            || Log::exists(&*env.disk, &dir).map_err(OpenError::Look)?
        {
            let opened = rebuild::open(env, &dir, &name, &settings, from)?;
            watermarks = Watermarks::new(
                opened.log.start(),
                opened.log.end(),
                opened.log.flushed(),
                settings.write_caching,
            );
            reader = Some(opened.log.reader());
            writer.snapshot_at = opened.snapshot_at;
            writer.changed = opened.changed;
            log_state = opened.log_state;
            writer.log = Some(opened.log);
            presence::note(&*env.disk, &dir, &name);
        }
        let mut view = View {
            watermarks,
            log_state,
            role,
            settings: Arc::new(settings),
            reader,
            closed: None,
            queries: QueryTable::default(),
        };
        view.take_up_role();
        let reached = view.offsets().high_watermark;
        view.log_state.txns.reached(reached);
        Ok(Handle(Arc::new(Inner {
            id,
            name,
            dir,
            env: env.clone(),
            writer: Mutex::new(writer),
            view: RwLock::new(view),
            checkpointing: Mutex::new(()),
            acks: Default::default(),
            flushes: Default::default(),
            waiters: Default::default(),
            turn: Turn::default(),
            refused,
        })))
    }

    /// Which partition this is.
    pub fn id(&self) -> PartitionId {
        self.0.id
    }

    /// Appends a batch whose form and records were judged (`look.rs`) at the next offset, if role,
    /// sequence and transaction admit it. Returns once the kernel has it.
    pub(crate) fn append_judged(
        &self,
        batch: BatchView,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let header = *batch.header();
        let appended = self.try_append(batch, origin, now_ms);
        self.note_refusal(&header, appended.as_ref().err(), now_ms);
        appended
    }

    /// A batch that was refused for a passing reason will come again: no later one of its producer
    /// may be appended before it.
    pub(crate) fn note_refusal(
        &self,
        header: &BatchHeader,
        refusal: Option<&AppendError>,
        now_ms: i64,
    ) {
        if refusal.is_some_and(AppendError::is_transient) {
            self.0.refused.lock().note(header, now_ms);
        }
    }

    fn try_append(
        &self,
        batch: BatchView,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let marker = crate::log_state::marker_of(&batch)?;

        let mut writer = self.0.writer.lock();
        let admitted = {
            let view = self.0.view.read();
            let epoch = view.role.admit(origin)?;
            if let Some(Closed { why, .. }) = &view.closed {
                return Err(AppendError::Closed { why: why.clone() });
            }
            let place = AppendPosition {
                offset: view.offsets().end,
                epoch,
            };
            let state = State {
                settings: &view.settings,
                log_state: &view.log_state,
                refused: self.earliest_refused(batch.header()),
            };
            admit::admit(batch, marker, origin, place, state, now_ms)?
        };
        match admitted {
            Admitted::Repeat(repeat) => {
                let own_time = self.settings().timestamp_type == TimestampType::LogAppendTime;
                Ok(Appended {
                    base_offset: repeat.base_offset,
                    last_offset: repeat.last_offset,
                    log_start: self.offsets().log_start,
                    log_append_time_ms: if own_time { repeat.timestamp_ms } else { -1 },
                    duplicate: true,
                })
            }
            Admitted::New {
                batch,
                log_append_time_ms,
            } => {
                let header = *batch.header();
                self.write(&mut writer, &[batch], &[(header, marker)], Some(now_ms))
                    .map_err(AppendError::Storage)?;
                if header.has_producer() && !header.is_control() {
                    self.0.refused.lock().appended(&header);
                }
                drop(writer);
                self.wrote();
                Ok(Appended {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    log_start: self.offsets().log_start,
                    log_append_time_ms,
                    duplicate: false,
                })
            }
        }
    }

    /// See [`State::refused`].
    fn earliest_refused(&self, header: &BatchHeader) -> Option<i32> {
        if !header.has_producer() {
            return None;
        }
        self.0
            .refused
            .lock()
            .earliest(header.producer_id, header.producer_epoch)
    }

    /// Appends batches of a link at the offsets they have at their source: all of them, or none if
    /// one is not admitted. After a disk error the first of them may be in: our end tells. `known`:
    /// the source's bounds as the same response named them.
    pub fn append_at(
        &self,
        fence: Fence,
        batches: Vec<BatchView>,
        known: SourceBounds,
    ) -> Result<CopiedTo, AppendAtError> {
        let mut writer = self.0.writer.lock();
        let (mut place, log_start) = {
            let view = self.0.view.read();
            view.role.admit_copy(fence)?;
            if let Some(Closed { why, .. }) = &view.closed {
                return Err(AppendAtError::Closed { why: why.clone() });
            }
            let offsets = view.offsets();
            let empty = view.never_written(&writer);
            // On a log that never held anything, the source's start is ours.
            let log_start = if empty {
                offsets.log_start.max(known.log_start)
            } else {
                offsets.log_start
            };
            let end = offsets.end.max(log_start);
            (
                CopiedEnd::of(
                    log_start,
                    end,
                    empty,
                    &view.log_state,
                    view.settings.compacted,
                ),
                log_start,
            )
        };
        let first_write = place.empty;
        let mut placed = Vec::with_capacity(batches.len());
        let mut changes = Vec::with_capacity(batches.len());
        for view in batches {
            let header = *view.header();
            let (batch, marker) = place.admit(view)?;
            placed.push(batch);
            changes.push((header, marker));
        }
        let Some(first) = changes.first().map(|(header, _)| header.base_offset) else {
            return Ok(CopiedTo {
                end: self.offsets().end,
            });
        };
        if first_write {
            self.begin_copy(&mut writer, first, log_start)
                .map_err(AppendAtError::Storage)?;
        }
        let written = self
            .write(&mut writer, &placed, &changes, None)
            .and_then(|()| match first < log_start {
                true => self.trim_log(&mut writer, log_start),
                false => Ok(()),
            });
        drop(writer);
        // Also after an error: the first of the batches may be in, and readers wait for them.
        self.wrote();
        written.map_err(AppendAtError::Storage)?;
        Ok(CopiedTo { end: place.end })
    }

    /// The first batch of a copy may begin anywhere: an empty log that was made for another offset
    /// makes room.
    fn begin_copy(
        &self,
        writer: &mut Writer,
        first: Offset,
        log_start: Offset,
    ) -> Result<(), LogError> {
        if writer
            .log
            .as_ref()
            .is_some_and(|log| log.end() != first.min(log_start))
        {
            self.0.forget_log(writer)?;
        }
        self.0.update(|view| view.watermarks.trimmed(log_start));
        Ok(())
    }

    /// Hands batches to the kernel, and then changes what those that it took change.
    fn write(
        &self,
        writer: &mut Writer,
        batches: &[PlacedBatch],
        changes: &[(BatchHeader, Option<Marker>)],
        now_ms: Option<i64>,
    ) -> Result<(), LogError> {
        let first = batches
            .first()
            .map_or(0, |batch| batch.base_offset())
            .min(self.offsets().log_start);
        let written = self
            .0
            .log(writer, first)
            .and_then(|log| log.append(batches));
        let end = writer.log.as_ref().map_or(first, Log::end);
        let taken = changes.partition_point(|(header, _)| header.next_offset() <= end);
        writer.changed |= taken > 0;
        self.0.update(|view| {
            for (header, marker) in &changes[..taken] {
                view.log_state.apply(header, *marker, now_ms);
                view.watermarks.appended(header.next_offset());
            }
        });
        match &written {
            Ok(()) if std::mem::take(&mut writer.refused) => {
                info!(topic = %self.0.name.topic, partition = self.0.name.index, "the disk takes writes again")
            }
            Ok(()) => {}
            Err(failure) => self.0.failed(writer, failure),
        }
        self.0.env.growing.note(&self.0, writer);
        written
    }

    /// After a write, outside of the lock: who takes care of the disk.
    pub(crate) fn wrote(&self) {
        let caching = self.0.view.read().watermarks.write_caching();
        if !caching || self.checkpoint_due() {
            self.0.ask_flush(self.0.awaited());
        }
    }

    /// All offsets at one moment.
    pub fn offsets(&self) -> Offsets {
        self.0.view.read().offsets()
    }

    /// The epoch that requests are fenced by.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.0.view.read().role.epoch()
    }

    /// Who leads and who writes.
    pub fn role(&self) -> Role {
        self.0.view.read().role.clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.view.read().settings.clone()
    }

    /// Why the partition takes no writes any more, if it does not.
    pub fn closed(&self) -> Option<Arc<str>> {
        self.0
            .view
            .read()
            .closed
            .as_ref()
            .map(|closed| closed.why.clone())
    }

    /// Bytes on the disk.
    pub fn size_bytes(&self) -> u64 {
        self.0
            .writer
            .lock()
            .log
            .as_ref()
            .map_or(0, |log| log.size_bytes())
    }

    /// Looks whether the files are where they were made, and closes the partition to writing if
    /// one is missing: what was written to it since somebody removed it would be lost. (A flush
    /// looks at the files that it syncs.) Blocking.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn check_files(&self) -> io::Result<()> {
        let Some(reader) = self.0.view.read().reader.clone() else {
            return Ok(());
        };
        if reader.missing_files()?.is_empty() {
            return Ok(());
        }
        // Or the log was deleted or begun again meanwhile.
        let mut writer = self.0.writer.lock();
        let Some(log) = writer.log.as_mut().filter(|log| reader.reads(log)) else {
            return Ok(());
        };
        if let Some(path) = reader.missing_files()?.into_iter().next()
            && log.closed().is_none()
        {
            let lost = LogError::Lost { path };
            log.close_writing(lost.to_string());
            self.0.fail(&lost);
        }
        Ok(())
    }

    /// What is known to be wrong with the files.
    pub fn health(&self) -> Health {
        self.0
            .view
            .read()
            .reader
            .clone()
            .map_or_else(Health::default, |reader| reader.health())
    }

    /// Takes up a role. Returns the cut: nothing of the former writers is appended from here on.
    /// Replies that wait are lost unless the same side goes on writing.
    pub fn set_role(&self, role: Role) -> Cut {
        let writer = self.0.writer.lock();
        // A link's source decides about sequences; clients are not told to send again.
        let copied = matches!(role.writers, Writers::Link { .. });
        let (cut, kept) = self.0.update(|view| {
            let kept = view.role.keeps_replies(&role);
            view.role = role;
            view.take_up_role();
            (
                Cut {
                    end: view.offsets().end,
                    epoch: view.log_state.epochs.latest(),
                },
                kept,
            )
        });
        if copied {
            self.0.refused.lock().clear();
        }
        drop(writer);
        if !kept {
            self.0.acks.fail(&crate::Lost::RoleChanged, false);
            self.0.flushes.fail(&crate::Lost::RoleChanged, false);
        }
        self.0.waiters.wake();
        cut
    }

    /// Takes up new settings.
    pub fn set_settings(&self, settings: Settings) {
        let mut writer = self.0.writer.lock();
        if let Some(log) = &mut writer.log {
            log.set_options(settings.log.clone());
        }
        self.0.update(|view| {
            view.watermarks.set_write_caching(settings.write_caching);
            // A cut that this process made itself may not be in the catalog's settings yet.
            let copied_to = view.settings.copied_to.max(settings.copied_to);
            view.settings = Arc::new(Settings {
                copied_to,
                ..settings
            });
        });
        drop(writer);
        self.0.waiters.wake();
        self.0.ask_flush(self.0.awaited());
    }

    /// Registers a waiter: from now on it is woken by changes here. Register before reading.
    pub fn watch(&self, waiter: &Waiter) {
        self.0.waiters.register(waiter);
        let offsets = self.offsets();
        if offsets.high_watermark < offsets.end {
            self.0.ask_flush(true);
        }
    }

    /// A waiter of its own.
    pub fn wait(&self) -> Waiter {
        let waiter = Waiter::new();
        self.watch(&waiter);
        waiter
    }

    /// Checks a request's `current_leader_epoch` (KIP-320); -1 passes.
    pub fn check_current_epoch(&self, given: LeaderEpoch) -> Result<(), EpochMismatch> {
        let current = self.leader_epoch();
        if given < LeaderEpoch(0) || given == current {
            Ok(())
        } else if given < current {
            Err(EpochMismatch::Fenced { given, current })
        } else {
            Err(EpochMismatch::Unknown { given, current })
        }
    }

    /// The batches' epochs and where each began, rising.
    pub fn epochs(&self) -> Vec<(BatchEpoch, Offset)> {
        self.0.view.read().log_state.epochs.entries().to_vec()
    }

    /// The epoch of the last batch, [`BatchEpoch::NONE`] if there never was one. A copy asks its
    /// source with it.
    pub fn latest_epoch(&self) -> BatchEpoch {
        self.0.view.read().log_state.epochs.latest()
    }

    /// The epoch of the record at `offset`, for answers that name one.
    pub fn epoch_at(&self, offset: Offset) -> BatchEpoch {
        self.0.view.read().log_state.epochs.epoch_at(offset)
    }

    /// The transactions that are open here.
    pub fn open_transactions(&self) -> Vec<OpenTxn> {
        self.0.view.read().log_state.open_transactions()
    }

    /// How the producer's last transaction here ended; `None` while one is open, and if none ever
    /// ended here as far as is known.
    pub fn last_marker(&self, producer: ProducerId) -> Option<LastMarker> {
        let view = self.0.view.read();
        let open = view.log_state.txns.open_since(producer).is_some();
        view.log_state
            .producers
            .get(producer)
            .filter(|_| !open)?
            .last_marker
    }

    /// The idempotent producers known here, by id.
    pub fn known_producers(&self) -> Vec<(ProducerId, Producer)> {
        self.0
            .view
            .read()
            .log_state
            .producers
            .iter()
            .map(|(id, producer)| (id, producer.clone()))
            .collect()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("id", &self.0.id)
            .field("offsets", &self.offsets())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync + Clone>() {}
    shared::<Handle>();
};
