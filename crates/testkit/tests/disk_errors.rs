//! A whole site whose disk fails, is full, or hangs: what clients are told meanwhile, and what is
//! there when it works again.
//!
//! Clients try again whatever they are told to try again, as real ones do. In the long run each
//! call to the disk fails in turn (`GNOMON_FAULTS=full`; else a sample of them).

mod common;

use common::*;
use gnomon_client::{
    Client, ClientError, Topics,
    groups::{CommittedOffset, GroupOffsets},
    produce::Acks,
};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{LeaderEpoch, Offset},
};
use gnomon_storage::disk::Fault;
use gnomon_testkit::{Acked, History, MemDisk, Site};
use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::sleep;

const TOPIC: &str = "orders";
const OTHER: &str = "others";
const GROUP: &str = "readers";

fn code(error: &ClientError) -> Option<ErrorCode> {
    error.code().and_then(ErrorCode::from_code)
}

/// Whether clients take an error for passing trouble.
fn passes(error: &ClientError) -> bool {
    error.is_connection()
        || matches!(
            code(error),
            Some(
                ErrorCode::KafkaStorageError
                    | ErrorCode::NotCoordinator
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotController
                    | ErrorCode::LeaderNotAvailable
            )
        )
}

/// Tries until it is done; what is no passing trouble is a failure of the test.
async fn until_done<T, F: Future<Output = Result<T, ClientError>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    for _ in 0..2_000 {
        match attempt().await {
            Ok(done) => return done,
            Err(error) if passes(&error) => sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    panic!("{what}: never done");
}

async fn produce(client: &Client, topic: &str, value: &str) -> Result<Offset, ClientError> {
    let produced = client
        .produce(
            &(topic.to_owned(), 0),
            batch(&[value.to_owned()], None),
            Acks::All,
        )
        .await;
    produced.map(|produced| produced.base_offset)
}

async fn commit(client: &Client, offset: Offset) -> Result<(), ClientError> {
    let commit = CommittedOffset {
        offset,
        leader_epoch: LeaderEpoch::NONE,
        metadata: None,
    };
    let offsets: GroupOffsets = BTreeMap::from([((TOPIC.to_owned(), 0), commit)]);
    match client
        .commit_offsets(GROUP, &offsets)
        .await?
        .into_values()
        .next()
        .flatten()
    {
        Some(code) => Err(ClientError::Refused {
            api: "OffsetCommit",
            subject: GROUP.into(),
            code,
            message: String::new(),
        }),
        None => Ok(()),
    }
}

async fn committed(client: &Client) -> Option<Offset> {
    let fetched = client
        .fetch_group_offsets(&[GROUP.to_owned()])
        .await
        .expect("an answer");
    fetched[GROUP]
        .as_ref()
        .expect("offsets")
        .get(&(TOPIC.to_owned(), 0))
        .map(|commit| commit.offset)
}

async fn create(client: &Client, name: &str) -> Result<(), ClientError> {
    match client
        .create_topics(&[new_topic(name, 1)], false)
        .await?
        .pop()
        .expect("an outcome")
        .error
    {
        Some((code, message))
            if ErrorCode::from_code(code) != Some(ErrorCode::TopicAlreadyExists) =>
        {
            Err(ClientError::Refused {
                api: "CreateTopics",
                subject: name.into(),
                code,
                message,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Commits, makes and deletes topics until neither is recorded any more; how often both were.
async fn use_up_reserves(client: &Client, offset: Offset) -> u32 {
    let mut commits = 0;
    while commit(client, offset).await.is_ok() {
        commits += 1;
    }
    let mut changes = 0;
    while create(client, "short-lived").await.is_ok() {
        changes += 1;
        let deleted = client
            .delete_topics(&["short-lived".to_owned()])
            .await
            .expect("an answer");
        if deleted[0].error.is_some() {
            break;
        }
    }
    commits.min(changes)
}

fn values(read: &[(Offset, i32, String)]) -> Vec<&str> {
    read.iter().map(|(_, _, value)| value.as_str()).collect()
}

#[test]
fn a_full_disk_refuses_writes_everything_else_goes_on_and_it_heals() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        for topic in [TOPIC, OTHER] {
            make_topic(&client, topic).await;
            produce(&client, topic, "before").await.expect("written");
        }
        commit(&client, 1).await.expect("committed");
        let before = epoch(&client, TOPIC).await;
        for round in 0..2 {
            disk.set_full(true);
            let refused = produce(&client, TOPIC, "refused")
                .await
                .expect_err("no room");
            assert_eq!(code(&refused), Some(ErrorCode::KafkaStorageError));
            assert!(refused.to_string().contains("writing failed"), "{refused}");
            assert!(
                use_up_reserves(&client, 1 + round as Offset).await > 25,
                "commits and deletions go on for long"
            );
            let refused = commit(&client, 2).await.expect_err("no room");
            assert_eq!(code(&refused), Some(ErrorCode::NotCoordinator));
            let refused = create(&client, "new").await.expect_err("no room");
            assert_eq!(code(&refused), Some(ErrorCode::KafkaStorageError));
            assert!(
                refused.to_string().contains("nothing can be recorded now"),
                "{refused}"
            );

            let written = 1 + round;
            assert_eq!(read(&client, TOPIC).await.len(), written, "reads go on");
            assert_eq!(
                committed(&client).await,
                Some(1 + round as Offset),
                "group reads go on"
            );
            assert!(
                client
                    .list_groups()
                    .await
                    .expect("an answer")
                    .contains_key(GROUP)
            );
            let metadata = client.metadata(Topics::All, false).await.expect("metadata");
            assert!(!metadata.topics.contains_key("new"));
            assert!(metadata.topics.contains_key(TOPIC));

            disk.set_full(false);
            assert_eq!(
                produce(&client, TOPIC, &format!("after {round}"))
                    .await
                    .expect("written"),
                written as Offset
            );
            commit(&client, 2 + round as Offset)
                .await
                .expect("committed");
            // What is recorded now takes up the reserve again.
            create(&client, &format!("made-{round}"))
                .await
                .expect("made");
        }
        assert_eq!(
            epoch(&client, TOPIC).await,
            before,
            "nothing was taken back"
        );
    });
    assert_eq!(site.failure(), None);
    site.stop();
}

#[test]
fn a_failed_sync_closes_one_partition_until_it_is_opened_again() {
    for forgetful in [false, true] {
        let disk = MemDisk::new();
        disk.set_forgetful(forgetful);
        let site = Site::start(&disk).expect("a site");
        let client = site.client();
        let epochs = runtime().block_on(async {
            for topic in [TOPIC, OTHER] {
                make_topic(&client, topic).await;
                produce(&client, topic, "before").await.expect("written");
            }
            let before = epoch(&client, TOPIC).await;
            disk.fail_next(Fault::Sync);
            let lost = produce(&client, TOPIC, "in doubt")
                .await
                .expect_err("not on the disk");
            assert_eq!(code(&lost), Some(ErrorCode::KafkaStorageError));
            let read_at_once = read(&client, TOPIC).await;
            let seen = values(&read_at_once);
            // It may have been opened again already, under a raised epoch, with what the disk
            // turned out to have.
            let again = epoch(&client, TOPIC).await > before && !forgetful;
            assert!(
                seen == ["before"] || again && seen == ["before", "in doubt"],
                "seen by nobody: {read_at_once:?}"
            );
            produce(&client, OTHER, "at once")
                .await
                .expect("another partition is not touched");
            let at = until_done("produce", || produce(&client, TOPIC, "after")).await;
            assert_eq!(at, if forgetful { 1 } else { 2 });
            let expected: &[&str] = if forgetful {
                &["before", "after"]
            } else {
                &["before", "in doubt", "after"]
            };
            assert_eq!(values(&read(&client, TOPIC).await), expected);
            (before, epoch(&client, TOPIC).await)
        });
        assert_eq!(epochs.1, epochs.0 + 1, "offsets may have been taken back");
        assert_eq!(site.failure(), None);
        site.lose_power(5);
        let site = Site::start(&disk).expect("a site");
        let found = runtime().block_on(async { read(&site.client(), TOPIC).await });
        assert_eq!(
            found.last().map(|(_, _, value)| value.as_str()),
            Some("after")
        );
    }
}

/// Nothing is written for the sake of a closed partition, to the metadata log above all, before its
/// disk takes something again.
#[test]
fn a_disk_that_takes_nothing_costs_no_more_than_what_was_written_to_it() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        make_topic(&client, TOPIC).await;
        produce(&client, TOPIC, "before").await.expect("written");
        disk.fail_calls(disk.calls()..u64::MAX);
        for _ in 0..2 {
            let refused = produce(&client, TOPIC, "refused")
                .await
                .expect_err("broken");
            assert_eq!(code(&refused), Some(ErrorCode::KafkaStorageError));
            // Long enough for attempts to open it again.
            let calls = disk.calls();
            while disk.calls() < calls + 2 {
                assert_eq!(site.failure(), None);
                sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(values(&read(&client, TOPIC).await), ["before"]);
            assert_eq!(site.failure(), None);
        }
        disk.heal();
        until_done("produce", || produce(&client, TOPIC, "after")).await;
        assert_eq!(site.failure(), None);
    });
    site.stop();
}

#[test]
fn a_group_whose_log_is_lost_is_rebuilt_in_place() {
    for forgetful in [false, true] {
        let disk = MemDisk::new();
        disk.set_forgetful(forgetful);
        let site = Site::start(&disk).expect("a site");
        let client = site.client();
        runtime().block_on(async {
            make_topic(&client, TOPIC).await;
            commit(&client, 7).await.expect("committed");
            disk.fail_next(Fault::Sync);
            let lost = commit(&client, 8).await.expect_err("not on the disk");
            assert_eq!(code(&lost), Some(ErrorCode::NotCoordinator));
            until_done("commit", || commit(&client, 9)).await;
            assert_eq!(committed(&client).await, Some(9));
        });
        assert_eq!(site.failure(), None);
        site.lose_power(3);
        let site = Site::start(&disk).expect("a site");
        assert_eq!(runtime().block_on(committed(&site.client())), Some(9));
    }
}

#[test]
fn a_lost_metadata_log_ends_the_process_with_a_sentence_and_a_start_recovers() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        make_topic(&client, TOPIC).await;
        disk.fail_next(Fault::Sync);
        create(&client, OTHER).await.expect_err("not recorded");
        while site.failure().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    let why = site.failure().expect("a sentence");
    assert!(
        why.contains("__cluster_metadata was lost") && why.contains("Start the site again"),
        "{why}"
    );
    site.kill();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        let metadata = client.metadata(Topics::All, false).await.expect("metadata");
        assert!(metadata.topics.contains_key(TOPIC));
        until_done("create", || create(&client, OTHER)).await;
    });
}

