//! Bits flipped in any file of a site that was stopped: it starts with everything as it was, or
//! with a client's error where a record is lost, or it stops with a sentence that names the file.
//! `GNOMON_FAULTS=full` flips more.

use gnomon_client::{
    Client, Topics,
    admin::NewTopic,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetcher},
    groups::{CommittedOffset, GroupOffsets},
    produce::Acks,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView},
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use gnomon_storage::{Disk, OpenMode};
use gnomon_testkit::{MemDisk, Site};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::IoSlice,
    path::{Path, PathBuf},
};
use tokio::runtime::Runtime;

const TOPICS: [&str; 3] = ["orders", "bills", "empty"];
const GROUPS: [&str; 3] = ["readers", "writers", "others"];

/// The content of a site, as its clients see it.
#[derive(Debug, Default, PartialEq, Eq)]
struct SeenBytes {
    topics: BTreeSet<String>,
    /// Topic, base offset, and the batch to the last byte.
    batches: BTreeMap<(String, Offset), Vec<u8>>,
    committed: BTreeMap<String, Option<Offset>>,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Two lives of a site, so that epochs and snapshots have something to say.
async fn live(client: &Client, life: usize) {
    for name in TOPICS.iter().filter(|_| life == 0) {
        let topic = NewTopic {
            name: (*name).into(),
            partitions: 1,
            replication_factor: -1,
            configs: BTreeMap::new(),
        };
        assert_eq!(
            client
                .create_topics(&[topic], false)
                .await
                .expect("an answer")[0]
                .error,
            None
        );
    }
    let (producer, _) = client.init_producer_id().await.expect("a producer id");
    for n in 0..6 {
        for topic in &TOPICS[..2] {
            let builder = BatchBuilder::new(1_000).producer(producer, 0, n);
            let bytes = builder
                .record(
                    1_000,
                    Some(b"key"),
                    Some(format!("{topic} {life} {n}").as_bytes()),
                    &[],
                )
                .build()
                .expect("a batch");
            client
                .produce(&((*topic).to_owned(), 0), bytes, Acks::All)
                .await
                .expect("written");
        }
        for group in GROUPS {
            let commit = CommittedOffset {
                offset: (life * 10) as i64 + i64::from(n),
                leader_epoch: LeaderEpoch::NONE,
                metadata: None,
            };
            let offsets: GroupOffsets = BTreeMap::from([((TOPICS[0].to_owned(), 0), commit)]);
            assert!(
                client
                    .commit_offsets(group, &offsets)
                    .await
                    .expect("an answer")
                    .values()
                    .all(Option::is_none)
            );
        }
    }
}

/// Everything that can be read, and the topics of which something cannot.
async fn look(client: &Client) -> (SeenBytes, BTreeSet<String>) {
    let metadata = client.metadata(Topics::All, false).await.expect("metadata");
    let mut seen = SeenBytes {
        topics: metadata
            .topics
            .keys()
            .filter(|name| !name.starts_with("__"))
            .cloned()
            .collect(),
        ..SeenBytes::default()
    };
    let mut damaged = BTreeSet::new();
    for name in seen.topics.clone() {
        let topic = &metadata.topics[&name];
        let connection = client
            .dedicated(topic.partitions[&0].leader.expect("a leader"))
            .await
            .expect("a connection");
        let mut fetcher = Fetcher::new(connection, FetchOptions::default());
        let target = FetchTarget {
            topic: name.as_str().into(),
            topic_id: topic.id.expect("an id"),
            partition: 0,
        };
        let mut next = 0;
        loop {
            let position = FetchPosition {
                offset: next,
                current_leader_epoch: LeaderEpoch::NONE,
                last_fetched_epoch: BatchEpoch::NONE,
            };
            fetcher
                .send(&BTreeMap::from([(target.clone(), position)]))
                .await
                .expect("sent");
            let Some(fetched) = fetcher.receive().await.expect("an answer").pop() else {
                break;
            };
            if fetched.error == Some(ErrorCode::CorruptMessage.code()) {
                damaged.insert(name.clone());
                next += 1;
                continue;
            }
            assert_eq!(fetched.error, None, "{name} at {next}");
            let mut bytes = fetched.records;
            while let Some(batch) = BatchView::parse_first(&mut bytes).expect("a batch") {
                seen.batches.insert(
                    (name.clone(), batch.header().base_offset),
                    batch.bytes().to_vec(),
                );
                next = batch.header().next_offset();
            }
            if next >= fetched.high_watermark {
                break;
            }
        }
    }
    let names = GROUPS.map(str::to_owned);
    let fetched = client.fetch_group_offsets(&names).await.expect("an answer");
    for name in names {
        let offset = fetched[&name]
            .as_ref()
            .expect("offsets")
            .get(&(TOPICS[0].to_owned(), 0))
            .map(|commit| commit.offset);
        seen.committed.insert(name, offset);
    }
    (seen, damaged)
}

fn files(disk: &MemDisk, below: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for name in disk.list(below).expect("listed") {
        let path = below.join(name);
        match disk.read(&path) {
            Ok(bytes) => found.push((path, bytes)),
            Err(_) => files(disk, &path, found),
        }
    }
}

fn disk_of(files: &[(PathBuf, Vec<u8>)]) -> MemDisk {
    let disk = MemDisk::new();
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().expect("a folder"))
            .expect("made");
        disk.open(path, OpenMode::Create)
            .expect("made")
            .write_all_at(&mut [IoSlice::new(bytes)], 0)
            .expect("written");
    }
    disk
}

