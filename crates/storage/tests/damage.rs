//! What a disk or a crash can leave behind: a tail torn at every byte, bits flipped anywhere, garbage, files that are too short.

mod common;

use bytes::Bytes;
use common::{Model, batch, check, random::Dice, read_all, small_segments};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{Boot, CheckpointExtra, Disk, Log, LogOptions, MemDisk, OpenMode, Opened};
use std::{
    collections::BTreeMap,
    io::IoSlice,
    path::{Path, PathBuf},
    sync::Arc,
};

const DIR: &str = "/data/t-0";

fn open(disk: &MemDisk, boot: Boot) -> Opened {
    Log::open(Arc::new(disk.clone()), PathBuf::from(DIR), small_segments(), boot).expect("opened")
}

fn flush(log: &mut Log) {
    let point = log.flush_point();
    point.sync().expect("synced");
    log.flushed_to(&point);
}

/// A log of `count` batches, the first `flushed` of them flushed and in the checkpoint.
fn written(options: LogOptions, count: usize, flushed: usize) -> (MemDisk, Model) {
    let disk = MemDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), PathBuf::from(DIR), options, 0).expect("created");
    let mut model = Model::default();
    for i in 0..count {
        let batch = batch(log.end(), 1 + (i % 3) as i32, 60, i as u64);
        log.append(std::slice::from_ref(&batch)).expect("appended");
        model.push(&batch);
        if i + 1 == flushed {
            flush(&mut log);
            log.checkpoint(CheckpointExtra::default()).expect("written");
        }
    }
    (disk, model)
}

fn change(disk: &MemDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.read(path).expect("there");
    change(&mut bytes);
    let file = disk.open(path, OpenMode::ReadWrite).expect("there");
    file.set_len(bytes.len() as u64).expect("done");
    file.write_all_at(&mut [IoSlice::new(&bytes)], 0).expect("done");
}

/// Every batch that is served is the one that was written at its offset.
fn serves_only_what_was_written(log: &Log, model: &Model) -> (Vec<Bytes>, Vec<(Offset, Offset)>) {
    let by_offset: BTreeMap<Offset, &Bytes> = model.batches.iter().map(|(base, _, bytes)| (*base, bytes)).collect();
    let (batches, damaged) = read_all(&log.reader(), log.start(), log.end(), 700);
    for batch in &batches {
        let base = i64::from_be_bytes(*batch.first_chunk().expect("a batch"));
        // The leader epoch (bytes 12 to 15) has no checksum anywhere in Kafka's format.
        let written = by_offset.get(&base).unwrap_or_else(|| panic!("nothing was ever written at {base}"));
        assert_eq!((&batch[..12], &batch[16..]), (&written[..12], &written[16..]), "other bytes at {base}");
    }
    (batches, damaged)
}

#[test]
fn a_tail_torn_at_every_byte() {
    let one_segment = LogOptions { segment_bytes: 1 << 20, ..small_segments() };
    let (disk, model) = written(one_segment, 12, 9);
    let path = Path::new(DIR).join("00000000000000000000.log");
    let whole = disk.read(&path).expect("there");
    let tail: usize = model.batches[9..].iter().map(|(_, _, bytes)| bytes.len()).sum();
    for boot in [Boot::Same, Boot::Other] {
        for garbage in [0usize, 1, 700] {
            for len in whole.len() - tail..=whole.len() {
                if garbage > 0 && len % 7 != 0 {
                    continue;
                }
                change(&disk, &path, |bytes| {
                    bytes.clear();
                    bytes.extend_from_slice(&whole[..len]);
                    bytes.extend((0..garbage).map(|i| (i * 37 + len) as u8));
                });
                let Opened { mut log, recovered } = open(&disk, boot);
                let mut left = len;
                let survivors = model.batches.iter().take_while(|(_, _, bytes)| {
                    let fits = bytes.len() <= left;
                    left = left.saturating_sub(bytes.len());
                    fits
                });
                let mut expected = Model::default();
                for (base, next, bytes) in survivors {
                    expected.batches.push((*base, *next, bytes.clone()));
                    expected.end = *next;
                }
                let kept: usize = expected.batches.iter().map(|(_, _, bytes)| bytes.len()).sum();
                check(&log, &expected);
                assert_eq!(recovered.damaged, []);
                assert_eq!(recovered.cut.map_or(0, |cut| cut.bytes as usize), len + garbage - kept);
                let next = batch(log.end(), 1, 30, 99);
                log.append(std::slice::from_ref(&next)).expect("appended");
                expected.push(&next);
                check(&log, &expected);
            }
        }
    }
}

