//! Damage that a disk can do to a log that it had taken: bits flipped anywhere, files that are too
//! short or gone. Torn tails: `torn.rs`.

mod common;

use common::{
    LogModel, batch, batch_of_epoch, check, damage::*, random::Rng, read_all, small_segments,
};
use gnomon_protocol::ids::Offset;
use gnomon_storage::{Boot, Disk, Log, LogOptions, MemDisk, Opened};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

#[test]
fn a_bad_batch_beyond_flushed_takes_the_valid_ones_behind_it_after_a_power_loss_only() {
    let (disk, model) = written(small_segments(), 80, 40, 60);
    let at = model.batches[50].0;
    let position: usize = model.batches[..50]
        .iter()
        .map(|(_, _, bytes)| bytes.len())
        .sum();
    // Which file holds it.
    let mut before = 0;
    let bases: Vec<String> = disk
        .list(Path::new(DIR))
        .expect("listed")
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
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
    assert_eq!(
        (batches.len(), damaged.as_slice()),
        (79, &[(at, model.batches[50].1)][..])
    );

    let other = open(&disk, Boot::Other);
    let cut = other.recovered.cut.expect("cut");
    assert_eq!(
        (cut.at, cut.batches, other.log.end()),
        (at, 29, at),
        "{}",
        cut.why
    );
    assert_eq!(other.recovered.damaged, []);
    let mut expected = model.clone();
    expected.truncate(at);
    check(&other.log, &expected);
}

/// Flips of single bits in whatever file, below what was flushed: never wrong bytes, never a cut,
/// and only what is hit is lost.
#[test]
fn flipped_bits_below_flushed() {
    let mut rng = Rng(4711);
    let rounds = if full() { 10_000 } else { 1_500 };
    let (disk, model) = written(small_segments(), 90, 90, 60);
    let files = files(&disk);
    for round in 0..rounds {
        restore(&disk, &files);
        let (path, bytes) = &files[rng.below(files.len() as u64) as usize];
        let bit = rng.below(bytes.len() as u64 * 8) as usize;
        change(&disk, path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let boot = if rng.below(2) == 0 {
            Boot::Same
        } else {
            Boot::Other
        };
        let what = format!("round {round}: bit {bit} of {}, {boot:?}", path.display());
        let opened = open(&disk, boot);
        let (batches, damaged) = serves_only_what_was_written(&opened.log, &model);
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        assert_eq!(
            opened.log.end(),
            model.end,
            "{what}: {:?}",
            opened.recovered
        );
        assert_eq!(opened.recovered.cut, None, "{what}");
        if is_log {
            assert!(
                batches.len() >= 88,
                "{what}: only {} of 90 batches are left, damaged {damaged:?}",
                batches.len()
            );
            assert!(
                batches.len() == 90 || !damaged.is_empty(),
                "{what}: {} batches and no word of it",
                batches.len()
            );
        } else {
            assert_eq!((batches.len(), damaged.len()), (90, 0), "{what}");
        }
        // What was found once is found again, and the log goes on after it.
        let health = opened.log.reader().health();
        assert_eq!(
            health.damage.is_empty(),
            damaged.is_empty(),
            "{what}: {health:?}"
        );
        let mut log = opened.log;
        go_on(&mut log, &model);
        drop(log);
        let log = open(&disk, Boot::Other).log;
        assert_eq!(log.end(), model.end + 1, "{what}");
        for _ in 0..2 {
            let (again, damaged_again) = read_all(&log.reader(), 0, model.end, 1 << 20);
            assert_eq!(
                (again.len(), &damaged_again),
                (batches.len(), &damaged),
                "{what}"
            );
        }
    }
    println!("faults: flipped bits in a log's files: {rounds}");
}

/// One more batch, flushed, and a checkpoint; what was written by then.
fn go_on(log: &mut Log, model: &LogModel) -> LogModel {
    let epoch = model.batches.last().map_or(0, |(_, _, bytes)| {
        i32::from_be_bytes(*bytes[12..].first_chunk().expect("a header"))
    });
    let batch = batch_of_epoch(log.end(), 1, 40, 7, epoch);
    let mut model = model.clone();
    model.push(&batch);
    log.append(&[batch]).expect("appended");
    checkpoint(log, &model);
    model
}

#[test]
fn a_shortened_file_below_flushed_is_a_hole_with_an_error() {
    let (disk, model) = written(small_segments(), 90, 90, 60);
    let names: Vec<String> = disk
        .list(Path::new(DIR))
        .expect("listed")
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
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
            assert_eq!(
                damaged,
                [(recovered.damaged[0].start, recovered.damaged[0].end)]
            );
            assert!(batches.len() >= 87, "{name}: {}", batches.len());
            if which + 1 < names.len() {
                change(&disk, &path, |bytes| whole.clone_into(bytes));
                continue;
            }
            go_on(&mut log, &model);
            drop(log);
            let log = open(&disk, boot).log;
            assert_eq!(log.end(), model.end + 1);
            for _ in 0..2 {
                let again = read_all(&log.reader(), 0, model.end, 1 << 20);
                assert_eq!(
                    again,
                    (batches.clone(), damaged.clone()),
                    "also when it is read a second time"
                );
            }
            return;
        }
    }
}

