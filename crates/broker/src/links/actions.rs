//! Carries out the actions of the metadata machine. Each is harmless when it is repeated: the
//! machine asks again after a restart.

use super::Links;
use crate::coordinators::groups::Groups;
use gnomon_catalog::Action;
use gnomon_groups::{DeletedTopic, Event as GroupEvent, TopicsDeleted};
use gnomon_host::Partitions;
use gnomon_partition::PartitionId;
use gnomon_protocol::ids::TopicId;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::warn;

/// A group machine that could not take an event is sent it again after this long.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The parts of the site that actions reach into.
#[derive(Clone)]
pub struct Actions {
    /// The partitions whose files are removed.
    pub partitions: Arc<Partitions>,
    /// The groups whose offsets are removed.
    pub groups: Groups,
    /// Failovers.
    pub links: Arc<Links>,
}

impl Actions {
    /// Carries out what the metadata machine asks for, until the site stops.
    pub async fn run(self, mut actions: mpsc::UnboundedReceiver<Action>) {
        let mut dropping = JoinSet::new();
        while let Some(action) = actions.recv().await {
            match action {
                // Files may be many and slow to remove, and a failover must not wait for them.
                Action::DropTopic {
                    id,
                    name,
                    partitions,
                } => {
                    while dropping.try_join_next().is_some() {}
                    let actions = self.clone();
                    dropping.spawn(async move { actions.drop_topic(id, &name, partitions).await });
                }
                Action::Cut { .. } | Action::AbortOpen { .. } | Action::ApplyOffsets { .. } => {
                    self.links.carry_out(action);
                }
            }
        }
    }

    async fn drop_topic(&self, id: TopicId, name: &str, partitions: i32) {
        tokio::join!(
            self.forget_offsets(id, name),
            self.remove_files(id, name, partitions)
        );
    }

    /// Removes the offsets that were committed on the topic. Those on a topic of the same name that
    /// is made meanwhile stay. Goes on until every machine has been told, or the site stops: then
    /// the next start removes the rest.
    async fn forget_offsets(&self, id: TopicId, name: &str) {
        sleep(planted_delay()).await;
        let deleted = GroupEvent::TopicsDeleted(TopicsDeleted {
            topics: vec![DeletedTopic {
                name: name.into(),
                id: Some(id),
            }],
        });
        for shard in self.groups.all() {
            let mut warned = false;
            while let Err(error) = shard.tell(&deleted).await {
                if !std::mem::replace(&mut warned, true) {
                    warn!(
                        topic = name,
                        "committed offsets of a deleted topic are removed later: {error}"
                    );
                }
                sleep(TELL_AGAIN_AFTER).await;
            }
        }
    }

    async fn remove_files(&self, id: TopicId, name: &str, partitions: i32) {
        for index in 0..partitions {
            let partition = PartitionId {
                topic_id: id,
                index,
            };
            if let Err(stopping) = self.partitions.delete(name, partition).await {
                // The next start removes the rest.
                return warn!(
                    topic = name,
                    "not all files of a deleted topic are removed: {stopping}"
                );
            }
        }
    }
}

/// A test delays the event, so that it arrives long after the topic's name is used again.
fn planted_delay() -> Duration {
    gnomon_failpoints::fail_point!("late_news_of_deletions", |ms| Duration::from_millis(
        ms.and_then(|ms| ms.parse().ok()).unwrap_or(0)
    ));
    Duration::ZERO
}
