//! A partition against a model: random writers, flushes, checkpoints, kills and power cuts, by
//! seed.
//!
//! What must hold: nothing below a high watermark that anyone saw is ever lost; what is in the log
//! is a prefix of what was written, byte for byte; no (epoch, offset) is ever handed out twice;
//! after every restart producers, transactions and epochs are what the batches in the log make.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{Handle, Isolation, Origin, Role};
use gnomon_protocol::{
    batch::BatchView,
    ids::{BatchEpoch, Offset, ProducerId},
};
use gnomon_storage::MemDisk;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet};

struct PartitionModel {
    disk: MemDisk,
    handle: Option<Handle>,
    rng: StdRng,
    epoch: i32,
    /// Every batch in the log, with offset and epoch.
    written: Vec<BatchView>,
    /// The largest high watermark that was seen.
    seen: Offset,
    /// Every (epoch, base offset) that was ever handed out.
    handed_out: BTreeSet<(i32, Offset)>,
    log_start: Offset,
    tag: u64,
}

impl PartitionModel {
    fn new(seed: u64) -> PartitionModel {
        let disk = disk();
        let handle = Some(open(&disk, Role::leader(1), settings()));
        let rng = StdRng::seed_from_u64(seed);
        PartitionModel {
            disk,
            handle,
            rng,
            epoch: 1,
            written: Vec::new(),
            seen: 0,
            handed_out: BTreeSet::new(),
            log_start: 0,
            tag: 0,
        }
    }

    fn handle(&self) -> Handle {
        self.handle.clone().expect("open between steps")
    }

    fn end(&self) -> Offset {
        self.written
            .last()
            .map_or(0, |batch| batch.header().next_offset())
    }

    /// Next sequence of a producer, by the batches in the log.
    fn next_sequence(&self, producer: ProducerId) -> i32 {
        let last = self
            .written
            .iter()
            .rfind(|batch| batch.header().producer_id == producer && !batch.header().is_control());
        last.map_or(0, |batch| batch.header().last_sequence() + 1)
    }

    fn open_txn(&self, producer: ProducerId) -> bool {
        let last = self
            .written
            .iter()
            .rfind(|batch| batch.header().producer_id == producer);
        last.is_some_and(|batch| batch.header().is_transactional() && !batch.header().is_control())
    }

    fn append(&mut self, batch: BatchView, origin: Origin) {
        let appended = self
            .handle()
            .appender()
            .append(batch.clone(), origin, NOW)
            .unwrap();
        assert_eq!(appended.base_offset, self.end(), "the next offset");
        assert!(!appended.duplicate);
        assert!(
            self.handed_out.insert((self.epoch, appended.base_offset)),
            "offset {} again under epoch {}",
            appended.base_offset,
            self.epoch
        );
        self.written
            .push(copied(appended.base_offset, self.epoch, batch));
    }

    async fn step(&mut self) {
        self.tag += 1;
        match self.rng.random_range(0..100) {
            0..30 => {
                let batch = plain(self.rng.random_range(1..20), self.tag);
                self.append(batch, CLIENT);
            }
            30..50 => {
                let producer = self.rng.random_range(1..4);
                let batch = idempotent(
                    producer,
                    0,
                    self.next_sequence(producer),
                    self.rng.random_range(1..10),
                );
                self.append(batch, CLIENT);
            }
            50..58 => self.repeat(),
            58..70 => {
                let producer = self.rng.random_range(10..13);
                if self.open_txn(producer) && self.rng.random() {
                    let commit = self.rng.random();
                    self.append(marker(commit, producer, 0, 1), Origin::Site);
                } else {
                    let batch = transactional(
                        producer,
                        0,
                        self.next_sequence(producer),
                        self.rng.random_range(1..5),
                    );
                    self.append(batch, CLIENT);
                }
            }
            70..82 => {
                self.handle().control().flush().await.unwrap();
                assert_eq!(self.handle().offsets().high_watermark, self.end());
            }
            82..85 => self.handle().control().checkpoint().unwrap(),
            85..88 => {
                let upper = self.handle().offsets().high_watermark;
                let to = self.rng.random_range(self.log_start..=upper);
                self.log_start = self.handle().control().trim_to(to).unwrap();
            }
            88..91 => {
                self.handle().control().close().await.unwrap();
                self.reopen(false, true);
            }
            91..96 => self.reopen(false, true),
            _ => self.reopen(true, false),
        }
        let offsets = self.handle().offsets();
        assert_eq!(
            (offsets.log_start, offsets.end),
            (self.log_start, self.end())
        );
        assert!(offsets.high_watermark >= self.seen);
        self.seen = offsets.high_watermark;
    }

    /// An exact repeat of one of a producer's last five batches.
    fn repeat(&mut self) {
        let producer = self.rng.random_range(1..4);
        let of: Vec<_> = self
            .written
            .iter()
            .rev()
            .filter(|batch| {
                batch.header().producer_id == producer
                    && batch.header().base_offset >= self.log_start
            })
            .take(5)
            .collect();
        if of.is_empty() {
            return;
        }
        let batch = of[self.rng.random_range(0..of.len())];
        let (base, sequence, count) = (
            batch.header().base_offset,
            batch.header().base_sequence,
            batch.header().record_count,
        );
        let repeated = self
            .handle()
            .appender()
            .append(idempotent(producer, 0, sequence, count), CLIENT, NOW)
            .unwrap();
        assert!(
            repeated.duplicate,
            "producer {producer} sequence {sequence}"
        );
        assert_eq!(repeated.base_offset, base);
    }

