//! Producers: one batch in flight, to one partition. An idempotent one repeats a batch until it is
//! answered; another one gives an unanswered batch up.
//!
//! When its topic is failed over a producer may move to the other site, with its producer id, its
//! next sequence, and the batch that was not answered.

use super::goes_on;
use crate::sim::{
    model::{self, LogId, SITES, Written},
    rng::Rng,
    world::World,
};
use bytes::Bytes;
use gnomon_client::{Client, ClientError, Topics, produce::Acks};
use gnomon_protocol::{
    batch::{BatchBuilder, Codec},
    error_code::ErrorCode,
    ids::{Offset, ProducerId},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Somebody who writes.
pub struct Producer {
    world: Arc<World>,
    client: Client,
    rng: Rng,
    /// Its number: every value that it sends carries it.
    pub id: u32,
    /// Where it writes.
    pub topic: String,
    generation: u64,
    partition: i32,
    site: usize,
    moved: bool,
    durable: bool,
    idempotent: bool,
    identity: Option<Identity>,
    number: u64,
    unanswered: Option<Batch>,
    /// Process of the site, and the partition's epoch there.
    epoch: Option<(u64, i32)>,
}

/// The identity of an idempotent producer.
struct Identity {
    producer: (ProducerId, i16),
    sequence: i32,
}

struct Batch {
    bytes: Bytes,
    values: Vec<String>,
    end_before: Option<Offset>,
}

/// The consequence of a failed attempt.
enum Failure {
    /// It may have been written all the same: an idempotent producer asks again.
    Unknown,
    /// The broker no longer knows this producer's sequence.
    SequenceLost,
    /// It is not written here, or not yet.
    NotHere,
    /// No answer that a producer should ever get.
    Unexpected,
}

impl Producer {
    /// A producer of a topic's owner. Its habits follow from the dice.
    pub fn new(
        world: &Arc<World>,
        mut rng: Rng,
        id: u32,
        topic: &model::Topic,
        partition: i32,
    ) -> Producer {
        let site = topic.owner;
        Producer {
            client: world.client(SITES[site], &format!("producer-{id}")),
            world: world.clone(),
            id,
            topic: topic.name.clone(),
            generation: topic.generation,
            partition,
            site,
            moved: false,
            durable: !rng.once_in(3),
            idempotent: !rng.once_in(3),
            identity: None,
            number: 0,
            unanswered: None,
            epoch: None,
            rng,
        }
    }

    /// The partition that it writes to.
    pub fn is_of(&self, topic: &model::Topic) -> bool {
        self.topic == topic.name && self.generation == topic.generation
    }

    /// Whether a batch is without an answer.
    pub fn is_waiting(&self) -> bool {
        self.idempotent && self.unanswered.is_some()
    }

    fn who(&self) -> String {
        format!(
            "producer {} {}/{}-{}",
            self.id, SITES[self.site], self.topic, self.partition
        )
    }

    /// Writes until `until`; `sparse` makes it slow.
    pub async fn run(mut self, until: Instant, pause: std::ops::Range<u64>) -> Producer {
        while goes_on(&self.world, until) && self.has_a_topic() {
            sleep(self.rng.millis(pause.clone())).await;
            self.step().await;
        }
        self
    }

    /// Tries to have its last batch answered.
    pub async fn settle(mut self, until: Instant) -> Producer {
        while self.is_waiting() && goes_on(&self.world, until) && self.has_a_topic() {
            self.step().await;
            sleep(Duration::from_millis(100)).await;
        }
        self
    }

    /// The partition that it writes to, if that exists: a topic created again under the name is
    /// another one.
    fn log(&self) -> Option<LogId> {
        let model = self.world.model.lock();
        let topic = model
            .topics
            .get(&self.topic)
            .filter(|topic| topic.generation == self.generation && !topic.retired)?;
        Some(LogId {
            site: self.site,
            topic: topic.ids[self.site]?,
            partition: self.partition,
        })
    }

    /// Whether its topic still exists, and was not created again.
    pub fn has_a_topic(&self) -> bool {
        let model = self.world.model.lock();
        model
            .topics
            .get(&self.topic)
            .is_some_and(|topic| topic.generation == self.generation && !topic.retired)
    }

    /// Goes to the other site, if the topic was failed over to it.
    pub fn may_move(&mut self) {
        let model = self.world.model.lock();
        let done = model
            .topics
            .get(&self.topic)
            .and_then(|topic| topic.failover.as_ref())
            .is_some_and(|failover| failover.done);
        drop(model);
        if done && !self.moved && self.rng.once_in(2) {
            (self.moved, self.site, self.epoch) = (true, 1 - self.site, None);
            self.client = self
                .world
                .client(SITES[self.site], &format!("producer-{}", self.id));
            if let Some(batch) = &mut self.unanswered {
                batch.end_before = None;
            }
            self.world.tell(&self.who(), "moved here");
        }
    }

    async fn step(&mut self) {
        if let Err(error) = self.try_step().await {
            self.world.tell(&self.who(), format!("failed: {error}"));
            match judge(&error) {
                Failure::Unknown | Failure::NotHere if self.idempotent => {}
                Failure::Unknown | Failure::NotHere => self.unanswered = None,
                Failure::SequenceLost => self.sequence_lost(&error),
                Failure::Unexpected => self.world.broken(
                    &self.who(),
                    "L5",
                    format!("a producer was answered: {error}"),
                ),
            }
            sleep(self.rng.millis(20..400)).await;
        }
    }

    /// Allowed only where power loss may take what was acknowledged, or what was not copied is
    /// after.
    fn sequence_lost(&mut self, error: &ClientError) {
        if self.durable && !self.moved {
            self.world.broken(
                &self.who(),
                "L6",
                format!(
                    "a producer whose every batch was answered before the next is told: {error}"
                ),
            );
        }
        self.world.model.lock().in_order.remove(&self.id);
        (self.identity, self.unanswered) = (None, None);
    }

    async fn try_step(&mut self) -> Result<(), ClientError> {
        let Some(id) = self.log() else { return Ok(()) };
        if self.idempotent && self.identity.is_none() {
            let producer = self.client.init_producer_id().await?;
            self.world
                .tell(&self.who(), format!("is producer {}", producer.0));
            if self.number == 0 {
                self.world.model.lock().in_order.insert(self.id);
            }
            self.identity = Some(Identity {
                producer,
                sequence: 0,
            });
        }
        self.look_up_epoch().await?;
        if self.unanswered.is_none() {
            let end_before = self.world.model.lock().marks(id).high_watermark;
            self.unanswered = Some(self.make_batch(end_before));
        }
        let Some(batch) = &self.unanswered else {
            return Ok(());
        };
        let acks = if self.durable {
            Acks::All
        } else {
            Acks::Leader
        };
        let (life, power_losses) = {
            let model = self.world.model.lock();
            (model.lives[self.site], model.power_losses[self.site])
        };
        let produced = self
            .client
            .produce(
                &(self.topic.clone(), self.partition),
                batch.bytes.clone(),
                acks,
            )
            .await?;
        let Some(Batch {
            values, end_before, ..
        }) = self.unanswered.take()
        else {
            return Ok(());
        };
        if let Some(identity) = &mut self.identity {
            identity.sequence += values.len() as i32;
        }
        let (first, count) = (values.first().cloned().unwrap_or_default(), values.len());
        self.world.tell(
            &self.who(),
            format!(
                "{count} from {first} written at {} ({acks:?})",
                produced.base_offset
            ),
        );
        let same_process = self.world.model.lock().lives[self.site] == life;
        let epoch = self
            .epoch
            .filter(|(known, _)| same_process && *known == life)
            .map(|(_, epoch)| epoch);
        let written = Written {
            base: produced.base_offset,
            values,
            durable: self.durable,
            epoch,
            end_before,
            power_losses,
        };
        self.world
            .hold(&self.who(), |model| model.written(id, written));
        Ok(())
    }

    /// Each process of a site has an epoch of its own.
    async fn look_up_epoch(&mut self) -> Result<(), ClientError> {
        let life = self.world.model.lock().lives[self.site];
        if self.epoch.is_some_and(|(known, _)| known == life) {
            return Ok(());
        }
        let metadata = self
            .client
            .metadata(Topics::Names(vec![self.topic.clone()]), false)
            .await?;
        let partition = metadata
            .topics
            .get(&self.topic)
            .and_then(|topic| topic.partitions.get(&self.partition));
        let same_process = self.world.model.lock().lives[self.site] == life;
        self.epoch = partition
            .filter(|_| same_process)
            .map(|partition| (life, partition.leader_epoch.0));
        Ok(())
    }

    fn make_batch(&mut self, end_before: Offset) -> Batch {
        let now_ms = self.world.wall_ms();
        let count = self.rng.within(1..5);
        let mut builder = BatchBuilder::new(now_ms);
        if let Some(Identity {
            producer: (id, epoch),
            sequence,
        }) = &self.identity
        {
            builder = builder.producer(*id, *epoch, *sequence);
        }
        if self.rng.once_in(8) {
            builder = builder.codec(*self.rng.pick(&[
                Codec::Lz4,
                Codec::Snappy,
                Codec::Zstd,
                Codec::Gzip,
            ]));
        }
        let mut values = Vec::new();
        for _ in 0..count {
            let value = model::value(
                &self.topic,
                self.generation,
                self.partition,
                self.id,
                self.number,
            );
            self.number += 1;
            // Some records are larger than a page of the disk.
            let padding = if self.rng.once_in(10) {
                self.rng.within(0..12_000)
            } else {
                self.rng.within(0..200)
            };
            let padded = format!("{value} {}", "x".repeat(padding as usize));
            builder.push(now_ms, Some(b"key"), Some(padded.as_bytes()), &[]);
            values.push(value);
        }
        self.world.model.lock().sent.insert(self.id, self.number);
        Batch {
            bytes: builder.build().expect("a batch of a few records"),
            values,
            end_before: Some(end_before),
        }
    }
}

fn judge(error: &ClientError) -> Failure {
    let Some(code) = error.code() else {
        return Failure::Unknown;
    };
    match ErrorCode::from_code(code) {
        Some(
            ErrorCode::NotEnoughReplicas
            | ErrorCode::KafkaStorageError
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::RequestTimedOut
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::UnknownTopicOrPartition,
        ) => Failure::Unknown,
        Some(
            ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::InvalidProducerEpoch,
        ) => Failure::SequenceLost,
        Some(ErrorCode::PolicyViolation) => Failure::NotHere,
        _ => Failure::Unexpected,
    }
}

/// Tries to write to a shadow, as nobody should be able to.
pub async fn poach(world: &Arc<World>, rng: &mut Rng, id: u32, number: &mut u64, site: usize) {
    let shadows: Vec<model::Topic> = {
        let model = world.model.lock();
        model
            .topics
            .values()
            .filter(|topic| topic.owner != site && !topic.retired && topic.ids[site].is_some())
            .cloned()
            .collect()
    };
    if shadows.is_empty() {
        return;
    }
    let topic = rng.pick(&shadows);
    let partition = rng.within(0..topic.partitions as u64) as i32;
    let value = model::value(&topic.name, topic.generation, partition, id, *number);
    *number += 1;
    world.model.lock().sent.insert(id, *number);
    let now_ms = world.wall_ms();
    let mut builder = BatchBuilder::new(now_ms);
    builder.push(now_ms, None, Some(value.as_bytes()), &[]);
    let bytes = builder.build().expect("a batch of one record");
    let power_losses = world.model.lock().power_losses[site];
    let who = format!("poacher {id} {}/{}-{partition}", SITES[site], topic.name);
    let client = world.client(SITES[site], &format!("poacher-{id}"));
    match client
        .produce(&(topic.name.clone(), partition), bytes, Acks::All)
        .await
    {
        Ok(produced) => {
            world.tell(&who, format!("{value} written at {}", produced.base_offset));
            let written = Written {
                base: produced.base_offset,
                values: vec![value],
                durable: true,
                epoch: None,
                end_before: None,
                power_losses,
            };
            world.hold(&who, |model| {
                let Some(id) = topic.ids[site].map(|topic| LogId {
                    site,
                    topic,
                    partition,
                }) else {
                    return Ok(());
                };
                model.written(id, written)
            });
        }
        Err(error) => world.tell(&who, format!("refused: {error}")),
    }
}
