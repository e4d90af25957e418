//! A shadow follows its source's bounds: the log start up, the end over a tail that was cleaned
//! away, or starts the log again after a gap.
//!
//! Invariant: the log start of a shadow is never further than the source's, and moves by these
//! calls only; retention deletes nothing of its own (`trim.rs`). Each carries the fence, like a
//! copied batch.

use crate::{
    error::FollowError,
    handle::PartitionCopier,
    log_state::LogState,
    offsets::Watermarks,
    role::Fence,
    state::{Closed, Writer},
};
use gnomon_protocol::ids::Offset;
use parking_lot::MutexGuard;

impl PartitionCopier<'_> {
    /// The copy begins at `start`, and that is kept on the disk: a copy that begins at its source's
    /// end must not begin at a later one because it is begun again before anything came. A start
    /// below ours changes nothing. Returns our start.
    ///
    /// # Errors
    /// As [`PartitionCopier::follow_source_start`].
    pub fn begin_copy_at(&self, fence: Fence, start: Offset) -> Result<Offset, FollowError> {
        let start = self.follow_source_start(fence, start)?;
        let mut writer = self.admitted(fence)?;
        self.make_log(&mut writer, start)?;
        Ok(start)
    }

    fn make_log(&self, writer: &mut Writer, start: Offset) -> Result<(), FollowError> {
        let made = self.0.log(writer, start).map(drop);
        made.map_err(|failure| {
            self.0.failed(writer, &failure);
            FollowError::Storage(failure)
        })
    }

    /// Whether it is on the disk where the log begins.
    pub fn has_begun(&self) -> bool {
        self.0.view.read().reader.is_some()
    }

    /// The source's log starts at `start` now: so does ours, also inside a batch. A start below
    /// ours changes nothing. Returns our start. On a partition that never held a batch this is
    /// where the copy begins.
    ///
    /// # Errors
    /// [`FollowError::Gap`] if the start has passed our end: see [`PartitionCopier::restart_at`].
    pub fn follow_source_start(&self, fence: Fence, start: Offset) -> Result<Offset, FollowError> {
        let start = start + trim_too_far();
        drop(self.admitted(fence)?);
        let moves = start > self.0.offsets().log_start;
        let snapshot = moves.then(|| self.0.snapshot_for_trim(start)).flatten();
        let mut writer = self.admitted(fence)?;
        let (offsets, never_written) = {
            let view = self.0.view.read();
            (view.offsets(), view.never_written(&writer))
        };
        if start <= offsets.log_start {
            return Ok(offsets.log_start);
        }
        if never_written {
            let kept = writer.log.is_some();
            self.0
                .forget_log(&mut writer)
                .map_err(FollowError::Storage)?;
            self.0.update(|view| view.watermarks.trimmed(start));
            if kept {
                self.make_log(&mut writer, start)?;
            }
        } else if start > offsets.end {
            return Err(FollowError::Gap {
                end: offsets.end,
                source_start: start,
            });
        } else {
            self.0
                .trim_log(&mut writer, start, snapshot.as_ref())
                .map_err(FollowError::Storage)?;
        }
        Ok(start)
    }

    /// The source's tail up to `to` was cleaned away: our end goes there without a batch. An end
    /// below ours changes nothing. Returns our end.
    pub fn advance_end(&self, fence: Fence, to: Offset) -> Result<Offset, FollowError> {
        let mut writer = self.admitted(fence)?;
        let offsets = self.0.offsets();
        if to <= offsets.end {
            return Ok(offsets.end);
        }
        // What was appended before must not be less durable than the end after it.
        let advanced = self.0.log(&mut writer, offsets.log_start).and_then(|log| {
            self.0.env.flusher.run_here(|| {
                let point = log.flush_point();
                point.sync()?;
                log.flushed_to(&point);
                log.advance_end(to)
            })
        });
        advanced.map_err(|failure| {
            self.0.failed(&mut writer, &failure);
            FollowError::Storage(failure)
        })?;
        writer.changed = true;
        self.0.update(|view| {
            view.watermarks.appended(to);
            view.watermarks.flushed(to);
        });
        Ok(to)
    }

    /// Drops all records and starts the log again at `start`: the `continue` policy after a gap.
    /// The files are gone when this returns.
    pub fn restart_at(&self, fence: Fence, start: Offset) -> Result<(), FollowError> {
        let mut writer = self.admitted(fence)?;
        self.0
            .forget_log(&mut writer)
            .map_err(FollowError::Storage)?;
        writer.snapshot_at = -1;
        self.0.update(|view| {
            view.log_state = LogState::default();
            view.watermarks = Watermarks::new(start, start, start, view.watermarks.write_caching());
            view.take_up_role();
        });
        Ok(())
    }

    fn admitted(&self, fence: Fence) -> Result<MutexGuard<'_, Writer>, FollowError> {
        let writer = self.0.writer.lock();
        let view = self.0.view.read();
        view.role.admit_copy(fence)?;
        match &view.closed {
            Some(Closed { why, .. }) => Err(FollowError::Closed { why: why.clone() }),
            None => Ok(writer),
        }
    }
}

/// Planted fault for tests of trims: one offset more than the source goes.
fn trim_too_far() -> Offset {
    gnomon_failpoints::fail_point!("trim_too_far", |_| 1);
    0
}
