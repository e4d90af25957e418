//! Work that happens by itself: retention and checkpoints of open partitions, and a look whether
//! their files are still there; the recovery, after a
//! reboot, of the partitions that no request has opened yet; removing the files of a deletion that
//! was cut short; and releasing space that was reserved for logs that are not written any more.

use crate::{DataDir, Metadata, Partitions, Unavailable};
use gnomon_driver::{Clock, supervise::StopSignal};
use gnomon_storage::Boot;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tracing::{error, warn};

/// How often retention and checkpoints are due.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// A log that was not written for so long releases the space that was reserved for it.
const QUIET: Duration = Duration::from_secs(1);

/// The partitions that housekeeping works on.
pub struct Housekeeping {
    /// The topics that exist.
    pub metadata: Metadata,
    pub partitions: Arc<Partitions>,
    /// Where they lie.
    pub data_dir: Arc<DataDir>,
    /// The present time.
    pub clock: Clock,
}

impl Housekeeping {
    /// Runs until the site stops.
    pub async fn run(self, mut stop: StopSignal) {
        let work = async {
            if let Err(failure) = self.partitions.remove_orphans().await {
                warn!("cannot remove the files of deleted topics: {failure}");
            }
            self.recover_all().await;
            loop {
                sleep(INTERVAL).await;
                self.retain().await;
            }
        };
        let release = async {
            loop {
                self.partitions.release_idle(QUIET).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.stopped() => {}
            () = work => {}
            () = release => {}
        }
    }

    /// After a reboot every partition is recovered before the new boot is recorded.
    async fn recover_all(&self) {
        if self.data_dir.boot() == Boot::Other {
            let image = self.metadata.image();
            let mut all = true;
            for topic in image.topics.values() {
                for index in topic.indexes() {
                    match self.partitions.open_by_id(topic.id, index).await {
                        Ok(_) => {}
                        // A topic that was deleted meanwhile needs no recovery.
                        Err(
                            Unavailable::UnknownTopic
                            | Unavailable::UnknownTopicId
                            | Unavailable::UnknownPartition,
                        ) => {}
                        Err(failure @ (Unavailable::Open(_) | Unavailable::Opening)) => {
                            error!(
                                topic = topic.name,
                                partition = index,
                                "not recovered: {failure}"
                            );
                            all = false;
                        }
                        Err(Unavailable::Stopping) => return,
                    }
                    tokio::task::yield_now().await;
                }
            }
            if !all {
                return;
            }
        }
        let data_dir = self.data_dir.clone();
        let recorded = self
            .partitions
            .blocking(move || data_dir.all_recovered())
            .await;
        if let Err(failure) = recorded.and_then(|recorded| recorded) {
            warn!(
                "cannot record that everything is recovered: {failure}; the next start will recover again"
            );
        }
    }

    async fn retain(&self) {
        let now_ms = self.clock.now().wall.0;
        for (id, handle) in self.partitions.all_open() {
            let done = handle
                .blocking(move |handle| {
                    // First: the others would complain of files that are not there.
                    let looked = handle.control().check_files();
                    (
                        looked,
                        handle.control().apply_retention(now_ms),
                        handle.control().checkpoint(),
                    )
                })
                .await;
            let Some((looked, retained, checkpointed)) = done else {
                return;
            };
            let partition = id.index;
            if let Err(failure) = looked {
                let topic = self.partitions.name_of(id);
                warn!(topic, partition, "cannot look for its files: {failure}");
            }
            if let Err(failure) = retained {
                let topic = self.partitions.name_of(id);
                warn!(topic, partition, "retention failed: {failure}");
            }
            if let Err(failure) = checkpointed {
                let topic = self.partitions.name_of(id);
                warn!(topic, partition, "checkpoint failed: {failure}");
            }
        }
    }
}