#[test]
fn a_flipped_bit_stops_the_start_with_a_sentence_or_changes_nothing_unsaid() {
    let runtime = runtime();
    let disk = MemDisk::new();
    for life in 0..2 {
        let site = Site::start(&disk).expect("a site");
        runtime.block_on(live(&site.client(), life));
        site.stop();
    }
    let site = Site::start(&disk).expect("a site");
    let (whole, damaged) = runtime.block_on(look(&site.client()));
    assert_eq!(
        (whole.topics.len(), whole.batches.len(), damaged.len()),
        (3, 24, 0)
    );
    assert!(
        whole.committed.values().all(|offset| *offset == Some(15)),
        "{whole:?}"
    );
    site.stop();
    let mut pristine = Vec::new();
    files(&disk, Path::new("/data"), &mut pristine);
    pristine.retain(|(_, bytes)| !bytes.is_empty());

    let rounds = if std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full") {
        1_000
    } else {
        60
    };
    let mut random = StdRng::seed_from_u64(815);
    let mut stopped = 0;
    for round in 0..rounds {
        let mut flipped = pristine.clone();
        let (path, bytes) = &mut flipped[random.random_range(0..pristine.len())];
        let bit = random.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (path, what) = (
            path.clone(),
            format!("round {round}: bit {bit} of {}", path.display()),
        );
        let disk = disk_of(&flipped);
        match Site::start(&disk) {
            Ok(site) => {
                let (seen, damaged) = runtime.block_on(look(&site.client()));
                assert_eq!(
                    (&seen.topics, &seen.committed),
                    (&whole.topics, &whole.committed),
                    "{what}"
                );
                for (place, bytes) in &seen.batches {
                    assert!(
                        whole.batches.get(place) == Some(bytes),
                        "{what}: other bytes at {place:?}"
                    );
                }
                let lost = whole.batches.len() - seen.batches.len();
                let is_log = path.extension().is_some_and(|extension| extension == "log");
                assert!(
                    if is_log { lost <= 1 } else { lost == 0 },
                    "{what}: {lost} batches are gone"
                );
                assert_eq!(lost, damaged.len(), "{what}: what is gone is said");
                site.stop();
            }
            Err(error) => {
                stopped += 1;
                let sentence = error.to_string();
                assert!(
                    sentence.contains(&path.display().to_string()),
                    "{what}: {sentence}"
                );
            }
        }
    }
    assert!(stopped > 0, "metadata was never hit");
    println!("faults: flipped bits in a site's files: {rounds}");
}
