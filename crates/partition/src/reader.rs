//! Reading up to what an isolation level allows, without the writer's lock.
//!
//! Invariants: nothing at or beyond the bound is ever returned; the bound and the offsets in an
//! answer are of one moment, and so are the records and the aborted transactions among them. A
//! position beyond our end is truncation on an own topic and "not here yet" on a shadow
//! (`position.rs` has the whole of it). Long polls and sessions are the broker's; every
//! function here may wait for the disk, except [`PartitionReader::read_now`].

use crate::{
    error::{EpochMismatch, ReadError},
    handle::PartitionReader,
    offsets::Offsets,
    position::{Position, PositionState},
    state::View,
    waiters::Waiter,
};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, Offset, ProducerId};
use gnomon_storage::{FileRange, LogReader, ReadError as LogReadError};

/// How far a reader may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// To the high watermark.
    ReadUncommitted,
    /// To the last stable offset, with the aborted transactions on the way.
    ReadCommitted,
    /// To the log end: for the site reading its own logs back, never for clients or links.
    LogEnd,
}

#[derive(Clone, Debug)]
pub struct Read {
    /// Whole batches, the first one holding the asked offset; `None` if there is nothing (yet).
    pub range: Option<FileRange>,
    /// The partition's offsets at that moment.
    pub offsets: Offsets,
    /// With read_committed: (producer id, first offset) of the aborted transactions that the range
    /// overlaps.
    pub aborted: Option<Vec<(ProducerId, Offset)>>,
}

impl Isolation {
    pub(crate) fn bound(self, offsets: Offsets) -> Offset {
        match self {
            Isolation::ReadUncommitted if visible_before_flush() => offsets.end,
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => offsets.last_stable,
            Isolation::LogEnd => offsets.end,
        }
    }
}

