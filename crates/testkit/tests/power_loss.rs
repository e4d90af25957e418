//! Power loss over a whole broker on a simulated disk: metadata, records, commits and producer state.
//!
//! In each round clients write with acks=all and acks=1, read, commit, make topics and idempotent producers; then the power goes at a random moment, and
//! the site comes back on what is left. Nothing acknowledged with acks=all is lost, nothing that a consumer saw, no commit, no topic; and no offset is
//! used again under the same epoch. The planted faults prove that the test would see it.

mod common;

use common::*;
use gnomon_client::{
    Client, Topics,
    groups::{CommittedOffset, GroupOffsets},
    produce::Acks,
};
use gnomon_protocol::ids::{LeaderEpoch, Offset};
use gnomon_testkit::{Acked, History, MemDisk, Site, Violation};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;

const TOPIC: &str = "orders";
const GROUP: &str = "readers";

/// What clients were told over all rounds.
#[derive(Default)]
struct Told {
    history: History,
    committed: Option<Offset>,
    topics: Vec<String>,
    /// Producer id, next sequence, the last acknowledged batch and its offset.
    producer: Option<(i64, i32, bytes::Bytes, Offset)>,
    written: u64,
}

/// One life of the site: everything that clients are told goes into `told`.
async fn live(client: &Client, told: &mut Told, random: &mut StdRng) {
    let epoch = epoch(client, TOPIC).await;
    for _ in 0..random.random_range(3..12) {
        match random.random_range(0..7) {
            0..=2 => write(client, told, random, epoch).await,
            3 => write_idempotent(client, told, epoch).await,
            4 => {
                for (offset, _, value) in read(client, TOPIC).await {
                    told.history.saw(offset, &value);
                }
            }
            5 => {
                let offset = random.random_range(0..1_000);
                let commit = CommittedOffset { offset, leader_epoch: LeaderEpoch::NONE, metadata: None };
                let offsets: GroupOffsets = BTreeMap::from([((TOPIC.to_owned(), 0), commit)]);
                let answer = client.commit_offsets(GROUP, &offsets).await.expect("an answer");
                assert!(answer.values().all(Option::is_none), "{answer:?}");
                told.committed = Some(offset);
            }
            _ => {
                let name = format!("topic-{}", told.topics.len());
                make_topic(client, &name).await;
                told.topics.push(name);
            }
        }
    }
}

async fn write(client: &Client, told: &mut Told, random: &mut StdRng, epoch: i32) {
    let values: Vec<String> = (0..random.random_range(1..4)).map(|index| format!("{}-{index}", told.written)).collect();
    told.written += 1;
    let durable = random.random_bool(0.5);
    let acks = if durable { Acks::All } else { Acks::Leader };
    let produced = client.produce(&(TOPIC.to_owned(), 0), batch(&values, None), acks).await.expect("written");
    for (value, offset) in values.into_iter().zip(produced.base_offset..) {
        told.history.acked(Acked { offset, epoch, value, durable });
    }
}

async fn write_idempotent(client: &Client, told: &mut Told, epoch: i32) {
    let (id, sequence) = match &told.producer {
        Some((id, sequence, ..)) => (*id, *sequence),
        None => (client.init_producer_id().await.expect("a producer id").0, 0),
    };
    let value = format!("idempotent-{}", told.written);
    told.written += 1;
    let bytes = batch(std::slice::from_ref(&value), Some((id, sequence)));
    let offset = client.produce(&(TOPIC.to_owned(), 0), bytes.clone(), Acks::All).await.expect("written").base_offset;
    told.history.acked(Acked { offset, epoch, value, durable: true });
    told.producer = Some((id, sequence + 1, bytes, offset));
}

/// After a restart: everything promised is there.
async fn check(client: &Client, told: &Told) -> Vec<String> {
    let metadata = client.metadata(Topics::All, false).await.expect("metadata");
    let mut wrong: Vec<String> =
        told.topics.iter().filter(|name| !metadata.topics.contains_key(*name)).map(|name| format!("topic {name} is gone")).collect();
    if !metadata.topics.contains_key(TOPIC) {
        wrong.push(format!("topic {TOPIC} is gone"));
        return wrong;
    }
    wrong.extend(told.history.check(&read(client, TOPIC).await).iter().map(|violation: &Violation| format!("{violation:?}")));
    if let Some(promised) = told.committed {
        let fetched = client.fetch_group_offsets(&[GROUP.to_owned()]).await.expect("an answer");
        let found = fetched[GROUP].as_ref().expect("offsets").get(&(TOPIC.to_owned(), 0)).map(|commit| commit.offset);
        if found != Some(promised) {
            wrong.push(format!("the commit of {promised} reads {found:?}"));
        }
    }
    if let Some((_, _, bytes, offset)) = &told.producer {
        match client.produce(&(TOPIC.to_owned(), 0), bytes.clone(), Acks::All).await {
            Ok(again) if again.base_offset == *offset => {}
            other => wrong.push(format!("the repeat of the batch at {offset} was answered {other:?}")),
        }
    }
    wrong
}

/// Several lives on one disk, each ended by a power loss; what is wrong after any of them.
fn lives(seed: u64) -> Vec<String> {
    let disk = MemDisk::new();
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = Told::default();
    let runtime = runtime();
    for life in 0..5 {
        let site = match Site::start(&disk) {
            Ok(site) => site,
            Err(error) => return vec![format!("seed {seed}, life {life}: the site does not start: {error}")],
        };
        let client = site.client();
        let wrong = runtime.block_on(async {
            if life == 0 {
                make_topic(&client, TOPIC).await;
            }
            let wrong = check(&client, &told).await;
            if wrong.is_empty() {
                live(&client, &mut told, &mut random).await;
            }
            wrong
        });
        if !wrong.is_empty() {
            return wrong.into_iter().map(|wrong| format!("seed {seed}, life {life}: {wrong}")).collect();
        }
        site.lose_power(random.random());
    }
    Vec::new()
}

/// Seeds of the ordinary run; `GNOMON_POWER_LOSS_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("GNOMON_POWER_LOSS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

#[test]
fn power_loss_takes_nothing_that_was_promised() {
    let _no_faults = fail::FailScenario::setup();
    for seed in 0..seeds() {
        let wrong = lives(seed);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A planted fault must be found within these seeds.
const PLANTED_SEEDS: u64 = 40;

fn planted(fault: &str) {
    let scenario = fail::FailScenario::setup();
    fail::cfg(fault, "return").expect("a failpoint");
    let found = (0..PLANTED_SEEDS).map(lives).find(|wrong| !wrong.is_empty());
    scenario.teardown();
    let found = found.unwrap_or_else(|| panic!("{fault} was not found within {PLANTED_SEEDS} seeds"));
    println!("{fault}: {}", found[0]);
}

#[test]
fn power_loss_test_sees_a_skipped_fsync() {
    planted("skip_fsync");
}

#[test]
fn power_loss_test_sees_an_answer_before_the_flush() {
    planted("ack_before_flush");
}

#[test]
fn power_loss_test_sees_records_that_were_shown_before_the_flush() {
    planted("visible_before_flush");
}

#[test]
fn power_loss_test_sees_a_commit_that_is_not_written() {
    planted("lose_group_commit");
}

#[test]
fn power_loss_test_sees_an_epoch_used_again() {
    planted("same_epoch_after_restart");
}
