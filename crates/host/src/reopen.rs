//! Partitions that a disk error closed are opened again, as soon as the disk allows it.
//!
//! One attempt: when the disk takes a write at all, the metadata machine raises the partition's
//! epoch, if offsets were handed out under the present one that may be gone; then a successor is
//! opened from what the disk has and takes the partition's place. Attempts go on, further and
//! further apart, until one succeeds or the partition is closed for good. The drivers of machines
//! have their own logs opened again, and rebuild the machines from them; [`run`] does it for all
//! other partitions. Not here: what is left of a log after a disk error (`gnomon_partition`,
//! `gnomon_storage`).

use crate::{Metadata, NotReopened, Partitions};
use gnomon_catalog::Event;
use gnomon_driver::{ClosedForGood, NoReply, Reopen, RetryDelay, supervise::StopSignal};
use gnomon_partition::{Handle, PartitionId, ReopenError};
use gnomon_protocol::ids::LeaderEpoch;
use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::sleep,
};
use tracing::{debug, error, warn};

/// Delays between attempts.
const ATTEMPT_DELAY: RetryDelay =
    RetryDelay::new(Duration::from_millis(100), Duration::from_secs(2));

/// Attempts at one time: each may wait for a disk that is in trouble.
const ATTEMPTS_MAX: usize = 4;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("its epoch cannot be raised: {0}")]
    Epoch(#[from] NoReply),
    #[error(transparent)]
    Reopen(#[from] NotReopened),
    #[error(transparent)]
    Closed(#[from] ClosedForGood),
}

/// Opens partitions again.
#[derive(Clone)]
pub struct Reopener {
    metadata: Metadata,
    partitions: Arc<Partitions>,
    attempts: Arc<Semaphore>,
}

impl Reopen for Reopener {
    fn until_open(
        &self,
        failed: Handle,
    ) -> Pin<Box<dyn Future<Output = Result<Handle, ClosedForGood>> + Send + '_>> {
        Box::pin(self.attempt_until_open(failed))
    }
}

impl Reopener {
    /// For partitions whose epochs this machine raises.
    pub fn new(metadata: Metadata, partitions: Arc<Partitions>) -> Reopener {
        Reopener {
            metadata,
            partitions,
            attempts: Arc::new(Semaphore::new(ATTEMPTS_MAX)),
        }
    }

    async fn attempt_until_open(&self, failed: Handle) -> Result<Handle, ClosedForGood> {
        let mut delay = ATTEMPT_DELAY;
        loop {
            let failure = match self.attempt(&failed).await {
                Ok(open) => return Ok(open),
                Err(Failure::Closed(closed)) => return Err(closed),
                Err(failure) => failure,
            };
            let topic = self.partitions.name_of(failed.id());
            let partition = failed.id().index;
            if delay.is_first() {
                warn!(topic, partition, %failure, "not opened again yet");
            } else {
                debug!(topic, partition, %failure, "not opened again yet");
            }
            sleep(delay.failed()).await;
        }
    }

    async fn attempt(&self, failed: &Handle) -> Result<Handle, Failure> {
        let _permit = self.attempts.acquire().await.map_err(|_| ClosedForGood)?;
        if failed.control().failed().is_none() {
            return if failed.closed().is_none() {
                Ok(failed.clone())
            } else {
                Err(ClosedForGood.into())
            };
        }
        // The disk is tried before the metadata log writes: a disk that takes nothing must not
        // cost the metadata log, too.
        let tried = failed
            .blocking(|failed| failed.control().try_disk())
            .await
            .ok_or(ClosedForGood)?;
        if let Err(ReopenError::Open(error)) = &tried {
            self.partitions.note_files(failed.id(), Some(error));
        }
        tried.map_err(NotReopened::from)?;
        let used = failed.latest_epoch();
        if failed
            .role()
            .own_batch_epoch()
            .is_some_and(|own| own <= used)
        {
            let PartitionId { topic_id, index } = failed.id();
            self.metadata
                .submit(Event::Reopening {
                    topic: topic_id,
                    partition: index,
                    used: LeaderEpoch(used.0),
                })
                .await?;
        }
        let partitions = self.partitions.clone();
        match failed
            .blocking(move |failed| partitions.reopen(failed))
            .await
        {
            Some(Err(NotReopened::Reopen(ReopenError::NotFailed))) | None => {
                Err(ClosedForGood.into())
            }
            Some(reopened) => Ok(reopened?),
        }
    }

    /// Has every partition opened again that a disk error closed and no driver looks after, until
    /// the site stops.
    pub async fn run(self, mut stop: StopSignal) {
        let mut attempts = JoinSet::new();
        let mut under_way = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                Some(ended) = attempts.join_next() => {
                    ended_attempt(&mut under_way, ended);
                    // The successor may have been closed in turn before this attempt was noted.
                    self.begin(&mut attempts, &mut under_way);
                }
                () = self.partitions.trouble() => self.begin(&mut attempts, &mut under_way),
            }
        }
    }

    fn begin(&self, attempts: &mut JoinSet<PartitionId>, under_way: &mut BTreeSet<PartitionId>) {
        for failed in self.partitions.failed() {
            let id = failed.id();
            if under_way.insert(id) {
                let reopener = self.clone();
                attempts.spawn(async move {
                    // One that is closed for good needs no successor.
                    _ = reopener.attempt_until_open(failed).await;
                    id
                });
            }
        }
    }
}

fn ended_attempt(under_way: &mut BTreeSet<PartitionId>, ended: Result<PartitionId, JoinError>) {
    match ended {
        Ok(id) => _ = under_way.remove(&id),
        // A bug of ours, and the partition is not known any more.
        Err(panicked) => error!(%panicked, "opening a partition again panicked"),
    }
}
