//! Consumer groups: one machine on each partition of `__consumer_offsets`.
//!
//! Not here: which partition a group belongs to, and how a machine that failed is started again
//! (`gnomon_driver::Shards`).

use gnomon_driver::{
    Clock, JournalError, Leadership, NoReply, Owner, Reopen, ShardError, ShardLogs, Shards, Submit,
};
use gnomon_groups::{
    Action, DeletedTopic, Durable, Event, GroupConfig, GroupError, Groups as GroupMachine, Reply,
    Soft, TopicsDeleted,
};
use gnomon_host::{Partitions, Reopener};
use gnomon_partition::Handle;
use gnomon_protocol::ids::TopicId;
use std::{error::Error, pin::Pin, sync::Arc};
use tokio::task::JoinHandle;
use tracing::error;

/// The topic that groups and their offsets are written to.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Its partitions (`offsets.topic.num.partitions`).
pub const OFFSETS_PARTITIONS: i32 = 16;

/// All group machines of this broker.
#[derive(Clone)]
pub struct Groups(Shards<GroupMachine>);

/// One partition's group machine.
#[derive(Clone, Copy)]
pub struct Shard<'a>(&'a gnomon_driver::Shard<GroupMachine>);

impl Shard<'_> {
    /// The machine's reply.
    pub async fn submit(&self, event: Event) -> Result<Reply, GroupError> {
        self.0
            .submit(event)
            .await
            .map_err(|no_reply| match no_reply {
                // Clients look for the coordinator again, and try again there.
                NoReply::Gone | NoReply::NotLeader | NoReply::Refused { .. } => {
                    GroupError::NotCoordinator
                }
            })
    }

    /// Sends an event that the machine handles in as many parts as it wants.
    pub async fn tell(&self, event: &Event) -> Result<(), GroupError> {
        while !self.submit(event.clone()).await?.into_done()? {}
        Ok(())
    }
}

impl Groups {
    /// Rebuilds and starts every machine. The tasks end after [`Groups::stop`].
    pub fn start(
        logs: GroupLogs,
        clock: Clock,
    ) -> Result<(Groups, Vec<JoinHandle<()>>), ShardError> {
        let (shards, tasks) = Shards::start(&Arc::new(logs), OFFSETS_PARTITIONS, clock)?;
        Ok((Groups(shards), tasks))
    }

    /// The reply of the machine that a group belongs to.
    pub async fn submit(&self, group: &str, event: Event) -> Result<Reply, GroupError> {
        Shard(self.0.of(group)).submit(event).await
    }

    /// The partition of `__consumer_offsets` that a group belongs to.
    pub fn partition_of(&self, group: &str) -> i32 {
        self.0.partition_of(group)
    }

    /// Every machine.
    pub fn all(&self) -> impl Iterator<Item = Shard<'_>> {
        self.0.all().iter().map(|shard| Shard(shard))
    }

    /// Sends an event to every machine. One that does not answer keeps no other from being told;
    /// the first error is returned.
    pub async fn tell_all(&self, event: &Event) -> Result<(), GroupError> {
        let mut all = Ok(());
        for shard in self.all() {
            let told = shard.tell(event).await;
            all = all.and(told);
        }
        all
    }

    /// Takes no more events; decisions under way become durable.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// The partitions of `__consumer_offsets`.
pub struct GroupLogs {
    /// Where they are opened.
    pub partitions: Arc<Partitions>,
    /// How they are opened again.
    pub reopener: Reopener,
    /// The id of `__consumer_offsets`.
    pub topic_id: TopicId,
    /// The settings of the machines.
    pub config: GroupConfig,
}

impl ShardLogs for GroupLogs {
    type Machine = GroupMachine;
    type Owner = GroupOwner;

    fn topic(&self) -> &'static str {
        OFFSETS_TOPIC
    }

    fn open(&self, shard: i32) -> Result<Handle, Box<dyn Error + Send + Sync>> {
        Ok(self.partitions.by_id(self.topic_id, shard)?)
    }

    fn reopen(&self) -> Arc<dyn Reopen> {
        Arc::new(self.reopener.clone())
    }

    fn owner(&self, shard: i32) -> GroupOwner {
        GroupOwner {
            partition: shard,
            config: self.config.clone(),
            partitions: self.partitions.clone(),
        }
    }

    fn leadership(&self, _shard: i32) -> Leadership {
        // One broker a site: it leads every partition.
        Leadership::always()
    }

    /// Removes offsets on topics whose deletion was cut short: the topics are gone, and their
    /// offsets are not yet.
    fn rebuilt(
        &self,
        durable: &Durable,
        submit: &Submit<GroupMachine>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let image = self.partitions.image();
        let is_gone = |name: &str, id: Option<TopicId>| match id {
            Some(id) => image.topic(id).is_none(),
            None => !image.names.contains_key(name),
        };
        let gone: Vec<DeletedTopic> = durable
            .committed_on()
            .into_iter()
            .filter(|(name, id)| is_gone(name, *id))
            .map(|(name, id)| DeletedTopic {
                name: name.clone(),
                id,
            })
            .collect();
        let submit = submit.clone();
        Box::pin(async move {
            if !gone.is_empty() {
                let deleted = Event::TopicsDeleted(TopicsDeleted { topics: gone });
                // Without a machine there are no offsets to remove; the next start tries again.
                while let Ok(Reply::DoneInPart) = submit.submit(deleted.clone()).await {}
            }
        })
    }
}

/// A group machine needs the names and ids of topics; its decisions need nothing but its log.
pub struct GroupOwner {
    partition: i32,
    config: GroupConfig,
    /// Where the metadata are.
    partitions: Arc<Partitions>,
}

impl Owner<GroupMachine> for GroupOwner {
    type Snapshot = ();

    fn new_soft(&self) -> Soft {
        Soft::new(self.config.clone())
    }

    fn complete(&self, mut event: Event) -> Event {
        let image = self.partitions.image();
        event.look_up(|id, name| image.names.get(name) == Some(&id) || planted_belief());
        event
    }

    fn capture(&self, _: &Durable) {}

    fn publish(&self, (): ()) {}

    fn act(&self, action: Action) {
        match action {}
    }

    fn lost(&self, error: JournalError) {
        error!(
            partition = self.partition,
            "the groups of this partition of {OFFSETS_TOPIC} have no coordinator until the site is started again: {error}"
        );
    }
}

/// Planted fault for tests of groups: an id that waited with its request counts as the latest.
fn planted_belief() -> bool {
    gnomon_failpoints::fail_point!("believe_topic_ids", |_| true);
    false
}
