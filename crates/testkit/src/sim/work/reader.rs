//! Readers: one tails every partition of a site as records come, another reads every partition
//! whole while nobody writes.

use super::goes_on;
use crate::sim::{
    log::{Marks, SeenBatch},
    model::{LogId, ObservedFetch, SITES},
    rng::Rng,
    world::World,
};
use gnomon_client::{
    Client, ClientError, Topics,
    fetcher::{
        FetchOptions, FetchPosition, FetchTarget, Fetched, Fetcher, Isolation, is_session_error,
    },
    offsets::{EARLIEST, LATEST, TopicPartition},
};
use gnomon_protocol::{
    batch::BatchView,
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How often a reader looks which topics there are.
const LOOK: Duration = Duration::from_secs(2);

/// Where a reader stands in a partition: the next offset, and the epoch of the batch before it.
type Position = (Offset, BatchEpoch);

/// Somebody who reads everything that a site has, as it comes.
pub struct Tail {
    world: Arc<World>,
    rng: Rng,
    site: usize,
    client: Client,
    fetcher: Option<Fetcher>,
    targets: BTreeMap<FetchTarget, Position>,
    looked: Option<Instant>,
}

impl Tail {
    /// Reads from the beginning.
    pub fn new(world: &Arc<World>, rng: Rng, site: usize) -> Tail {
        let client = world.client(SITES[site], &format!("tail-{}", SITES[site]));
        Tail {
            world: world.clone(),
            rng,
            site,
            client,
            fetcher: None,
            targets: BTreeMap::new(),
            looked: None,
        }
    }

    fn who(&self) -> String {
        format!("tail {}", SITES[self.site])
    }

    /// Reads until `until`.
    pub async fn run(mut self, until: Instant) -> Tail {
        while goes_on(&self.world, until) {
            if let Err(error) = self.step().await {
                self.world.tell(&self.who(), format!("failed: {error}"));
                if !is_session_error(&error) {
                    (self.fetcher, self.looked) = (None, None);
                }
                sleep(self.rng.millis(50..500)).await;
            }
        }
        self
    }

    async fn step(&mut self) -> Result<(), ClientError> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.look().await?;
        }
        if self.targets.is_empty() {
            sleep(Duration::from_millis(200)).await;
            return Ok(());
        }
        let fetcher = match &mut self.fetcher {
            Some(fetcher) => fetcher,
            None => {
                let metadata = self.client.metadata(Topics::None, false).await?;
                let Some(node) = metadata.brokers.keys().next() else {
                    return Ok(());
                };
                let options = FetchOptions {
                    request_timeout: Duration::from_secs(5),
                    ..FetchOptions::default()
                };
                self.fetcher
                    .insert(Fetcher::new(self.client.dedicated(*node).await?, options))
            }
        };
        let floors = floors(&self.world, self.site, self.targets.keys());
        let position = |(offset, epoch): &Position| FetchPosition {
            offset: *offset,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: *epoch,
        };
        let wanted = self
            .targets
            .iter()
            .map(|(target, at)| (target.clone(), position(at)))
            .collect();
        fetcher.send(&wanted).await?;
        for fetched in fetcher.receive().await? {
            let floor = floors.get(&fetched.target).copied().unwrap_or_default();
            self.take(fetched, floor).await?;
        }
        Ok(())
    }

    /// Which topics there are, and their ids.
    async fn look(&mut self) -> Result<(), ClientError> {
        let metadata = self.client.metadata(Topics::All, false).await?;
        let mut model = self.world.model.lock();
        let mut targets = BTreeMap::new();
        for topic in model.topics.values_mut().filter(|topic| !topic.retired) {
            let found = metadata
                .topics
                .get(&topic.name)
                .and_then(|found| found.id)
                .filter(|id| topic.former != Some(*id));
            if topic.owner != self.site && topic.ids[self.site].is_none() {
                topic.ids[self.site] = found;
            }
            let Some(id) = topic.ids[self.site].filter(|id| found == Some(*id)) else {
                continue;
            };
            for partition in 0..topic.partitions {
                let target = FetchTarget {
                    topic: topic.name.as_str().into(),
                    topic_id: id,
                    partition,
                };
                let at = self
                    .targets
                    .get(&target)
                    .copied()
                    .unwrap_or((0, BatchEpoch::NONE));
                targets.insert(target, at);
            }
        }
        self.targets = targets;
        self.looked = Some(Instant::now());
        Ok(())
    }

    async fn take(&mut self, fetched: Fetched, floor: Marks) -> Result<(), ClientError> {
        let who = self.who();
        let id = log_of(self.site, &fetched.target);
        let Some((from, _)) = self.targets.get(&fetched.target).copied() else {
            return Ok(());
        };
        if let Some(code) = fetched.error {
            self.world.tell(
                &who,
                format!(
                    "{}-{} at {from}: error {code}",
                    fetched.target.topic, fetched.target.partition
                ),
            );
            return match ErrorCode::from_code(code) {
                Some(ErrorCode::OffsetOutOfRange) => self.find_place(&fetched.target, from).await,
                Some(ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition) => {
                    self.looked = None;
                    sleep(Duration::from_millis(50)).await;
                    Ok(())
                }
                // Closed by a disk error, or not copied yet.
                Some(
                    ErrorCode::KafkaStorageError
                    | ErrorCode::OffsetNotAvailable
                    | ErrorCode::NotLeaderOrFollower,
                ) => {
                    sleep(Duration::from_millis(50)).await;
                    Ok(())
                }
                _ => {
                    self.world.broken(
                        &who,
                        "L5",
                        format!(
                            "a reader of {} was answered with error {code}",
                            fetched.target.topic
                        ),
                    );
                    Ok(())
                }
            };
        }
        if let Some((epoch, end)) = fetched.diverging {
            let what = format!(
                "{} was read up to {from}, and is said to have ended at {end} in epoch {}",
                fetched.target.topic, epoch.0
            );
            self.world.broken(&who, "L2", what);
            return Ok(());
        }
        if let Some(next) = told(&self.world, &who, id, from, floor, &fetched) {
            self.targets.insert(fetched.target, next);
        }
        Ok(())
    }

    /// A position that was refused: trimmed away, or the end of the log went back.
    async fn find_place(&mut self, target: &FetchTarget, from: Offset) -> Result<(), ClientError> {
        let name: TopicPartition = (target.topic.to_string(), target.partition);
        let mut listed = self
            .client
            .list_offsets(
                &BTreeMap::from([(name.clone(), EARLIEST)]),
                Isolation::ReadUncommitted,
            )
            .await;
        let Some(start) = listed.remove(&name) else {
            return Ok(());
        };
        let start = start?.offset;
        if start > from {
            self.targets
                .insert(target.clone(), (start, BatchEpoch::NONE));
        } else if self
            .world
            .model
            .lock()
            .topic(self.site, target.topic_id)
            .is_some()
        {
            let what = format!(
                "{}-{} was read up to {from}, which is out of range now; the log starts at {start}",
                name.0, name.1
            );
            self.world.broken(&self.who(), "L1", what);
        }
        Ok(())
    }
}