impl View {
    pub(crate) fn readable(&self) -> Result<(), ReadError> {
        match &self.closed {
            Some(closed) if !closed.readable => Err(ReadError::Closed {
                why: closed.why.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn check_position(&self, from: Offset, offsets: Offsets) -> Result<(), ReadError> {
        if from < offsets.log_start || from > offsets.end && !self.role.awaits_source() {
            return Err(ReadError::OutOfRange { offsets });
        }
        if from > offsets.end {
            Err(ReadError::NotYet { offsets })
        } else {
            Ok(())
        }
    }
}

impl PartitionReader<'_> {
    /// Reads from `from` on, up to `bytes_max` bytes of whole batches; with `at_least_one` the
    /// first batch may be larger.
    pub fn read(
        &self,
        from: Offset,
        bytes_max: usize,
        isolation: Isolation,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        let (offsets, below) = self.readable(from, isolation)?;
        let range = match below.filter(|_| at_least_one || bytes_max > 0) {
            Some((log, upper)) => Some(
                log.read(from, upper, bytes_max, at_least_one)
                    .map_err(|error| self.read_error(error))?,
            ),
            None => None,
        };
        self.as_read(offsets, from, isolation, range)
    }

    /// The same for callers that must not block; `None` where the disk would have to be waited for,
    /// as far as can be told ([`gnomon_storage::LogReader::read_now`]).
    pub fn read_now(
        &self,
        from: Offset,
        bytes_max: usize,
        isolation: Isolation,
        at_least_one: bool,
    ) -> Result<Option<Read>, ReadError> {
        let (offsets, below) = self.readable(from, isolation)?;
        let range = match below.filter(|_| at_least_one || bytes_max > 0) {
            Some((log, upper)) => match log
                .read_now(from, upper, bytes_max, at_least_one)
                .map_err(|error| self.read_error(error))?
            {
                Some(range) => Some(range),
                None => return Ok(None),
            },
            None => None,
        };
        self.as_read(offsets, from, isolation, range).map(Some)
    }

    /// The offsets of this moment, and the log with how far it may be read, if there is anything to
    /// read from `from` on.
    fn readable(
        &self,
        from: Offset,
        isolation: Isolation,
    ) -> Result<(Offsets, Option<(LogReader, Offset)>), ReadError> {
        let view = self.0.view.read();
        view.readable()?;
        let offsets = view.offsets();
        view.check_position(from, offsets)?;
        let upper = isolation.bound(offsets);
        Ok((
            offsets,
            view.reader
                .clone()
                .filter(|_| from < upper)
                .map(|log| (log, upper)),
        ))
    }

    /// The result of a read below the offsets of that moment, with the aborted transactions in it.
    fn as_read(
        &self,
        offsets: Offsets,
        from: Offset,
        isolation: Isolation,
        range: Option<FileRange>,
    ) -> Result<Read, ReadError> {
        let committed = isolation == Isolation::ReadCommitted;
        let Some(range) = range.filter(|range| !range.is_empty()) else {
            return Ok(Read {
                range: None,
                offsets,
                aborted: committed.then(Vec::new),
            });
        };
        // Planted fault for tests of transactions: nobody hears what was aborted.
        if !committed || forget_aborted() {
            return Ok(Read {
                range: Some(range),
                offsets,
                aborted: None,
            });
        }
        let view = self.0.view.read();
        // What was aborted in records that have been trimmed meanwhile is not known any more.
        if view.offsets().log_start > from {
            return Err(ReadError::OutOfRange {
                offsets: view.offsets(),
            });
        }
        let aborted = Some(
            view.log_state
                .txns
                .aborted()
                .overlapping(from, range.next_offset),
        );
        Ok(Read {
            range: Some(range),
            offsets,
            aborted,
        })
    }

    /// A failed read of the log, seen with the partition's offsets.
    pub(crate) fn read_error(&self, error: LogReadError) -> ReadError {
        let offsets = self.0.offsets();
        match (error, self.0.disk_error()) {
            (LogReadError::BelowStart { .. } | LogReadError::AboveEnd { .. }, _) => {
                ReadError::OutOfRange { offsets }
            }
            // What a failed sync did not cover may be anything, until the partition is opened again
            // and has looked.
            (LogReadError::Damaged { to, .. }, Some(why)) if to > offsets.flushed => {
                ReadError::Closed { why }
            }
            (LogReadError::Damaged { from, to }, _) => ReadError::Damaged { from, to },
            (LogReadError::Io(error), _) => ReadError::Io(error),
        }
    }

    /// Registers a waiter: from now on it is woken by changes here. Register before reading.
    pub fn watch(&self, waiter: &Waiter) {
        self.0.waiters.register(waiter);
        let offsets = self.0.offsets();
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

    /// The state of a position as far as our own log decides it; [`PositionState::NotYet`] is for
    /// [`PartitionReader::position_by_source`]. Needed where the reader names the epoch of its last
    /// record (KIP-595), because a read compares offsets only.
    pub fn position_state(&self, position: Position) -> PositionState {
        let view = self.0.view.read();
        let (offsets, awaits_source) = (view.offsets(), view.role.awaits_source());
        let epochs = &view.log_state.epochs;
        let epoch_end = position
            .names_epoch()
            .then(|| epochs.end_for(position.last_epoch, offsets.end, awaits_source));
        position.state(offsets, epoch_end, awaits_source)
    }

    /// Checks a request's `current_leader_epoch` (KIP-320); -1 passes.
    pub fn check_current_epoch(&self, given: LeaderEpoch) -> Result<(), EpochMismatch> {
        let current = self.0.view.read().role.epoch();
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

    /// The epoch of the record at `offset`, for answers that name one.
    pub fn epoch_at(&self, offset: Offset) -> BatchEpoch {
        self.0.view.read().log_state.epochs.epoch_at(offset)
    }
}

/// Planted fault for tests of durability: consumers see what the disk may lose.
fn visible_before_flush() -> bool {
    gnomon_failpoints::fail_point!("visible_before_flush", |_| true);
    false
}

fn forget_aborted() -> bool {
    gnomon_failpoints::fail_point!("forget_aborted", |_| true);
    false
}