#[test]
fn a_sync_that_hangs_holds_up_its_own_partition_only() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for topic in [TOPIC, OTHER] {
            make_topic(&client, topic).await;
            produce(&client, topic, "before").await.expect("written");
        }
        let metadata = client.metadata(Topics::All, false).await.expect("metadata");
        let id = metadata.topics[TOPIC].id.expect("an id");
        disk.hold_syncs(Some(PathBuf::from(format!(
            "/data/partitions/{}-0",
            id.simple()
        ))));
        let held = tokio::spawn({
            let client = site.client();
            async move { produce(&client, TOPIC, "held").await }
        });
        for round in 0..20 {
            produce(&client, OTHER, &format!("{round}"))
                .await
                .expect("written");
            commit(&client, round).await.expect("committed");
            assert_eq!(values(&read(&client, TOPIC).await), ["before"]);
        }
        create(&client, "new").await.expect("made");
        assert!(!held.is_finished());
        disk.hold_syncs(None);
        assert_eq!(held.await.expect("no panic").expect("written"), 1);
    });
    site.stop();
}

/// The answers that clients got over the lives of a site.
#[derive(Default)]
struct ObservedOutcome {
    history: History,
    committed: Option<Offset>,
    topics: Vec<String>,
    producer: Option<i64>,
    tries: u64,
    /// Rounds that are done: the next sequence of the producer, too.
    rounds: i32,
}