fn log_of(site: usize, target: &FetchTarget) -> LogId {
    LogId {
        site,
        topic: target.topic_id,
        partition: target.partition,
    }
}

fn floors<'a>(
    world: &World,
    site: usize,
    targets: impl Iterator<Item = &'a FetchTarget>,
) -> BTreeMap<FetchTarget, Marks> {
    let model = world.model.lock();
    targets
        .map(|target| (target.clone(), model.marks(log_of(site, target))))
        .collect()
}

/// Tells the model; returns where to read on.
fn told(
    world: &World,
    who: &str,
    id: LogId,
    from: Offset,
    floor: Marks,
    fetched: &Fetched,
) -> Option<Position> {
    let mut bytes = fetched.records.clone();
    let mut batches = Vec::new();
    loop {
        // The last batch may be cut off.
        match BatchView::parse_first(&mut bytes).map_err(|error| error.to_string()) {
            Ok(None) => break,
            Ok(Some(view)) => match SeenBatch::of(&view) {
                Ok(batch) => batches.push(batch),
                Err(why) => {
                    world.broken(
                        who,
                        "L1",
                        format!(
                            "offset {} of {} cannot be read: {why}",
                            view.header().base_offset,
                            fetched.target.topic
                        ),
                    );
                    return None;
                }
            },
            Err(why) => {
                world.broken(
                    who,
                    "L1",
                    format!(
                        "what was fetched at {from} of {} cannot be read: {why}",
                        fetched.target.topic
                    ),
                );
                return None;
            }
        }
    }
    let next = batches
        .last()
        .map(|batch| (batch.last + 1, BatchEpoch(batch.epoch)));
    let marks = Marks {
        log_start: fetched.log_start_offset,
        high_watermark: fetched.high_watermark,
    };
    let place = format!("{}-{}", fetched.target.topic, fetched.target.partition);
    let digest = batches
        .iter()
        .fold(0_u64, |digest, batch| digest.rotate_left(5) ^ batch.sum);
    let to = next.map_or(from, |(next, _)| next);
    let (count, epoch) = (batches.len(), next.map_or(-1, |(_, epoch)| epoch.0));
    world.tell(
        who,
        format!(
            "{place} {from} to {to}: {count} batches, last epoch {epoch}, sum {digest:016x}, high watermark {}, log start {}",
            marks.high_watermark, marks.log_start
        ),
    );
    world.hold(who, |model| {
        model.read(
            id,
            ObservedFetch {
                from,
                floor,
                marks,
                batches,
            },
        )
    });
    next
}

