//! The group machines, one on each partition of `__consumer_offsets`.
//!
//! A machine whose log a disk error closed is rebuilt once that is open again, and one that
//! panicked a moment later; until then its groups have no coordinator here.

use crate::{
    clock::Clock,
    essential,
    journal::{JournalError, PartitionJournal},
    partitions::{Partitions, Unavailable},
    reopen::Reopener,
    replicated::{Host, RebuildError, Replicated, Submit},
};
use gnomon_groups::{
    Action, DeletedTopic, Durable, Event, GroupConfig, GroupError, Groups, Reply, Soft,
    TopicsDeleted,
};
use gnomon_protocol::ids::TopicId;
use parking_lot::RwLock;
use std::{pin::Pin, sync::Arc};
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
    machine: RwLock<Present>,
}

/// Whether there is one to ask.
enum Present {
    Yes(Submit<Groups>),
    /// It is being rebuilt.
    NotNow,
    /// The site stops.
    NoMore,
}

impl Coordinator {
    /// Asks this machine.
    pub async fn submit(&self, event: Event) -> Result<Reply, GroupError> {
        let submit = match &*self.machine.read() {
            Present::Yes(submit) => submit.clone(),
            Present::NotNow | Present::NoMore => return Err(GroupError::NotCoordinator),
        };
        submit
            .submit(event)
            .await
            .map_err(|_| GroupError::NotCoordinator)
    }

    /// Gives this machine news, in as many parts as it wants them.
    pub async fn tell(&self, news: Event) -> Result<(), GroupError> {
        while !self.submit(news.clone()).await?.into_done()? {}
        Ok(())
    }

    fn change(&self, to: Present) {
        let mut machine = self.machine.write();
        if !matches!(*machine, Present::NoMore) {
            *machine = to;
        }
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
        error!(
            partition = self.partition,
            "the groups of this partition have no coordinator until the site is started again: {error}"
        );
    }
}

/// What a machine is rebuilt from.
struct Rebuilding {
    partitions: Arc<Partitions>,
    topic_id: TopicId,
    partition: i32,
    config: GroupConfig,
    clock: Clock,
    reopener: Reopener,
}

/// A machine that has been rebuilt.
struct Rebuilt {
    submit: Submit<Groups>,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Topics whose deletion was cut short: they are gone, their offsets are not yet.
    gone: Vec<DeletedTopic>,
}

impl Rebuilding {
    fn name(&self) -> String {
        format!("{OFFSETS_TOPIC}-{}", self.partition)
    }

    fn rebuild(&self) -> Result<Rebuilt, GroupsError> {
        let partition = self.partition;
        let handle = self
            .partitions
            .by_id(self.topic_id, partition)
            .map_err(|source| GroupsError::Open { partition, source })?;
        let journal = PartitionJournal::new(self.name(), handle, Some(self.reopener.clone()));
        let host = GroupsHost {
            partition,
            config: self.config.clone(),
        };
        let machine = Replicated::<Groups, _, _>::rebuild(journal, host, self.clock);
        let machine = machine.map_err(|source| GroupsError::Rebuild { partition, source })?;
        let image = self.partitions.image();
        let is_gone = |name: &str, id: Option<TopicId>| match id {
            Some(id) => image.topic(id).is_none(),
            None => !image.names.contains_key(name),
        };
        let topics = machine
            .durable()
            .committed_on()
            .into_iter()
            .filter(|(name, id)| is_gone(name, *id));
        let gone = topics
            .map(|(name, id)| DeletedTopic {
                name: name.clone(),
                id,
            })
            .collect();
        let (submit, run) = machine.start();
        Ok(Rebuilt {
            submit,
            run: Box::pin(run),
            gone,
        })
    }

    /// Serves until the site stops; after a panic with another machine.
    async fn keep(self, first: Rebuilt, coordinator: Arc<Coordinator>) {
        let mut first = Some(first);
        let (this, coordinator) = (&self, &*coordinator);
        let serve = || {
            let first = first.take();
            async move {
                let rebuilt = match first {
                    Some(rebuilt) => rebuilt,
                    None => {
                        coordinator.change(Present::NotNow);
                        let rebuilt = this.rebuild().map_err(|error| error.to_string())?;
                        coordinator.change(Present::Yes(rebuilt.submit.clone()));
                        rebuilt
                    }
                };
                rebuilt.serve().await;
                Ok(())
            }
        };
        essential::anew(&self.name(), serve).await;
    }
}

impl Rebuilt {
    async fn serve(self) {
        let Rebuilt { submit, run, gone } = self;
        let forget = async move {
            if !gone.is_empty() {
                let deleted = Event::TopicsDeleted(TopicsDeleted { topics: gone });
                // Without a machine there are no offsets to forget; the next start tries again.
                while let Ok(Reply::DoneInPart) = submit.submit(deleted.clone()).await {}
            }
        };
        tokio::join!(run, forget);
    }
}

impl GroupCoordinators {
    /// Rebuilds and starts every machine; the tasks end when the coordinators are dropped.
    pub fn start(
        partitions: &Arc<Partitions>,
        topic_id: TopicId,
        config: &GroupConfig,
        clock: Clock,
        reopener: &Reopener,
    ) -> Result<(GroupCoordinators, Vec<JoinHandle<()>>), GroupsError> {
        let mut coordinators = Vec::new();
        let mut tasks = Vec::new();
        for partition in 0..OFFSETS_PARTITIONS {
            let (partitions, config, reopener) =
                (partitions.clone(), config.clone(), reopener.clone());
            let rebuilding = Rebuilding {
                partitions,
                topic_id,
                partition,
                config,
                clock,
                reopener,
            };
            let first = rebuilding.rebuild()?;
            let coordinator = Arc::new(Coordinator {
                machine: RwLock::new(Present::Yes(first.submit.clone())),
            });
            tasks.push(tokio::spawn(rebuilding.keep(first, coordinator.clone())));
            coordinators.push(coordinator);
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
            coordinator.change(Present::NoMore);
        }
    }
}

/// Kafka's rule: Java's hash of the name, without its sign.
fn partition_of(group: &str) -> usize {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
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
