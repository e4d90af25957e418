//! The site as replication sees it ([`gnomon_replication::Site`]): metadata, partitions, groups,
//! time and randomness, and nothing else.

use super::LinkParts;
use gnomon_catalog::{Event, Image, Reply};
use gnomon_client::BoxFuture;
use gnomon_groups::{Event as GroupEvent, SyncEnded, SyncOffsets, SyncedPartition};
use gnomon_machine::Now;
use gnomon_partition::Handle;
use gnomon_protocol::ids::{TopicId, Uuid};
use gnomon_replication::{Gone, Unavailable};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// The parts of the site, without the links.
pub struct SiteView(pub LinkParts);

impl gnomon_replication::Site for SiteView {
    fn image(&self) -> Arc<Image> {
        self.0.metadata.image()
    }

    fn handle(&self, topic: TopicId, partition: i32) -> Result<Handle, Unavailable> {
        self.0
            .partitions
            .by_id(topic, partition)
            .map_err(|error| Unavailable {
                topic,
                partition,
                why: error.to_string(),
            })
    }

    fn submit(&self, event: Event) -> BoxFuture<'static, Result<Reply, Gone>> {
        let metadata = self.0.metadata.clone();
        Box::pin(async move {
            metadata.submit(event).await.map_err(|error| Gone {
                what: "the metadata machine",
                why: error.to_string(),
            })
        })
    }

    fn sync_offsets(
        &self,
        sync: SyncOffsets,
    ) -> BoxFuture<'static, Result<Vec<SyncedPartition>, Gone>> {
        let groups = self.0.groups.clone();
        Box::pin(async move {
            let group = sync.group.clone();
            while planted_hold() {
                sleep(Duration::from_millis(5)).await;
            }
            let reply = groups.submit(&group, GroupEvent::SyncOffsets(sync)).await;
            reply
                .and_then(gnomon_groups::Reply::into_offsets_synced)
                .map_err(|error| Gone {
                    what: "the group machine",
                    why: error.to_string(),
                })
        })
    }

    fn sync_ended(&self, ended: SyncEnded) -> BoxFuture<'static, Result<(), Gone>> {
        let groups = self.0.groups.clone();
        Box::pin(async move {
            let event = GroupEvent::SyncEnded(ended);
            groups.tell_all(&event).await.map_err(|error| Gone {
                what: "a group machine",
                why: error.to_string(),
            })
        })
    }

    fn now(&self) -> Now {
        self.0.clock.now()
    }

    fn random(&self) -> u64 {
        self.0.random.number()
    }

    fn fresh_id(&self) -> Uuid {
        self.0.random.id()
    }
}

/// Tests hold a prepared sync of offsets back, and count such syncs.
fn planted_hold() -> bool {
    gnomon_failpoints::fail_point!("sync_of_offsets_waits");
    gnomon_failpoints::fail_point!("hold_sync_of_offsets", |_| true);
    false
}