#[test]
fn a_segment_that_is_gone_is_a_hole_with_an_error() {
    for boot in [Boot::Same, Boot::Other] {
        let (disk, model) = written(small_segments(), 90, 90, 60);
        let names: Vec<String> = disk
            .list(Path::new(DIR))
            .expect("listed")
            .into_iter()
            .filter(|name| name.ends_with(".log"))
            .collect();
        disk.remove_file(&Path::new(DIR).join(&names[1]))
            .expect("removed");
        let Opened { mut log, recovered } = open(&disk, boot);
        let base = |name: &str| name[..20].parse::<Offset>().expect("an offset");
        let lost = (base(&names[1]), base(&names[2]));
        assert_eq!((log.end(), recovered.cut), (model.end, None));
        assert_eq!(
            recovered
                .damaged
                .iter()
                .map(|range| (range.start, range.end))
                .collect::<Vec<_>>(),
            [lost]
        );
        let model = go_on(&mut log, &model);
        for log in [log, open(&disk, boot).log] {
            for _ in 0..2 {
                assert_eq!(serves_only_what_was_written(&log, &model).1, [lost]);
            }
        }
    }
}

/// A log that was removed in part, its checkpoint left over, and made again: what the old
/// checkpoint says is not of this one.
#[test]
fn a_log_made_again_does_not_believe_the_checkpoint_of_the_one_before() {
    let (disk, _) = written(small_segments(), 90, 90, 60);
    for name in disk
        .list(Path::new(DIR))
        .expect("listed")
        .iter()
        .filter(|name| name.ends_with(".log"))
    {
        disk.remove_file(&Path::new(DIR).join(name))
            .expect("removed");
    }
    let mut log = Log::create(
        Arc::new(disk.clone()),
        PathBuf::from(DIR),
        small_segments(),
        5,
    )
    .expect("created");
    let mut model = LogModel {
        start: 5,
        end: 5,
        ..LogModel::default()
    };
    model.push(&batch(5, 3, 40, 1));
    log.append(&[batch(5, 3, 40, 1)]).expect("appended");
    drop(log);
    let Opened { log, recovered } = open(&disk, Boot::Same);
    assert_eq!((recovered.cut, recovered.damaged), (None, Vec::new()));
    check(&log, &model);
}

#[test]
fn a_record_that_holds_batches_is_not_taken_for_them() {
    let options = LogOptions {
        segment_bytes: 1 << 20,
        ..small_segments()
    };
    for boot in [Boot::Same, Boot::Other] {
        let disk = MemDisk::new();
        let mut log = Log::create(
            Arc::new(disk.clone()),
            PathBuf::from(DIR),
            options.clone(),
            0,
        )
        .expect("created");
        log.append(&[batch(0, 1, 100, 1)]).expect("appended");
        // A value made of whole batches with offsets that would fit.
        let inner: Vec<u8> = (0..4)
            .flat_map(|i| batch(1 + i, 1, 20, i as u64).to_bytes())
            .collect();
        let mut builder = gnomon_protocol::batch::BatchBuilder::new(5);
        builder.push(5, None, Some(&inner), &[]);
        let outer = gnomon_protocol::batch::BatchView::parse_only(builder.build().expect("built"))
            .expect("valid");
        let outer = outer.place(1, gnomon_protocol::ids::BatchEpoch(0));
        let size = outer.total_bytes();
        log.append(&[outer]).expect("appended");
        drop(log);
        let path = Path::new(DIR).join("00000000000000000000.log");
        change(&disk, &path, |bytes| bytes.truncate(bytes.len() - 3));
        let opened = open(&disk, boot);
        assert_eq!(opened.log.end(), 1, "{boot:?}: {:?}", opened.recovered);
        assert_eq!(
            opened.recovered.cut.map(|cut| cut.bytes),
            Some(size as u64 - 3)
        );
    }
}
