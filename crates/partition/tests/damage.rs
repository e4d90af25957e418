//! Bits flipped in any file of a partition: what is served is what was written, what is lost is
//! said, producers are what the batches make.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{AppendError, Handle, Isolation, ReadError, Role, inspect};
use gnomon_protocol::{
    batch::BatchView,
    ids::{Offset, ProducerId},
};
use gnomon_storage::{Disk, MemDisk, OpenMode, read_checkpoint};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io::IoSlice,
    path::{Path, PathBuf},
};

/// Whether the whole of the cases is asked for (`cargo xtask faults`).
fn full() -> bool {
    std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full")
}

/// A partition of several segments and epochs, with producers, an open transaction and an aborted
/// one; stopped cleanly, or left behind.
async fn written(clean: bool) -> (MemDisk, Vec<BatchView>) {
    let disk = disk();
    let mut batches = Vec::new();
    for epoch in 1..4 {
        let handle = open(&disk, Role::leader(epoch), settings());
        let mut put = |batch: BatchView, origin| {
            let base = handle
                .appender()
                .append(batch.clone(), origin, NOW)
                .unwrap()
                .base_offset;
            batches.push(copied(base, epoch, batch));
        };
        for n in 0..15 {
            put(
                idempotent(i64::from(n % 3), 0, (epoch - 1) * 25 + n / 3 * 5, 5),
                CLIENT,
            );
            put(plain(3, n as u64), CLIENT);
        }
        put(transactional(10, epoch as i16, 0, 2), CLIENT);
        put(
            marker(epoch == 2, 10, epoch as i16, 1),
            gnomon_partition::Origin::Site,
        );
        put(transactional(11, 0, (epoch - 1) * 2, 2), CLIENT);
        handle.control().flush().await.unwrap();
        if clean || epoch < 3 {
            handle.control().close().await.unwrap();
            continue;
        }
        // A tail that no checkpoint covers.
        handle.control().checkpoint().unwrap();
        (0..5).for_each(|n| put(plain(3, n), CLIENT));
        handle.control().flush().await.unwrap();
    }
    (disk, batches)
}

