//! The steps of a failover in a partition: (d), (e) and the half of (f) that concerns producers.
//!
//! Invariant: from [`PartitionControl::begin_leadership`] on, our batches carry an epoch above every copied
//! one, and a position from an epoch that never came here is answered with the cut. The order of
//! the steps and what is recorded between them is the links' and the catalog's; all here is
//! idempotent, also under a later incarnation of the site, whose epoch is above the one that was
//! recorded with the cut.

use crate::{
    error::AppendError,
    handle::{PartitionAppender, PartitionControl},
    log_state::OpenTxn,
    role::{Origin, Replica, Role, RoleRefusal, Writers},
    settings::Settings,
    state::Closed,
};
use gnomon_protocol::{
    batch::{BatchView, marker_batch},
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use std::sync::Arc;

impl PartitionControl<'_> {
    /// Our leadership under `epoch` counts from `at` (the cut) on, also before its first append.
    /// While failing over, what lies below `at` counts as copied from then on (`producer.rs`); at
    /// later starts the catalog says so through [`Settings::copied_to`].
    ///
    /// The present role's epoch may be above `epoch`: a start, or a disk error, has raised it since
    /// the cut was recorded. Then it stays, and batches at or after `at` may carry any epoch from
    /// `epoch` on: they are markers that an earlier attempt wrote.
    ///
    /// # Errors
    /// [`RoleRefusal::NotLeader`] on a follower: a failover is the leader's.
    /// [`AppendError::EpochBehind`] if a batch below `at` carries an epoch above `epoch`. A shadow
    /// that never got a batch keeps its start on the disk from now on; making that file can fail.
    pub fn begin_leadership(&self, epoch: LeaderEpoch, at: Offset) -> Result<(), AppendError> {
        let mut writer = self.0.writer.lock();
        let newest = {
            let view = self.0.view.read();
            if let Some(Closed { why, .. }) = &view.closed {
                return Err(AppendError::Closed { why: why.clone() });
            }
            if let Replica::Follower { leader, epoch } = view.role.replica {
                return Err(RoleRefusal::NotLeader { leader, epoch }.into());
            }
            let epochs = &view.log_state.epochs;
            if own_markers_count_as_copied() {
                epochs.latest()
            } else {
                epochs.epoch_at(at - 1)
            }
        };
        let own = BatchEpoch(epoch.0);
        if own < newest {
            return Err(AppendError::EpochBehind { own, newest });
        }
        let start = self.0.offsets().log_start;
        if writer.log.is_none() && start > 0 {
            let made = self.0.log(&mut writer, start).map(|_| ());
            if let Err(failure) = made {
                self.0.failed(&mut writer, &failure);
                return Err(AppendError::Storage(failure));
            }
        }
        self.0.update(|view| {
            let failing_over = matches!(view.role.writers, Writers::FailingOver);
            let raised = epoch.max(view.role.epoch());
            view.role = Role {
                replica: Replica::Leader(raised),
                writers: view.role.writers.clone(),
            };
            view.log_state.epochs.lead(own, at);
            if failing_over && at > view.settings.copied_to {
                view.settings = Arc::new(Settings {
                    copied_to: at,
                    ..(*view.settings).clone()
                });
            }
        });
        drop(writer);
        self.0.waiters.wake();
        Ok(())
    }

    /// Writes an abort marker for every open copied transaction: producer epoch + 1, last
    /// coordinator epoch seen. Returns what was aborted; the markers are durable after the next
    /// [`PartitionControl::flush`]. Only while failing over.
    pub fn abort_open_transactions(&self, now_ms: i64) -> Result<Vec<OpenTxn>, AppendError> {
        let role = self.0.view.read().role.clone();
        match &role.writers {
            Writers::FailingOver => {}
            Writers::Link { link, .. } => {
                return Err(RoleRefusal::Shadow { link: link.clone() }.into());
            }
            Writers::Clients | Writers::Site => return Ok(Vec::new()),
            Writers::Nobody(reason) => {
                return Err(RoleRefusal::Nobody {
                    reason: reason.clone(),
                }
                .into());
            }
        }
        // Planted fault for tests of failover: open transactions stay open.
        gnomon_failpoints::fail_point!("leave_open", |_| Ok(Vec::new()));
        let open = self.open_transactions();
        for txn in &open {
            let epoch = txn.producer_epoch.saturating_add(1);
            let marker = marker_batch(
                false,
                txn.producer_id,
                epoch,
                txn.coordinator_epoch.max(0),
                now_ms,
            );
            PartitionAppender(self.0).append(
                BatchView::parse_only(marker)?,
                Origin::Site,
                now_ms,
            )?;
        }
        Ok(open)
    }
}

/// Planted fault for tests of failover: the cut's epoch is held against markers that an earlier
/// attempt wrote after the cut, too.
fn own_markers_count_as_copied() -> bool {
    gnomon_failpoints::fail_point!("own_markers_count_as_copied", |_| true);
    false
}