const ROUNDS: i32 = 7;

/// Writes, commits and makes topics until everything is done. False: the site can go on no longer.
async fn live(site: &Site, told: &mut ObservedOutcome) -> bool {
    let client = site.client();
    while told.rounds < ROUNDS {
        if !round(site, &client, told).await {
            return false;
        }
    }
    true
}

async fn round(site: &Site, client: &Client, told: &mut ObservedOutcome) -> bool {
    let round = told.rounds;
    macro_rules! until {
        ($attempt:expr) => {
            loop {
                match $attempt.await {
                    Ok(done) => break done,
                    Err(error) if passes(&error) => sleep(Duration::from_millis(10)).await,
                    Err(error) => panic!("round {round}: {error}"),
                }
                if site.failure().is_some() {
                    return false;
                }
            }
        };
    }
    if round == 0 {
        until!(create(client, TOPIC));
    }
    if told.producer.is_none() {
        told.producer = Some(until!(client.init_producer_id()).0);
    }
    let to = (TOPIC.to_owned(), 0);
    let epoch = epoch(client, TOPIC).await;
    let value = format!("value {round}");
    let bytes = batch(
        std::slice::from_ref(&value),
        told.producer.map(|id| (id, told.rounds)),
    );
    let offset = until!(client.produce(&to, bytes.clone(), Acks::All)).base_offset;
    told.history.acked(Acked {
        offset,
        epoch,
        value,
        durable: true,
    });
    told.tries += 1;
    let value = format!("leader only {}", told.tries);
    if let Ok(produced) = client
        .produce(&to, batch(std::slice::from_ref(&value), None), Acks::Leader)
        .await
    {
        told.history.acked(Acked {
            offset: produced.base_offset,
            epoch,
            value,
            durable: false,
        });
    }
    for (offset, _, value) in read(client, TOPIC).await {
        told.history.saw(offset, &value);
    }
    if round % 2 == 0 {
        until!(commit(client, round.into()));
        told.committed = Some(round.into());
    }
    if round % 3 == 0 {
        let name = format!("topic-{round}");
        until!(create(client, &name));
        told.topics.push(name);
    }
    told.rounds += 1;
    true
}

