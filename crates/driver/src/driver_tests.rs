//! The driver over a real partition on a simulated disk: snapshots, markers, replies at the
//! watermark, what a crash leaves.

use super::*;
use crate::{PartitionJournal, WallClock, read_durable, replay::Marker};
use bytes::Bytes;
use gnomon_machine::{Now, UnreadableRecord};
use gnomon_partition::{Blocking, Env, Flusher, Handle, PartitionId, Role, Settings, Writers};
use gnomon_protocol::ids::Uuid;
use gnomon_storage::{Boot, Disk, LogOptions, MemDisk};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// A map from key to value: the smallest machine with a state.
pub(super) struct Shelf;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Put(pub String, pub Bytes);

impl DurableRecord for Put {
    fn encode(&self) -> EncodedRecord {
        EncodedRecord {
            key: Some(Bytes::from(self.0.clone())),
            value: Some(self.1.clone()),
        }
    }

    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Put, UnreadableRecord> {
        let (key, value) = (key.expect("a key"), value.expect("a value"));
        Ok(Put(
            String::from_utf8(key.to_vec()).expect("text"),
            Bytes::copy_from_slice(value),
        ))
    }
}

impl Machine for Shelf {
    type Durable = BTreeMap<String, Bytes>;
    type Soft = ();
    type Event = Option<Put>;
    type Record = Put;
    type Reply = usize;
    type Action = std::convert::Infallible;

    fn step(
        durable: &Self::Durable,
        (): &mut (),
        _: Now,
        event: Option<Put>,
        token: ReplyToken,
    ) -> Effects<Shelf> {
        let count = durable.len()
            + event
                .as_ref()
                .map_or(0, |put| usize::from(!durable.contains_key(&put.0)));
        Effects {
            records: event.into_iter().collect(),
            ..Effects::reply(token, count)
        }
    }

    fn tick(_: &Self::Durable, (): &mut (), _: Now) -> Effects<Shelf> {
        Effects::none()
    }

    fn replay(durable: &mut Self::Durable, Put(key, value): &Put) {
        durable.insert(key.clone(), value.clone());
    }

    fn led(_: &Self::Durable, (): &mut (), _: Now) -> Effects<Shelf> {
        Effects::none()
    }

    fn resigned((): &mut ()) -> Vec<(ReplyToken, usize)> {
        Vec::new()
    }

    fn snapshot(durable: &Self::Durable) -> Vec<Put> {
        durable
            .iter()
            .map(|(key, value)| Put(key.clone(), value.clone()))
            .collect()
    }

    fn deadline((): &()) -> Option<Mono> {
        None
    }
}

/// Remembers what was published, by how many keys there were.
#[derive(Clone, Default)]
pub(super) struct Readers(pub Arc<Mutex<Vec<usize>>>);

impl Owner<Shelf> for Readers {
    type Snapshot = usize;

    fn new_soft(&self) {}

    fn capture(&self, durable: &BTreeMap<String, Bytes>) -> usize {
        durable.len()
    }

    fn publish(&self, snapshot: usize) {
        self.0.lock().expect("not poisoned").push(snapshot);
    }

    fn act(&self, action: std::convert::Infallible) {
        match action {}
    }

    fn lost(&self, error: JournalError) {
        panic!("lost: {error}");
    }
}

pub(super) fn open(disk: &MemDisk, boot: Boot) -> Handle {
    let env = Env {
        disk: Arc::new(disk.clone()),
        flusher: Flusher::start(Blocking::Pool { threads: 1 }).expect("a flusher"),
        boot,
        troubles: Default::default(),
        reserved: Default::default(),
    };
    let id = PartitionId {
        topic_id: Uuid::from_u128(7),
        index: 0,
    };
    Handle::open(
        &env,
        PathBuf::from("/log"),
        id,
        Role {
            writers: Writers::Site,
            ..Role::leader(1)
        },
        settings(),
    )
    .expect("a partition")
}

pub(super) fn settings() -> Settings {
    let log = LogOptions {
        segment_bytes: 1 << 20,
        ..LogOptions::default()
    };
    Settings {
        log,
        message_bytes_max: i32::MAX,
        ..Settings::named("__shelf")
    }
}

fn journal(disk: &MemDisk, boot: Boot) -> PartitionJournal {
    PartitionJournal::new("__shelf".into(), open(disk, boot), None)
}

fn rebuild(disk: &MemDisk, boot: Boot) -> Driver<Shelf, PartitionJournal, Readers> {
    Driver::rebuild(
        journal(disk, boot),
        Readers::default(),
        Clock::start(WallClock::System),
    )
    .expect("rebuilt")
}

pub(super) fn large(key: usize, round: usize) -> Put {
    Put(
        format!("key-{key}"),
        Bytes::from(vec![round as u8; 100 << 10]),
    )
}

#[tokio::test]
async fn a_long_log_is_rewritten_and_reads_the_same() {
    let disk = MemDisk::new();
    let machine = rebuild(&disk, Boot::Same);
    let (submit, run) = machine.start(Leadership::always());
    let running = tokio::spawn(run);
    for round in 0..40 {
        for key in 0..5 {
            assert!(
                submit
                    .submit(Some(large(key, round)))
                    .await
                    .expect("an answer")
                    <= 5
            );
        }
    }
    drop(submit);
    running.await.expect("a clean end");
    // 200 records of 100 KiB were written; the state is five of them.
    let log = journal(&disk, Boot::Same);
    assert!(log.bytes() < 8 << 20, "the log has {} bytes", log.bytes());
    let durable = read_durable::<Shelf>(&log).expect("readable");
    assert_eq!(durable.len(), 5);
    assert!(durable.values().all(|value| value[0] == 39));
}