/// Reads a partition whole, from its log start to its end, and says where these are. Nobody may
/// write meanwhile.
pub async fn read_whole(
    world: &Arc<World>,
    client: &Client,
    site: usize,
    target: &FetchTarget,
) -> Result<(Offset, Offset), ClientError> {
    let who = format!("auditor {}", SITES[site]);
    let name: TopicPartition = (target.topic.to_string(), target.partition);
    let list = async |timestamp| {
        let mut listed = client
            .list_offsets(
                &BTreeMap::from([(name.clone(), timestamp)]),
                Isolation::ReadUncommitted,
            )
            .await;
        let missing = ClientError::Missing {
            api: "ListOffsets",
            subject: name.0.clone(),
        };
        listed
            .remove(&name)
            .unwrap_or(Err(missing))
            .map(|listed| listed.offset)
    };
    let start = list(EARLIEST).await?;
    let floor = world.model.lock().marks(log_of(site, target));
    let end = list(LATEST).await?;
    world.tell(&who, format!("{}-{} has {start} to {end}", name.0, name.1));
    world.hold(&who, |model| model.marked(log_of(site, target), floor, end));
    let node = client.leader(&name.0, name.1).await?.0;
    let options = FetchOptions {
        request_timeout: Duration::from_secs(5),
        ..FetchOptions::default()
    };
    let mut fetcher = Fetcher::new(client.dedicated(node).await?, options);
    let mut next = (start, BatchEpoch::NONE);
    while next.0 < end && !world.is_over() {
        let floor = world.model.lock().marks(log_of(site, target));
        let position = FetchPosition {
            offset: next.0,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: next.1,
        };
        fetcher
            .send(&BTreeMap::from([(target.clone(), position)]))
            .await?;
        for fetched in fetcher.receive().await? {
            if let Some(code) = fetched.error {
                return Err(ClientError::Refused {
                    api: "Fetch",
                    subject: name.0.clone(),
                    code,
                    message: String::new(),
                });
            }
            if let Some(read_on) = told(world, &who, log_of(site, target), next.0, floor, &fetched)
            {
                next = read_on;
            }
        }
    }
    world.hold(&who, |model| {
        model.read_whole(log_of(site, target), start, end)
    });
    Ok((start, end))
}