/// Compares the log with the answers that clients got.
async fn check(client: &Client, told: &ObservedOutcome) {
    let metadata = client.metadata(Topics::All, false).await.expect("metadata");
    for name in &told.topics {
        assert!(metadata.topics.contains_key(name), "topic {name} is gone");
    }
    if metadata.topics.contains_key(TOPIC) {
        assert_eq!(told.history.check(&read(client, TOPIC).await), []);
        assert_eq!(committed(client).await, told.committed);
    }
}

/// One site, one call to the disk fails; then the power goes. Returns how many calls there were.
fn whole_life(at: u64, forgetful: bool) -> u64 {
    let disk = MemDisk::new();
    disk.set_forgetful(forgetful);
    disk.fail_calls(at..at.saturating_add(1));
    let mut told = ObservedOutcome::default();
    let start = || loop {
        match Site::start(&disk) {
            Ok(site) => break site,
            Err(error) => println!("call {at}: {error}"),
        }
    };
    let mut site = start();
    let runtime = runtime();
    while !runtime.block_on(live(&site, &mut told)) {
        // A process would have ended with a sentence.
        site.kill();
        site = start();
    }
    let calls = disk.calls();
    runtime.block_on(check(&site.client(), &told));
    site.lose_power(at);
    let site = start();
    runtime.block_on(check(&site.client(), &told));
    calls
}

/// Lives at one time: they wait for their clients most of the time.
const AT_ONCE: usize = 6;

#[test]
fn whichever_call_fails_nothing_acknowledged_is_lost() {
    let calls = whole_life(u64::MAX, false);
    let stride = if std::env::var("GNOMON_FAULTS").is_ok_and(|runs| runs == "full") {
        1
    } else {
        5
    };
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(stride, Ordering::Relaxed);
                    if at >= calls {
                        return;
                    }
                    for forgetful in [false, true] {
                        let outcome = std::panic::catch_unwind(|| whole_life(at, forgetful));
                        assert!(
                            outcome.is_ok(),
                            "call {at}, forgetful {forgetful}: see above"
                        );
                    }
                }
            });
        }
    });
    println!("faults: calls that failed: one in {stride} of {calls}");
}
