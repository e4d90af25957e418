//! Appending at the next offset: what clients and the site itself write.
//!
//! Invariants: an append and a change of role decide under one lock (`state.rs`). State changes
//! after the bytes were handed to the kernel, never before; a failed write closes the partition to
//! writing, unless the log is as it was (a full disk): then the write is refused and no more. A
//! batch is judged before it comes here (`look.rs`).

use crate::{
    admit::{self, Admitted, AppendPosition, State},
    error::AppendError,
    handle::PartitionAppender,
    reserved::Reserving,
    role::Origin,
    settings::TimestampType,
    state::{Closed, Inner, Writer},
};
use gnomon_protocol::{
    batch::{BatchHeader, BatchView, Marker, PlacedBatch},
    ids::Offset,
};
use gnomon_storage::{Log, LogError};
use std::sync::{Arc, Weak};
use tracing::info;

/// The place of a batch that was appended.
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

impl PartitionAppender<'_> {
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
                let own_time = self.0.settings().timestamp_type == TimestampType::LogAppendTime;
                Ok(Appended {
                    base_offset: repeat.base_offset,
                    last_offset: repeat.last_offset,
                    log_start: self.0.offsets().log_start,
                    log_append_time_ms: if own_time { repeat.timestamp_ms } else { -1 },
                    duplicate: true,
                })
            }
            Admitted::New {
                batch,
                log_append_time_ms,
            } => {
                let header = *batch.header();
                self.0
                    .write(&mut writer, &[batch], &[(header, marker)], Some(now_ms))
                    .map_err(AppendError::Storage)?;
                if header.has_producer() && !header.is_control() {
                    self.0.refused.lock().appended(&header);
                }
                drop(writer);
                self.0.wrote();
                Ok(Appended {
                    base_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    log_start: self.0.offsets().log_start,
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
}

impl Inner {
    /// Hands batches to the kernel, and then changes what those that it took change.
    pub(crate) fn write(
        self: &Arc<Self>,
        writer: &mut Writer,
        batches: &[PlacedBatch],
        changes: &[(BatchHeader, Option<Marker>)],
        now_ms: Option<i64>,
    ) -> Result<(), LogError> {
        let first = batches
            .first()
            .map_or(0, |batch| batch.base_offset())
            .min(self.offsets().log_start);
        let written = self.log(writer, first).and_then(|log| log.append(batches));
        let end = writer.log.as_ref().map_or(first, Log::end);
        let taken = changes.partition_point(|(header, _)| header.next_offset() <= end);
        writer.changed |= taken > 0;
        self.update(|view| {
            for (header, marker) in &changes[..taken] {
                view.log_state.apply(header, *marker, now_ms);
                view.watermarks.appended(header.next_offset());
            }
        });
        match &written {
            Ok(()) if std::mem::take(&mut writer.refused) => {
                info!(topic = %self.name.topic, partition = self.name.index, "the disk takes writes again")
            }
            Ok(()) => {}
            Err(failure) => self.failed(writer, failure),
        }
        self.list_if_reserved(writer);
        written
    }

    /// After a write, outside of the lock: who takes care of the disk.
    pub(crate) fn wrote(self: &Arc<Self>) {
        let caching = self.view.read().watermarks.write_caching();
        if !caching || self.checkpoint_due() {
            self.ask_flush(self.awaited());
        }
    }

    fn list_if_reserved(self: &Arc<Self>, writer: &mut Writer) {
        let reserved = writer.log.as_ref().filter(|log| log.has_reserved());
        if let Some(log) = reserved.filter(|_| !writer.listed) {
            let partition: Weak<Inner> = Arc::downgrade(self);
            self.env.reserved.list(partition, log.end());
            writer.listed = true;
        }
    }
}

impl Reserving for Inner {
    fn release_if_idle(&self, end: Offset) -> Option<Offset> {
        let mut writer = self.writer.lock();
        let open = writer.log.as_mut().filter(|log| log.closed().is_none());
        match open.map(|log| (log.end(), log)) {
            Some((now, _)) if now != end => return Some(now),
            Some((_, log)) => log.release_reserved(),
            None => {}
        }
        writer.listed = false;
        None
    }
}
