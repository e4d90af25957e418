//! A tail torn at every byte, with everything that may stand where the rest of it was to come.
//!
//! What must hold, whether the process died or the power was lost: the log ends with the last batch
//! whose bytes are all there, nothing of what stands behind it is ever served, what is cut is
//! counted to the byte, and the log goes on from there. `GNOMON_FAULTS=full` takes more layouts.

mod common;

use common::{LogModel, batch, damage::*, random::Rng, read_all, same, small_segments};
use gnomon_storage::{Boot, LogOptions, MemDisk};
use std::path::PathBuf;

/// The bytes that a torn write leaves in place of its rest.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Nothing,
    Zeros,
    Ones,
    Random,
    /// Bytes from elsewhere in the log: whole batches with lower offsets.
    OldData,
    /// A header as the next batch would have it, over bytes that are not its own.
    Header,
}

const FILLS: [Fill; 6] = [
    Fill::Nothing,
    Fill::Zeros,
    Fill::Ones,
    Fill::Random,
    Fill::OldData,
    Fill::Header,
];

/// Which log is torn.
struct Layout {
    batches: usize,
    flushed: usize,
    /// Batches that may be torn: the last ones.
    torn: usize,
    value_bytes: usize,
    segment_bytes: u64,
}

const SMALL: Layout = Layout {
    batches: 12,
    flushed: 9,
    torn: 3,
    value_bytes: 40,
    segment_bytes: 1 << 20,
};

/// Larger than what is read at once; nothing flushed; several segments; a tail that begins a
/// segment.
const MORE: [Layout; 4] = [
    Layout {
        batches: 4,
        flushed: 2,
        torn: 2,
        value_bytes: 3_000,
        segment_bytes: 1 << 20,
    },
    Layout {
        batches: 5,
        flushed: 0,
        torn: 3,
        value_bytes: 40,
        segment_bytes: 1 << 20,
    },
    Layout {
        batches: 40,
        flushed: 30,
        torn: 3,
        value_bytes: 80,
        segment_bytes: 4_000,
    },
    Layout {
        batches: 23,
        flushed: 22,
        torn: 1,
        value_bytes: 150,
        segment_bytes: 4_000,
    },
];

fn fill(how: Fill, bytes: usize, before: &[u8], model: &LogModel, at: usize) -> Vec<u8> {
    let mut rng = Rng(at as u64);
    match how {
        Fill::Nothing => Vec::new(),
        Fill::Zeros => vec![0; bytes],
        Fill::Ones => vec![0xff; bytes],
        Fill::Random => (0..bytes).map(|_| rng.below(256) as u8).collect(),
        Fill::OldData => before.iter().cycle().take(bytes).copied().collect(),
        Fill::Header => {
            let mut header = model.batches.last().expect("a batch").2[..61].to_vec();
            header[..8].copy_from_slice(&intact(before, model).end.to_be_bytes());
            header[8..12].copy_from_slice(&(bytes.max(62) as u32 - 12).to_be_bytes());
            header.extend((0..bytes).map(|_| rng.below(256) as u8));
            header.truncate(bytes);
            header
        }
    }
}

/// The batches whose bytes are all there, from the first on.
fn intact(found: &[u8], model: &LogModel) -> LogModel {
    let mut whole = LogModel::default();
    let mut at = 0;
    for (base, next, bytes) in &model.batches {
        if found
            .get(at..at + bytes.len())
            .is_none_or(|there| there != &bytes[..])
        {
            break;
        }
        at += bytes.len();
        whole.batches.push((*base, *next, bytes.clone()));
        whole.end = *next;
    }
    whole
}

/// Tears the log at every byte of its last batches, with every fill; how many logs were opened.
/// With `every`, each fill in both lengths, else in one of them.
fn tear(layout: &Layout, every: bool) -> usize {
    let options = LogOptions {
        segment_bytes: layout.segment_bytes,
        ..small_segments()
    };
    let (disk, model) = written(options, layout.batches, layout.flushed, layout.value_bytes);
    let logs: Vec<(PathBuf, Vec<u8>)> = files(&disk)
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    let pristine = files(&disk);
    let (last, whole) = logs.last().expect("a segment");
    let sealed: usize = logs[..logs.len() - 1]
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum();
    let tail: usize = model.batches[layout.batches - layout.torn..]
        .iter()
        .map(|(_, _, bytes)| bytes.len())
        .sum();
    let mut before: Vec<u8> = logs[..logs.len() - 1]
        .iter()
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    let mut opened = 0;
    for len in whole.len().saturating_sub(tail)..=whole.len() {
        before.truncate(sealed);
        before.extend_from_slice(&whole[..len]);
        for how in FILLS {
            // As long as what was to come, and longer.
            for more in [0, 700] {
                if !every && (len % 2 == 0) != (more == 0) {
                    continue;
                }
                let rest = fill(how, whole.len() - len + more, &before, &model, len);
                let mut found = before.clone();
                found.extend_from_slice(&rest);
                let expected = intact(&found, &model);
                for boot in [Boot::Same, Boot::Other] {
                    restore(&disk, &pristine);
                    put(&disk, last, &found[sealed..]);
                    cut_behind(
                        &disk,
                        boot,
                        &expected,
                        found.len(),
                        &format!("{how:?} at {len} and {more} more, {boot:?}"),
                    );
                    opened += 1;
                }
            }
        }
    }
    opened
}

/// Opening leaves what is whole, and the log goes on after it.
fn cut_behind(disk: &MemDisk, boot: Boot, expected: &LogModel, found_bytes: usize, what: &str) {
    let opened = open(disk, boot);
    let mut log = opened.log;
    let kept: usize = expected
        .batches
        .iter()
        .map(|(_, _, bytes)| bytes.len())
        .sum();
    assert_eq!(opened.recovered.damaged, [], "{what}");
    assert_eq!(
        opened.recovered.cut.map_or(0, |cut| cut.bytes as usize),
        found_bytes - kept,
        "{what}"
    );
    let mut expected = expected.clone();
    let next = batch(log.end(), 1, 30, 99);
    log.append(std::slice::from_ref(&next)).expect("appended");
    expected.push(&next);
    for log in [log, open(disk, Boot::Same).log] {
        assert_eq!(log.end(), expected.end, "{what}");
        let (batches, damaged) = read_all(&log.reader(), 0, expected.end, 1 << 20);
        assert_eq!(damaged, [], "{what}");
        same(&batches, &expected.readable(), what);
    }
}

#[test]
fn a_torn_tail_is_cut_to_the_byte_and_nothing_of_it_is_served() {
    let mut opened = tear(&SMALL, full());
    if full() {
        opened += MORE.iter().map(|layout| tear(layout, true)).sum::<usize>();
    }
    println!("faults: torn tails: {opened}");
}
