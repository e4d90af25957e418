//! What happens by itself: retention and checkpoints of open partitions, and at the first start
//! after a boot the recovery of all that nobody has asked for yet; what a deletion left behind that
//! was cut short; and space that was reserved for logs that are not written any more.

use crate::{data_dir::DataDir, partitions::Unavailable, site::Site, supervise::stopped};
use gnomon_storage::Boot;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tracing::{error, warn};

/// How often retention and checkpoints are looked at.
const INTERVAL: Duration = Duration::from_secs(30);

/// A log that nobody wrote to for so long gives back the space that was reserved for it.
const QUIET: Duration = Duration::from_secs(1);

/// Runs until the site stops.
pub async fn run(site: Arc<Site>, data_dir: Arc<DataDir>, mut stopping: watch::Receiver<bool>) {
    let work = async {
        if let Err(failure) = site.partitions.remove_orphans() {
            warn!("cannot look for files of deleted topics: {failure}");
        }
        recover_all(&site, &data_dir).await;
        loop {
            sleep(INTERVAL).await;
            retain(&site).await;
        }
    };
    let release = async {
        loop {
            site.partitions.release_idle(QUIET).await;
        }
    };
    tokio::select! {
        biased;
        () = stopped(&mut stopping) => {}
        () = work => {}
        () = release => {}
    }
}

/// After another boot every partition is recovered before that boot counts as seen.
async fn recover_all(site: &Site, data_dir: &DataDir) {
    if data_dir.boot() == Boot::Other {
        let image = site.catalog.image();
        for topic in image.topics.values() {
            for index in topic.indexes() {
                match site.partitions.open_by_id(topic.id, index).await {
                    Ok(_) => {}
                    // A topic that was deleted meanwhile needs no recovery.
                    Err(
                        Unavailable::UnknownTopic
                        | Unavailable::UnknownTopicId
                        | Unavailable::UnknownPartition,
                    ) => {}
                    Err(
                        failure @ (Unavailable::Open(_)
                        | Unavailable::Opening
                        | Unavailable::Stopping),
                    ) => {
                        error!(topic = %topic.name, partition = index, "not recovered: {failure}");
                        return;
                    }
                }
                tokio::task::yield_now().await;
            }
        }
    }
    if let Err(failure) = data_dir.all_recovered() {
        warn!(
            "cannot record that everything is recovered: {failure}; the next start will recover again"
        );
    }
}

async fn retain(site: &Site) {
    let now_ms = site.clock.now().wall.0;
    for (id, handle) in site.partitions.all_open() {
        let done = handle
            .blocking(move |handle| (handle.apply_retention(now_ms), handle.checkpoint()))
            .await;
        let Some((retained, checkpointed)) = done else {
            return;
        };
        if let Err(failure) = retained {
            warn!(partition = %id, "retention: {failure}");
        }
        if let Err(failure) = checkpointed {
            warn!(partition = %id, "checkpoint: {failure}");
        }
    }
}