#[test]
fn a_bad_batch_beyond_flushed_takes_the_valid_ones_behind_it_after_a_power_loss_only() {
    let (disk, model) = written(small_segments(), 80, 40);
    let at = model.batches[50].0;
    let position: usize = model.batches[..50].iter().map(|(_, _, bytes)| bytes.len()).sum();
    // Which file holds it.
    let mut before = 0;
    let bases: Vec<String> = disk.list(Path::new(DIR)).expect("listed").into_iter().filter(|name| name.ends_with(".log")).collect();
    for name in &bases {
        let path = Path::new(DIR).join(name);
        let len = disk.read(&path).expect("there").len();
        if (before..before + len).contains(&position) {
            change(&disk, &path, |bytes| bytes[position - before + 70] ^= 1);
        }
        before += len;
    }
    let same = open(&disk, Boot::Same);
    assert_eq!((same.recovered.cut, same.log.end()), (None, model.end));
    let (batches, damaged) = serves_only_what_was_written(&same.log, &model);
    assert_eq!((batches.len(), damaged.as_slice()), (79, &[(at, model.batches[50].1)][..]));

    let other = open(&disk, Boot::Other);
    let cut = other.recovered.cut.expect("cut");
    assert_eq!((cut.at, cut.batches, other.log.end()), (at, 29, at), "{}", cut.why);
    assert_eq!(other.recovered.damaged, []);
    let mut expected = model.clone();
    expected.truncate(at);
    check(&other.log, &expected);
}