    fn reopen(&mut self, power_loss: bool, keeps_all: bool) {
        let before = self.handle.take().expect("open").offsets();
        self.epoch += 1;
        let role = Role::leader(self.epoch);
        let handle = match power_loss {
            true => {
                self.disk.power_loss(self.rng.next_u64());
                open_after_power_loss(&self.disk, role, settings())
            }
            false => open(&self.disk, role, settings()),
        };
        let after = handle.offsets();
        assert!(
            after.end >= before.high_watermark.max(self.seen),
            "lost below the high watermark: {before:?} became {after:?}"
        );
        assert!(
            !keeps_all || after.end == before.end,
            "a process may die, the page cache lives: {before:?} became {after:?}"
        );
        assert_eq!(after.high_watermark, after.end);
        self.written
            .retain(|batch| batch.header().base_offset < after.end);
        assert_eq!(self.end(), after.end, "whole batches");
        self.handle = Some(handle);
        self.check();
    }

    fn check(&self) {
        let handle = self.handle();
        let expected: Vec<_> = self
            .written
            .iter()
            .filter(|batch| batch.header().next_offset() > self.log_start)
            .cloned()
            .collect();
        let found = batches(&handle, self.log_start, Isolation::LogEnd);
        let places = |batches: &[BatchView]| {
            batches
                .iter()
                .map(|b| (b.header().leader_epoch.0, b.header().base_offset))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&found), places(&expected));
        assert!(found == expected, "the same bytes");
        let mut epochs: Vec<(BatchEpoch, Offset)> = Vec::new();
        for batch in &self.written {
            if epochs
                .last()
                .is_none_or(|(epoch, _)| *epoch < batch.header().leader_epoch)
            {
                epochs.push((batch.header().leader_epoch, batch.header().base_offset));
            }
        }
        let live: Vec<_> = epochs
            .iter()
            .skip(
                epochs
                    .iter()
                    .filter(|(_, start)| *start <= self.log_start)
                    .count()
                    .saturating_sub(1),
            )
            .collect();
        let found = handle.reader().epochs();
        assert_eq!(
            found.iter().map(|(epoch, _)| epoch).collect::<Vec<_>>(),
            live.iter().map(|(epoch, _)| epoch).collect::<Vec<_>>()
        );
        self.check_producers(&handle);
        self.check_transactions(&handle);
    }

    /// The last five batches of each producer that still has one in the log.
    fn check_producers(&self, handle: &Handle) {
        let known: BTreeMap<_, _> = handle.control().known_producers().into_iter().collect();
        for producer in 1..4 {
            let mut last: Vec<Offset> = self
                .written
                .iter()
                .filter(|b| b.header().producer_id == producer)
                .map(|b| b.header().base_offset)
                .collect();
            let all = last.split_off(last.len().saturating_sub(5));
            let remembered: Vec<_> = known
                .get(&producer)
                .map(|p| p.batches.iter().map(|b| b.base_offset).collect())
                .unwrap_or_default();
            assert!(
                all.ends_with(&remembered),
                "producer {producer}: {remembered:?} of {all:?}"
            );
            let needed = all.iter().filter(|base| **base >= self.log_start).count();
            assert!(
                remembered.len() >= needed,
                "producer {producer}: {remembered:?} of {all:?}"
            );
        }
    }

    fn check_transactions(&self, handle: &Handle) {
        let mut open: BTreeMap<ProducerId, Offset> = BTreeMap::new();
        let mut aborted = Vec::new();
        for batch in &self.written {
            let header = batch.header();
            match (header.is_transactional(), header.is_control()) {
                (true, false) => drop(open.entry(header.producer_id).or_insert(header.base_offset)),
                (_, true) => {
                    let first = open
                        .remove(&header.producer_id)
                        .expect("the model marks open ones only");
                    let key = gnomon_protocol::batch::records(batch, 1 << 10)
                        .unwrap()
                        .next()
                        .unwrap()
                        .unwrap();
                    if !gnomon_protocol::batch::parse_marker(&key).unwrap().commit
                        && header.base_offset >= self.log_start
                    {
                        aborted.push((header.producer_id, first));
                    }
                }
                (false, false) => {}
            }
        }
        let found: BTreeMap<_, _> = handle
            .control()
            .open_transactions()
            .into_iter()
            .map(|txn| (txn.producer_id, txn.first_offset))
            .collect();
        // What was trimmed away may be known from a snapshot or not.
        for (producer, first) in open.iter().filter(|(_, first)| **first >= self.log_start) {
            assert_eq!(found.get(producer), Some(first));
        }
        let mut at = self.log_start;
        let mut named = BTreeSet::new();
        while let Some(range) = handle
            .reader()
            .read(at, 1 << 20, Isolation::ReadCommitted, true)
            .map(|read| {
                named.extend(read.aborted.into_iter().flatten());
                read.range
            })
            .unwrap()
        {
            at = range.next_offset;
        }
        let lso = handle.offsets().last_stable;
        for (producer, first) in aborted {
            assert!(
                first >= lso || first < self.log_start || named.contains(&(producer, first)),
                "aborted {producer} since {first}: {named:?}"
            );
        }
    }
}

fn run(seed: u64, steps: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut model = PartitionModel::new(seed);
        for _ in 0..steps {
            model.step().await;
        }
    });
}

#[test]
fn a_partition_is_what_was_written_to_it() {
    let full = std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full");
    // Others by hand: GNOMON_SEEDS=17..18.
    let chosen = std::env::var("GNOMON_SEEDS")
        .unwrap_or_else(|_| if full { "0..10000" } else { "0..60" }.into());
    let bounds = chosen.split_once("..").expect("FIRST..BEHIND");
    let seeds = bounds.0.parse::<u64>().unwrap()..bounds.1.parse().unwrap();
    for seed in seeds {
        println!("seed {seed}");
        run(seed, 150);
    }
    println!("faults: lives of a partition {chosen}, with kills and power cuts");
}
