//! Transactions, written while a site is down: the broker's own clients have none yet, and a link
//! copies those that a source already decided.
//!
//! A scribe appends to the logs of a stopped site what a transactional producer and its coordinator
//! would have written: batches of transactions, commit and abort markers, some transactions left
//! open for a later time. Not here: what may be shown of them (`check/txns.rs`).

use super::{
    model::{self, Fate, Kind, SITES, Topic, Txn},
    rng::Rng,
    world::World,
};
use gnomon_client::Topics;
use gnomon_partition::{Blocking, Env, Flusher, Handle, Origin, PartitionId, Role, Settings};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, marker_batch},
    ids::{LeaderEpoch, ProducerId},
};
use gnomon_storage::{Boot, MemDisk};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// Value numbers of transactions begin here: no producer and no poacher has one.
const FIRST_TXN: u32 = 2_000_000;

/// Ids of transactional producers: of no site of ours.
const FIRST_PRODUCER: ProducerId = 700_000;

/// Writers at work in one partition at a time.
const WRITERS: usize = 2;

/// By partition: the epoch under which a site leads it.
pub type Epochs = BTreeMap<i32, LeaderEpoch>;

/// A transactional producer in one partition.
struct TxnWriter {
    producer: ProducerId,
    sequence: i32,
    /// The transaction that is open.
    open: Option<u32>,
}

/// Writes transactions into logs of stopped sites.
pub struct Scribe {
    world: Arc<World>,
    rng: Rng,
    next_txn: u32,
    next_producer: ProducerId,
    writers: BTreeMap<(u64, i32), Vec<TxnWriter>>,
}

impl Scribe {
    /// Has written nothing.
    pub fn new(world: &Arc<World>, rng: Rng) -> Scribe {
        Scribe {
            world: world.clone(),
            rng,
            next_txn: FIRST_TXN,
            next_producer: FIRST_PRODUCER,
            writers: BTreeMap::new(),
        }
    }

    /// Topics of a site that are there for transactions, and the epochs under which the site, which
    /// runs, leads their partitions.
    pub async fn topics(&self, site: usize) -> Vec<(Topic, Epochs)> {
        let topics: Vec<Topic> = {
            let model = self.world.model.lock();
            let of = |topic: &&Topic| {
                topic.owner == site && topic.kind == Kind::Transactional && !topic.retired
            };
            model.topics.values().filter(of).cloned().collect()
        };
        if topics.is_empty() {
            return Vec::new();
        }
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        match self
            .world
            .client(SITES[site], "scribe")
            .metadata(Topics::Names(names), false)
            .await
        {
            Ok(metadata) => {
                let epochs = |topic: &Topic| {
                    let found = metadata
                        .topics
                        .get(&topic.name)
                        .filter(|found| found.id == topic.ids[site])?;
                    Some(
                        found
                            .partitions
                            .iter()
                            .map(|(index, partition)| (*index, partition.leader_epoch))
                            .collect(),
                    )
                };
                topics
                    .into_iter()
                    .filter_map(|topic| Some((epochs(&topic)?, topic)))
                    .map(|(epochs, topic)| (topic, epochs))
                    .collect()
            }
            Err(error) => {
                self.world.broken(
                    "scribe",
                    "L1",
                    format!(
                        "{} does not show its topics though all is well: {error}",
                        SITES[site]
                    ),
                );
                Vec::new()
            }
        }
    }

    /// Writes into every partition of these topics, as the process would have that led them under
    /// these epochs. It is stopped, and its disk is whole.
    pub async fn write(&mut self, site: usize, topics: &[(Topic, Epochs)], disk: &MemDisk) {
        let flusher = Flusher::start(Blocking::Inline {
            flush: Duration::ZERO,
        })
        .expect("inside a runtime");
        let env = Env {
            disk: Arc::new(disk.clone()),
            flusher,
            boot: Boot::Same,
            troubles: Default::default(),
            reserved: Default::default(),
        };
        for (topic, epochs) in topics {
            for (&partition, &epoch) in epochs {
                if let Err(why) = self.write_one(&env, site, topic, (partition, epoch)).await {
                    self.world.broken(
                        "scribe",
                        "L1",
                        format!("{}-{partition} of a stopped site: {why}", topic.name),
                    );
                }
            }
        }
    }