/// Flips of single bits in whatever file, below what was flushed: never wrong bytes, never a cut, and only what is hit is lost.
#[test]
fn flipped_bits_below_flushed() {
    let mut dice = Dice(4711);
    let rounds = std::env::var("GNOMON_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_500);
    let (disk, model) = written(small_segments(), 90, 90);
    let dir = Path::new(DIR);
    let files: Vec<(PathBuf, Vec<u8>)> = disk
        .list(dir)
        .expect("listed")
        .into_iter()
        .map(|name| dir.join(name))
        .map(|path| (path.clone(), disk.read(&path).expect("there")))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    for round in 0..rounds {
        for name in disk.list(dir).expect("listed") {
            disk.remove_file(&dir.join(name)).expect("removed");
        }
        for (path, bytes) in &files {
            disk.open(path, OpenMode::Create).expect("made").write_all_at(&mut [IoSlice::new(bytes)], 0).expect("written");
        }
        let (path, bytes) = &files[dice.below(files.len() as u64) as usize];
        let bit = dice.below(bytes.len() as u64 * 8) as usize;
        change(&disk, path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let boot = if dice.below(2) == 0 { Boot::Same } else { Boot::Other };
        let what = format!("round {round}: bit {bit} of {}, {boot:?}", path.display());
        let opened = open(&disk, boot);
        let (batches, damaged) = serves_only_what_was_written(&opened.log, &model);
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        assert_eq!(opened.log.end(), model.end, "{what}: {:?}", opened.recovered);
        assert_eq!(opened.recovered.cut, None, "{what}");
        if is_log {
            assert!(batches.len() >= 88, "{what}: only {} of 90 batches are left, damaged {damaged:?}", batches.len());
            assert!(batches.len() == 90 || !damaged.is_empty(), "{what}: {} batches and no word of it", batches.len());
        } else {
            assert_eq!((batches.len(), damaged.len()), (90, 0), "{what}");
        }
        // What was found once is found again, and the log goes on behind it.
        let mut log = opened.log;
        log.append(&[batch(log.end(), 1, 40, 7)]).expect("appended");
        flush(&mut log);
        log.checkpoint(CheckpointExtra::default()).expect("written");
        drop(log);
        let log = open(&disk, Boot::Other).log;
        assert_eq!(log.end(), model.end + 1, "{what}");
        let (again, damaged_again) = read_all(&log.reader(), 0, model.end, 1 << 20);
        assert_eq!((again.len(), damaged_again), (batches.len(), damaged), "{what}");
    }
}

#[test]
fn a_shortened_file_below_flushed_is_a_hole_with_an_error() {
    let (disk, model) = written(small_segments(), 90, 90);
    let names: Vec<String> = disk.list(Path::new(DIR)).expect("listed").into_iter().filter(|name| name.ends_with(".log")).collect();
    for (which, name) in names.iter().enumerate() {
        let path = Path::new(DIR).join(name);
        let whole = disk.read(&path).expect("there");
        if which % 2 == 0 && which + 1 < names.len() {
            continue;
        }
        for boot in [Boot::Same, Boot::Other] {
            change(&disk, &path, |bytes| bytes.truncate(whole.len() - 200));
            let Opened { mut log, recovered } = open(&disk, boot);
            assert_eq!((log.end(), &recovered.cut), (model.end, &None), "{name}");
            assert_eq!(recovered.damaged.len(), 1, "{name}");
            let (batches, damaged) = serves_only_what_was_written(&log, &model);
            assert_eq!(damaged, [(recovered.damaged[0].start, recovered.damaged[0].end)]);
            assert!(batches.len() >= 87, "{name}: {}", batches.len());
            if which + 1 < names.len() {
                change(&disk, &path, |bytes| whole.clone_into(bytes));
                continue;
            }
            log.append(&[batch(log.end(), 1, 40, 7)]).expect("appended");
            flush(&mut log);
            log.checkpoint(CheckpointExtra::default()).expect("written");
            drop(log);
            let log = open(&disk, boot).log;
            assert_eq!(log.end(), model.end + 1);
            let (again, damaged_again) = read_all(&log.reader(), 0, model.end, 1 << 20);
            assert_eq!((again, damaged_again), (batches, damaged));
            return;
        }
    }
}

#[test]
fn a_record_that_holds_batches_is_not_taken_for_them() {
    let options = LogOptions { segment_bytes: 1 << 20, ..small_segments() };
    for boot in [Boot::Same, Boot::Other] {
        let disk = MemDisk::new();
        let mut log = Log::create(Arc::new(disk.clone()), PathBuf::from(DIR), options.clone(), 0).expect("created");
        log.append(&[batch(0, 1, 100, 1)]).expect("appended");
        // A value made of whole batches with offsets that would fit.
        let inner: Vec<u8> = (0..4).flat_map(|i| batch(1 + i, 1, 20, i as u64).to_bytes()).collect();
        let mut builder = gnomon_protocol::batch::BatchBuilder::new(5);
        builder.push(5, None, Some(&inner), &[]);
        let outer = gnomon_protocol::batch::BatchView::parse_only(builder.build().expect("built")).expect("valid");
        let outer = outer.place(1, gnomon_protocol::ids::BatchEpoch(0));
        let size = outer.total_bytes();
        log.append(&[outer]).expect("appended");
        drop(log);
        let path = Path::new(DIR).join("00000000000000000000.log");
        change(&disk, &path, |bytes| bytes.truncate(bytes.len() - 3));
        let opened = open(&disk, boot);
        assert_eq!(opened.log.end(), 1, "{boot:?}: {:?}", opened.recovered);
        assert_eq!(opened.recovered.cut.map(|cut| cut.bytes), Some(size as u64 - 3));
    }
}
