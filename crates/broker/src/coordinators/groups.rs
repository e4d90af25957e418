//! The group machines, one on each partition of `__consumer_offsets`.
//!
//! A machine whose log a disk error closed is rebuilt once that is open again; until then its groups have no coordinator here.
use crate::{
    clock::Clock,
    journal::{JournalError, PartitionJournal},
    partitions::{Partitions, Unavailable},
    reopen::Reopener,
    replicated::{Host, RebuildError, Replicated, Submit},
};
use gnomon_groups::{Action, Durable, Event, GroupConfig, GroupError, Groups, Name, Reply, Soft, TopicsDeleted};
use gnomon_protocol::ids::TopicId;
use parking_lot::RwLock;
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinHandle;
use tracing::error;

/// The topic that groups and their offsets are written to.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Its partitions (`offsets.topic.num.partitions`).
pub const OFFSETS_PARTITIONS: i32 = 16;

/// All group machines of this broker.
#[derive(Clone)]
pub struct GroupCoordinators {
    coordinators: Vec<Arc<Coordinator>>,
}

/// One partition's machine.
pub struct Coordinator {
    submit: RwLock<Option<Submit<Groups>>>,
}

impl Coordinator {
    /// Asks this machine.
    pub async fn submit(&self, event: Event) -> Result<Reply, GroupError> {
        let submit = self.submit.read().clone();
        let Some(submit) = submit else { return Err(GroupError::NotCoordinator) };
        submit.submit(event).await.map_err(|_| GroupError::NotCoordinator)
    }
}

/// A group machine cannot be brought up.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// Its log cannot be opened.
    #[error("cannot open {OFFSETS_TOPIC}-{partition}: {source}")]
    Open {
        /// Which one.
        partition: i32,
        /// Why.
        source: Unavailable,
    },
    /// Its log cannot be replayed.
    #[error("cannot rebuild the groups of {OFFSETS_TOPIC}-{partition}: {source}")]
    Rebuild {
        /// Which one.
        partition: i32,
        /// Why.
        source: RebuildError,
    },
}

struct GroupsHost {
    partition: i32,
    config: GroupConfig,
}

impl Host<Groups> for GroupsHost {
    type Snapshot = ();

    fn fresh(&self) -> Soft {
        Soft::new(self.config.clone())
    }

    fn capture(&self, _: &Durable) {}

    fn publish(&self, (): ()) {}

    fn act(&self, action: Action) {
        match action {}
    }

    fn lost(&self, error: JournalError) {
        error!(partition = self.partition, "the groups of this partition have no coordinator until the site is started again: {error}");
    }
}

impl GroupCoordinators {
    /// Rebuilds and starts every machine; the tasks end when the coordinators are dropped.
    pub fn start(
        partitions: &Partitions,
        topic_id: TopicId,
        config: &GroupConfig,
        clock: Clock,
        reopener: &Reopener,
    ) -> Result<(GroupCoordinators, Vec<JoinHandle<()>>), GroupsError> {
        let mut coordinators = Vec::new();
        let mut tasks = Vec::new();
        for partition in 0..OFFSETS_PARTITIONS {
            let handle = partitions.by_id(topic_id, partition).map_err(|source| GroupsError::Open { partition, source })?;
            let journal = PartitionJournal::new(format!("{OFFSETS_TOPIC}-{partition}"), handle, Some(reopener.clone()));
            let machine = Replicated::<Groups, _, _>::rebuild(journal, GroupsHost { partition, config: config.clone() }, clock)
                .map_err(|source| GroupsError::Rebuild { partition, source })?;
            let image = partitions.image();
            let gone: BTreeSet<Name> =
                machine.durable().topics().map(|(_, topic, _)| topic.clone()).filter(|topic| !image.names.contains_key(&**topic)).collect();
            let (submit, run) = machine.start();
            tasks.push(tokio::spawn(run));
            if !gone.is_empty() {
                // A deletion that was cut short: its topics are gone, their offsets are not yet.
                let submit = submit.clone();
                tasks.push(tokio::spawn(async move {
                    let deleted = TopicsDeleted { topics: gone.into_iter().collect() };
                    // Without a machine there are no offsets to forget; the next start tries again.
                    let _ = submit.submit(Event::TopicsDeleted(deleted)).await;
                }));
            }
            coordinators.push(Arc::new(Coordinator { submit: RwLock::new(Some(submit)) }));
        }
        Ok((GroupCoordinators { coordinators }, tasks))
    }

    /// Asks the machine that a group belongs to.
    pub async fn submit(&self, group: &str, event: Event) -> Result<Reply, GroupError> {
        self.coordinators[partition_of(group)].submit(event).await
    }

    /// Every machine.
    pub fn all(&self) -> &[Arc<Coordinator>] {
        &self.coordinators
    }

    /// Takes no more events; what is under way becomes durable.
    pub fn stop(&self) {
        for coordinator in &self.coordinators {
            *coordinator.submit.write() = None;
        }
    }
}

/// Kafka's rule: Java's hash of the name, without its sign.
fn partition_of(group: &str) -> usize {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) as usize % OFFSETS_PARTITIONS as usize
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn groups_lie_where_kafka_puts_them() {
        // "a".hashCode() is 97, "group".hashCode() is 98629247.
        assert_eq!(partition_of("a"), 97 % 16);
        assert_eq!(partition_of("group"), 98_629_247 % 16);
        assert_eq!(partition_of(""), 0);
    }
}
