//! One machine for each partition of an internal topic: which machine a key belongs to, and how one
//! that failed is started again.
//!
//! A machine whose log a disk error closed is rebuilt by its driver when the log is open again; one
//! that panicked is rebuilt after a delay. Until then events for its keys are answered
//! [`NoReply::Gone`]. Groups are shards, and so are transactions.

use crate::{
    Clock, Driver, Leadership, NoReply, Owner, PartitionJournal, RebuildError, Reopen, Submit,
    supervise::restart_on_failure,
};
use gnomon_machine::Machine;
use gnomon_partition::Handle;
use parking_lot::RwLock;
use std::{error::Error, pin::Pin, sync::Arc};
use tokio::task::JoinHandle;

/// The logs of the shards, and what differs between kinds of machines.
pub trait ShardLogs: Send + Sync + 'static {
    /// The kind of machine.
    type Machine: Machine;
    /// Where a machine's decisions go.
    type Owner: Owner<Self::Machine>;

    /// The internal topic, for messages.
    fn topic(&self) -> &'static str;
    /// Opens a shard's partition.
    fn open(&self, shard: i32) -> Result<Handle, Box<dyn Error + Send + Sync>>;
    /// Opens it again after a disk error.
    fn reopen(&self) -> Arc<dyn Reopen>;
    /// Where the decisions of a shard's machine go.
    fn owner(&self, shard: i32) -> Self::Owner;
    /// Whether this broker leads a shard.
    fn leadership(&self, shard: i32) -> Leadership;
    /// Work to be done with a machine that was just rebuilt, beside its events.
    fn rebuilt(
        &self,
        durable: &<Self::Machine as Machine>::Durable,
        submit: &Submit<Self::Machine>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A shard cannot be brought up.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Its log cannot be opened.
    #[error("cannot open {topic}-{shard}: {source}")]
    Open {
        /// The internal topic.
        topic: &'static str,
        shard: i32,
        source: Box<dyn Error + Send + Sync>,
    },
    /// Its log cannot be replayed.
    #[error("cannot rebuild the state in {topic}-{shard}: {source}")]
    Rebuild {
        /// The internal topic.
        topic: &'static str,
        shard: i32,
        source: RebuildError,
    },
}

/// All shards of one kind.
pub struct Shards<M: Machine>(Vec<Arc<Shard<M>>>);

impl<M: Machine> Clone for Shards<M> {
    fn clone(&self) -> Self {
        Shards(self.0.clone())
    }
}

pub struct Shard<M: Machine>(RwLock<ShardState<M>>);

enum ShardState<M: Machine> {
    Running(Submit<M>),
    /// Its machine panicked and is being rebuilt.
    Rebuilding,
    /// The site stops.
    Stopped,
}

impl<M: Machine> Shard<M> {
    /// The machine's reply.
    pub async fn submit(&self, event: M::Event) -> Result<M::Reply, NoReply> {
        let submit = match &*self.0.read() {
            ShardState::Running(submit) => submit.clone(),
            ShardState::Rebuilding | ShardState::Stopped => return Err(NoReply::Gone),
        };
        submit.submit(event).await
    }

    fn change(&self, to: ShardState<M>) {
        let mut state = self.0.write();
        if !matches!(*state, ShardState::Stopped) {
            *state = to;
        }
    }
}

/// A machine that was rebuilt: its inbox, and the work of running it.
struct Rebuilt<M: Machine> {
    submit: Submit<M>,
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<M: Machine> Shards<M> {
    /// Rebuilds and starts `count` machines. The tasks end after [`Shards::stop`].
    pub fn start<L: ShardLogs<Machine = M>>(
        logs: &Arc<L>,
        count: i32,
        clock: Clock,
    ) -> Result<(Shards<M>, Vec<JoinHandle<()>>), ShardError> {
        let mut shards = Vec::new();
        let mut tasks = Vec::new();
        for number in 0..count {
            let first = rebuild(&**logs, number, clock)?;
            let shard = Arc::new(Shard(RwLock::new(ShardState::Running(
                first.submit.clone(),
            ))));
            tasks.push(tokio::spawn(keep(
                logs.clone(),
                number,
                clock,
                first,
                shard.clone(),
            )));
            shards.push(shard);
        }
        Ok((Shards(shards), tasks))
    }

    /// The shard that a key belongs to.
    pub fn of(&self, key: &str) -> &Arc<Shard<M>> {
        &self.0[shard_of(key, self.0.len())]
    }

    /// The partition of the internal topic that a key belongs to.
    pub fn partition_of(&self, key: &str) -> i32 {
        shard_of(key, self.0.len()) as i32
    }

    /// Every shard.
    pub fn all(&self) -> &[Arc<Shard<M>>] {
        &self.0
    }

    /// Takes no more events; decisions under way become durable.
    pub fn stop(&self) {
        for shard in &self.0 {
            shard.change(ShardState::Stopped);
        }
    }
}

fn rebuild<L: ShardLogs>(
    logs: &L,
    shard: i32,
    clock: Clock,
) -> Result<Rebuilt<L::Machine>, ShardError> {
    let topic = logs.topic();
    let handle = logs.open(shard).map_err(|source| ShardError::Open {
        topic,
        shard,
        source,
    })?;
    let name = format!("{topic}-{shard}");
    let journal = PartitionJournal::new(name, handle, Some(logs.reopen()));
    let driver = Driver::<L::Machine, _, _>::rebuild(journal, logs.owner(shard), clock);
    let driver = driver.map_err(|source| ShardError::Rebuild {
        topic,
        shard,
        source,
    })?;
    // The driver moves into its task before its state can be looked at.
    let (sender, inbox) = Submit::new();
    let beside = logs.rebuilt(driver.durable(), &sender);
    let run = driver.run(inbox, logs.leadership(shard));
    Ok(Rebuilt {
        submit: sender,
        run: Box::pin(async move {
            tokio::join!(run, beside);
        }),
    })
}

/// Runs a shard until the site stops; after a panic with another machine.
async fn keep<L: ShardLogs>(
    logs: Arc<L>,
    number: i32,
    clock: Clock,
    first: Rebuilt<L::Machine>,
    shard: Arc<Shard<L::Machine>>,
) {
    let mut first = Some(first);
    let (logs, shard) = (&*logs, &*shard);
    let serve = || {
        let first = first.take();
        async move {
            let Rebuilt { submit, run } = match first {
                Some(first) => first,
                None => {
                    shard.change(ShardState::Rebuilding);
                    let rebuilt =
                        rebuild(logs, number, clock).map_err(|error| error.to_string())?;
                    shard.change(ShardState::Running(rebuilt.submit.clone()));
                    rebuilt
                }
            };
            // Its last clone is the shard's, so that the machine ends when the shard is stopped.
            drop(submit);
            run.await;
            Ok(())
        }
    };
    restart_on_failure(&format!("{}-{number}", logs.topic()), serve).await;
}

/// Kafka's rule for `__consumer_offsets` and `__transaction_state`: Java's hash of the key, without
/// its sign.
fn shard_of(key: &str, count: usize) -> usize {
    let hash = key.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    (hash & i32::MAX) as usize % count
}

#[cfg(test)]
mod tests {
    use super::shard_of;

    #[test]
    fn keys_belong_to_the_partitions_that_kafka_gives_them() {
        // "a".hashCode() is 97, "group".hashCode() is 98629247.
        assert_eq!(shard_of("a", 16), 97 % 16);
        assert_eq!(shard_of("group", 16), 98_629_247 % 16);
        assert_eq!(shard_of("", 16), 0);
    }
}