    async fn write_one(
        &mut self,
        env: &Env,
        site: usize,
        topic: &Topic,
        (partition, epoch): (i32, LeaderEpoch),
    ) -> Result<(), String> {
        let Some(topic_id) = topic.ids[site] else {
            return Ok(());
        };
        let dir = PathBuf::from(format!(
            "/data/partitions/{}-{partition}",
            topic_id.simple()
        ));
        let id = PartitionId {
            topic_id,
            index: partition,
        };
        // The epoch of the log's last batch would not do: a power loss may have taken others that
        // were acknowledged under it.
        let handle = Handle::open(
            env,
            dir,
            id,
            Role::leader(epoch.0),
            Settings::named(&topic.name),
        )
        .map_err(|error| error.to_string())?;
        for _ in 0..self.rng.within(2..9) {
            self.act(&handle, topic, partition)?;
        }
        let end = handle.offsets().end;
        handle
            .control()
            .close()
            .await
            .map_err(|error| error.to_string())?;
        self.world.tell(
            "scribe",
            format!(
                "{}-{partition} at {} ends at {end}",
                topic.name, SITES[site]
            ),
        );
        Ok(())
    }

    /// A batch of a transaction, or the end of one.
    fn act(&mut self, handle: &Handle, topic: &Topic, partition: i32) -> Result<(), String> {
        let key = (topic.generation, partition);
        let writers = self.writers.entry(key).or_default();
        if writers.len() < WRITERS {
            writers.push(TxnWriter {
                producer: self.next_producer,
                sequence: 0,
                open: None,
            });
            self.next_producer += 1;
        }
        let at = self.rng.index(writers.len());
        let writer = &mut writers[at];
        let now_ms = self.world.wall_ms();
        if let Some(txn) = writer.open.filter(|_| self.rng.once_in(2)) {
            let commit = !self.rng.once_in(3);
            let marker = marker_batch(commit, writer.producer, 0, 1, now_ms);
            writer.open = None;
            let appended = append(handle, marker, Origin::Site, now_ms)?;
            let mut model = self.world.model.lock();
            if let Some(txn) = model.txns.get_mut(&txn) {
                txn.fate = Fate::Ended {
                    commit,
                    marker: appended,
                };
            }
            return Ok(());
        }
        let txn = *writer.open.get_or_insert_with(|| {
            self.next_txn += 1;
            self.next_txn
        });
        let count = self.rng.within(1..4);
        let mut model = self.world.model.lock();
        let known = model.txns.entry(txn).or_insert_with(|| Txn {
            first: -1,
            fate: Fate::Open,
            records: 0,
        });
        let mut batch = BatchBuilder::new(now_ms)
            .producer(writer.producer, 0, writer.sequence)
            .transactional();
        for number in known.records..known.records + count {
            let value = model::value(&topic.name, topic.generation, partition, txn, number);
            batch.push(now_ms, None, Some(value.as_bytes()), &[]);
        }
        known.records += count;
        writer.sequence += count as i32;
        let sent = known.records;
        let first = append(
            handle,
            batch.build().map_err(|error| error.to_string())?,
            Origin::Client { zstd_allowed: true },
            now_ms,
        )?;
        if known.first < 0 {
            known.first = first;
        }
        model.sent.insert(txn, sent);
        Ok(())
    }
}

fn append(
    handle: &Handle,
    bytes: bytes::Bytes,
    origin: Origin,
    now_ms: i64,
) -> Result<i64, String> {
    let batch = BatchView::parse_only(bytes).map_err(|error| error.to_string())?;
    handle
        .appender()
        .append(batch, origin, now_ms)
        .map(|appended| appended.base_offset)
        .map_err(|error| error.to_string())
}