#[tokio::test]
async fn a_snapshot_that_was_not_finished_counts_for_nothing() {
    let disk = MemDisk::new();
    let mut log = journal(&disk, Boot::Same);
    log.append(&[large(0, 1).encode(), large(1, 1).encode()], 0)
        .expect("appended");
    log.append(&[Marker::Begin.encode(), large(0, 9).encode()], 0)
        .expect("appended");
    drop(log);
    let machine = rebuild(&disk, Boot::Same);
    let expected = BTreeMap::from([
        ("key-0".to_owned(), large(0, 1).1),
        ("key-1".to_owned(), large(1, 1).1),
    ]);
    assert_eq!(machine.durable(), &expected);
    let (submit, run) = machine.start(Leadership::always());
    let running = tokio::spawn(run);
    submit.submit(Some(large(2, 2))).await.expect("an answer");
    drop(submit);
    running.await.expect("a clean end");
    let durable = read_durable::<Shelf>(&journal(&disk, Boot::Same)).expect("readable");
    assert_eq!(
        (durable.len(), durable["key-0"][0]),
        (3, 1),
        "what follows the unfinished snapshot counts"
    );
}

#[tokio::test]
async fn a_finished_snapshot_replaces_what_stood_before() {
    let disk = MemDisk::new();
    let mut log = journal(&disk, Boot::Same);
    log.append(&[large(0, 1).encode(), large(1, 1).encode()], 0)
        .expect("appended");
    log.append(&[Marker::Begin.encode(), large(5, 5).encode()], 0)
        .expect("appended");
    log.append(&[large(6, 6).encode(), Marker::End.encode()], 0)
        .expect("appended");
    log.append(&[large(7, 7).encode()], 0).expect("appended");
    drop(log);
    let keys: Vec<String> = rebuild(&disk, Boot::Same)
        .durable()
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["key-5", "key-6", "key-7"]);
}

#[tokio::test]
async fn what_was_answered_survives_power_loss_and_is_published_in_order() {
    for seed in 0..20 {
        let disk = MemDisk::new();
        disk.create_dir_all(&PathBuf::from("/log")).expect("made");
        disk.sync_dir(&PathBuf::from("/")).expect("synced");
        let readers = Readers::default();
        let machine = Driver::<Shelf, _, _>::rebuild(
            journal(&disk, Boot::Same),
            readers.clone(),
            Clock::start(WallClock::System),
        )
        .expect("rebuilt");
        let (submit, run) = machine.start(Leadership::always());
        tokio::spawn(run);
        let mut answered = 0;
        for key in 0..4 {
            answered = submit
                .submit(Some(Put(
                    format!("key-{key}"),
                    Bytes::from_static(b"value"),
                )))
                .await
                .expect("an answer");
        }
        // One more, whose answer nobody waits for.
        submit
            .send_without_reply(Some(Put("late".into(), Bytes::new())))
            .await;
        disk.power_loss(seed);
        let published = readers.0.lock().expect("not poisoned").clone();
        assert!(
            published.is_sorted() && published.contains(&answered),
            "{published:?}"
        );
        let durable = read_durable::<Shelf>(&journal(&disk, Boot::Other)).expect("readable");
        assert!(
            (0..4).all(|key| durable.contains_key(&format!("key-{key}"))),
            "seed {seed}: {durable:?}"
        );
    }
}

/// Two brokers over one replicated log: the follower refuses events and sees what the leader
/// committed; when the roles turn, the new leader goes on from there.
#[tokio::test]
async fn a_follower_sees_what_is_committed_and_can_take_the_lead() {
    let disk = MemDisk::new();
    let handle = open(&disk, Boot::Same);
    let (lead_one, one_leads) = tokio::sync::watch::channel(true);
    let (lead_two, two_leads) = tokio::sync::watch::channel(false);
    let drive = |leads| {
        let readers = Readers::default();
        let driver = Driver::<Shelf, _, _>::rebuild(
            PartitionJournal::new("__shelf".into(), handle.clone(), None),
            readers.clone(),
            Clock::start(WallClock::System),
        )
        .expect("rebuilt");
        let (submit, run) = driver.start(Leadership::decided_by(leads));
        tokio::spawn(run);
        (submit, readers)
    };
    let ((one, _), (two, seen_by_two)) = (drive(one_leads), drive(two_leads));
    assert_eq!(one.submit(Some(large(0, 1))).await, Ok(1));
    assert_eq!(two.submit(Some(large(1, 1))).await, Err(NoReply::NotLeader));
    while seen_by_two.0.lock().expect("not poisoned").last() != Some(&1) {
        tokio::task::yield_now().await;
    }
    lead_one.send(false).expect("driver one runs");
    while one.submit(None).await != Err(NoReply::NotLeader) {
        tokio::task::yield_now().await;
    }
    lead_two.send(true).expect("driver two runs");
    let count = loop {
        match two.submit(Some(large(1, 2))).await {
            Ok(count) => break count,
            Err(refused) => assert_eq!(refused, NoReply::NotLeader),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(count, 2);
}