fn files(disk: &MemDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk
        .list(&dir())
        .unwrap()
        .into_iter()
        .map(|name| dir().join(name));
    paths
        .map(|path| (path.clone(), disk.read(&path).unwrap()))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

fn put(disk: &MemDisk, path: &Path, bytes: &[u8]) {
    disk.open(path, OpenMode::Create)
        .unwrap()
        .write_all_at(&mut [IoSlice::new(bytes)], 0)
        .unwrap();
}

fn restore(disk: &MemDisk, files: &[(PathBuf, Vec<u8>)]) {
    for name in disk.list(&dir()).unwrap() {
        disk.remove_file(&dir().join(name)).unwrap();
    }
    files
        .iter()
        .for_each(|(path, bytes)| put(disk, path, bytes));
}

/// Everything that can be read, and the ranges that cannot.
fn read(handle: &Handle) -> (Vec<BatchView>, Vec<(Offset, Offset)>) {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    let mut at = handle.offsets().log_start;
    loop {
        match handle
            .reader()
            .read(at, 1_000, Isolation::ReadUncommitted, true)
        {
            Ok(read) => {
                let Some(range) = read.range else {
                    return (found, lost);
                };
                let mut bytes = range.bytes().unwrap();
                while let Some(view) = BatchView::parse_first(&mut bytes).unwrap() {
                    at = view.header().next_offset();
                    found.push(view);
                }
            }
            Err(ReadError::Damaged { from, to }) => {
                assert!(
                    from <= at && at < to,
                    "asked for {at}, damaged {from} to {to}"
                );
                lost.push((from, to));
                at = to;
            }
            Err(other) => panic!("at {at}: {other}"),
        }
    }
}

/// The last sequence of each producer, by the batches.
fn last_sequences(batches: &[BatchView]) -> BTreeMap<ProducerId, i32> {
    let data = batches
        .iter()
        .map(BatchView::header)
        .filter(|header| header.has_producer() && !header.is_control());
    data.map(|header| (header.producer_id, header.last_sequence()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn flipped_bits_in_any_file_of_a_partition() {
    let rounds = if full() { 3_000 } else { 300 };
    let mut rng = StdRng::seed_from_u64(4712);
    for clean in [true, false] {
        let (disk, written) = written(clean).await;
        let by_offset: BTreeMap<Offset, &BatchView> = written
            .iter()
            .map(|batch| (batch.header().base_offset, batch))
            .collect();
        let pristine = files(&disk);
        for round in 0..rounds {
            restore(&disk, &pristine);
            let (path, bytes) = &pristine[rng.random_range(0..pristine.len())];
            let bit = rng.random_range(0..bytes.len() * 8);
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            put(&disk, path, &flipped);
            let power_loss: bool = rng.random();
            let open = if power_loss {
                open_after_power_loss
            } else {
                open
            };
            let handle = open(&disk, Role::leader(4), settings());
            let what = format!(
                "round {round}: bit {bit} of {}, power loss {power_loss}, clean {clean}",
                path.display()
            );
            let (found, lost) = read(&handle);
            let in_log = path.extension().is_some_and(|extension| extension == "log");
            // Behind the checkpoint an epoch has no witness, and after a power loss what is bad
            // there ends the log.
            let covered = read_checkpoint(&disk, &dir())
                .ok()
                .flatten()
                .map_or(0, |checkpoint| checkpoint.extra.producer_snapshot_at);
            for batch in &found {
                let header = batch.header();
                let original = by_offset.get(&header.base_offset).unwrap_or_else(|| {
                    panic!("{what}: nothing was written at {}", header.base_offset)
                });
                let same = batch.bytes() == original.bytes()
                    || header.next_offset() > covered
                        && batch.bytes()[..12] == original.bytes()[..12]
                        && batch.bytes()[16..] == original.bytes()[16..];
                assert!(same, "{what}: other bytes at {}", header.base_offset);
            }
            let cut = handle.control().health().cut.is_some();
            assert!(
                !cut || in_log && !clean,
                "{what}: {:?}",
                handle.control().health()
            );
            assert!(
                found.len() + usize::from(in_log) >= written.len() || cut,
                "{what}: {} of {} batches",
                found.len(),
                written.len()
            );
            assert!(
                found.len() == written.len() || !lost.is_empty() || cut,
                "{what}: batches are gone without a word"
            );
            assert_eq!(
                lost.is_empty(),
                handle.control().health().damage.is_empty(),
                "{what}: {:?}",
                handle.control().health()
            );
            if !in_log {
                let known: BTreeMap<ProducerId, i32> = handle
                    .control()
                    .known_producers()
                    .into_iter()
                    .map(|(id, known)| {
                        (
                            id,
                            known.batches.back().map_or(-1, |batch| batch.last_sequence),
                        )
                    })
                    .collect();
                for (producer, last) in last_sequences(&written) {
                    // A producer whose transaction ended has a new epoch each time, and no more
                    // than the marker of the last.
                    assert!(
                        known.get(&producer) == Some(&last),
                        "{what}: producer {producer} at {:?}, not {last}",
                        known.get(&producer)
                    );
                }
                assert_eq!(
                    handle
                        .control()
                        .open_transactions()
                        .iter()
                        .map(|txn| txn.producer_id)
                        .collect::<Vec<_>>(),
                    [11],
                    "{what}"
                );
            }
            match handle.appender().append(plain(1, 0), CLIENT, NOW) {
                Ok(_) => {}
                // An epoch that was flipped up after the checkpoint looks like a later leader's.
                Err(AppendError::EpochBehind { .. }) => assert!(in_log && !clean, "{what}"),
                Err(other) => panic!("{what}: {other}"),
            }
        }
    }
    println!(
        "faults: flipped bits in a partition's files: {}",
        2 * rounds
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_read_and_checked_from_outside() {
    let (disk, _) = written(true).await;
    let checkpoint = read_checkpoint(&disk, &dir()).unwrap().unwrap();
    assert_eq!(
        inspect::check_snapshot(&disk, &dir(), &checkpoint).unwrap(),
        None
    );
    let (path, bytes) = files(&disk)
        .into_iter()
        .find(|(path, _)| {
            path.extension()
                .is_some_and(|extension| extension == "snapshot")
        })
        .unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let snapshot = inspect::read_snapshot(name, &bytes).unwrap();
    assert_eq!(snapshot.at, checkpoint.extra.producer_snapshot_at);
    assert_eq!(
        snapshot
            .producers
            .iter()
            .map(|(id, _)| *id)
            .collect::<Vec<_>>(),
        [0, 1, 2, 10, 11]
    );
    assert_eq!((snapshot.open.len(), snapshot.aborted.len()), (1, 2));
    for damaged in [&bytes[..bytes.len() - 1], &[0; 40], &[]] {
        put(&disk, &path, damaged);
        assert_eq!(
            inspect::check_snapshot(&disk, &dir(), &checkpoint)
                .unwrap()
                .unwrap()
                .file,
            path
        );
    }
    disk.remove_file(&path).unwrap();
    assert!(
        inspect::check_snapshot(&disk, &dir(), &checkpoint)
            .unwrap()
            .is_some()
    );
}
