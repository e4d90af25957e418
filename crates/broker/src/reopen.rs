//! Partitions that a disk error closed are opened again, as soon as the disk lets them.
//!
//! One attempt: when the disk takes anything at all, the catalog raises the partition's epoch, if
//! offsets were handed out under it that may be gone; then a successor is opened from what the disk
//! has and takes the partition's place. Attempts go on, further and further apart, until one
//! succeeds or the partition is closed for good. The site's own logs are opened again by the
//! drivers of their machines, which rebuild them (`replicated.rs`); all others by [`run`]. Not
//! here: what is left after a disk error (`gnomon_partition`, `gnomon_storage`).

use crate::{
    coordinators::catalog::CatalogHandle,
    partitions::{NotReopened, Partitions},
    replicated::NoReply,
    site::Site,
    supervise::stopped,
};
use gnomon_catalog::Event;
use gnomon_partition::{Handle, PartitionId, ReopenError};
use gnomon_protocol::ids::LeaderEpoch;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::sleep,
};
use tracing::{debug, error, warn};

/// The pause behind the first attempt that failed, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Attempts at one time: each may wait for a disk that is in trouble.
const ATTEMPTS_MAX: usize = 4;

/// The partition is closed for good: deleted, or the site stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition is closed for good")]
pub struct ClosedForGood;

/// Why an attempt came to nothing.
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
    catalog: CatalogHandle,
    partitions: Arc<Partitions>,
    attempts: Arc<Semaphore>,
}

impl Reopener {
    /// Partitions whose epochs this catalog raises.
    pub fn new(catalog: CatalogHandle, partitions: Arc<Partitions>) -> Reopener {
        Reopener {
            catalog,
            partitions,
            attempts: Arc::new(Semaphore::new(ATTEMPTS_MAX)),
        }
    }

    /// The successor of a partition that a disk error closed, or the partition itself if none did.
    /// Cancel safe.
    pub async fn until_open(&self, failed: Handle) -> Result<Handle, ClosedForGood> {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.attempt(&failed).await {
                Ok(open) => return Ok(open),
                Err(Failure::Closed(closed)) => return Err(closed),
                Err(failure) if pause == PAUSE_FIRST => {
                    warn!(partition = %failed.id(), %failure, "not opened again yet")
                }
                Err(failure) => debug!(partition = %failed.id(), %failure, "not opened again yet"),
            }
            sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, failed: &Handle) -> Result<Handle, Failure> {
        let _permit = self.attempts.acquire().await.map_err(|_| ClosedForGood)?;
        if failed.failed().is_none() {
            return if failed.closed().is_none() {
                Ok(failed.clone())
            } else {
                Err(ClosedForGood.into())
            };
        }
        // A disk that takes nothing must not cost the metadata log, too.
        failed
            .blocking(|failed| failed.try_disk())
            .await
            .ok_or(ClosedForGood)?
            .map_err(NotReopened::from)?;
        let used = failed.latest_epoch();
        if failed
            .role()
            .own_batch_epoch()
            .is_some_and(|own| own <= used)
        {
            let PartitionId { topic_id, index } = failed.id();
            self.catalog
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
}

/// Has every closed partition opened again that no machine looks after, until the site stops.
pub async fn run(site: Arc<Site>, reopener: Reopener, mut stopping: watch::Receiver<bool>) {
    let mut attempts = JoinSet::new();
    let mut under_way = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => return,
            Some(ended) = attempts.join_next() => {
                forget(&mut under_way, ended);
                // Its successor may have been closed before it was forgotten here.
                begin(&site, &reopener, &mut attempts, &mut under_way);
            }
            () = site.partitions.trouble() => begin(&site, &reopener, &mut attempts, &mut under_way),
        }
    }
}

fn forget(under_way: &mut BTreeSet<PartitionId>, ended: Result<PartitionId, JoinError>) {
    match ended {
        Ok(id) => _ = under_way.remove(&id),
        // A bug of ours; which partition it was is not known any more.
        Err(panicked) => error!(%panicked, "opening a partition again ended badly"),
    }
}

fn begin(
    site: &Site,
    reopener: &Reopener,
    attempts: &mut JoinSet<PartitionId>,
    under_way: &mut BTreeSet<PartitionId>,
) {
    for failed in site.partitions.failed() {
        let id = failed.id();
        if under_way.insert(id) {
            let reopener = reopener.clone();
            attempts.spawn(async move {
                // One that is closed for good is nobody's any more.
                _ = reopener.until_open(failed).await;
                id
            });
        }
    }
}
