//! Batches and a `Vec` that a log must agree with.
#![allow(dead_code)]

pub mod damage;
pub mod random;

use bytes::Bytes;
use gnomon_protocol::{
    batch::{BatchBuilder, BatchHeader, BatchView, PlacedBatch},
    ids::{BatchEpoch, Offset},
};
use gnomon_storage::{Log, LogOptions, LogReader, ReadError};

/// A batch of `records` records, each with a value of `bytes` bytes made from `salt`.
pub fn batch(base: Offset, records: i32, bytes: usize, salt: u64) -> PlacedBatch {
    batch_at_time(base, records, bytes, salt, 1_000 + base)
}

pub fn batch_at_time(
    base: Offset,
    records: i32,
    bytes: usize,
    salt: u64,
    timestamp: i64,
) -> PlacedBatch {
    unplaced(records, bytes, salt, timestamp).place(base, BatchEpoch(0))
}

pub fn batch_of_epoch(
    base: Offset,
    records: i32,
    bytes: usize,
    salt: u64,
    epoch: i32,
) -> PlacedBatch {
    unplaced(records, bytes, salt, 1_000 + base).place(base, BatchEpoch(epoch))
}

fn unplaced(records: i32, bytes: usize, salt: u64, timestamp: i64) -> BatchView {
    let mut builder = BatchBuilder::new(timestamp);
    for i in 0..records {
        let value: Vec<u8> = (0..bytes)
            .map(|at| {
                (salt as usize)
                    .wrapping_mul(31)
                    .wrapping_add(at * 7 + i as usize) as u8
            })
            .collect();
        builder = builder.record(timestamp, None, Some(&value), &[]);
    }
    let bytes = builder.build().expect("a batch");
    BatchView::parse_only(bytes).expect("a valid batch")
}

pub fn small_segments() -> LogOptions {
    LogOptions {
        segment_bytes: 4_000,
        index_interval_bytes: 300,
        checkpoint_bytes: 2_000,
        ..LogOptions::default()
    }
}

/// The expected content of a log: bytes of whole batches with their offsets.
#[derive(Clone, Debug, Default)]
pub struct LogModel {
    pub start: Offset,
    pub end: Offset,
    pub batches: Vec<(Offset, Offset, Bytes)>,
}

impl LogModel {
    pub fn push(&mut self, batch: &PlacedBatch) {
        self.batches
            .push((batch.base_offset(), batch.next_offset(), batch.to_bytes()));
        self.end = batch.next_offset();
    }

    pub fn truncate(&mut self, end: Offset) {
        if end >= self.end {
            return;
        }
        let mut now = end;
        if let Some(at) = self.batches.iter().position(|(_, next, _)| *next > end) {
            now = now.min(self.batches[at].0);
            self.batches.truncate(at);
        }
        if end < self.start {
            *self = LogModel {
                start: end,
                end,
                batches: Vec::new(),
            };
        } else if now < self.start {
            *self = LogModel {
                start: self.start,
                end: self.start,
                batches: Vec::new(),
            };
        } else {
            self.end = now;
        }
    }

    pub fn trim(&mut self, start: Offset) {
        if start > self.end {
            *self = LogModel {
                start,
                end: start,
                batches: Vec::new(),
            };
        } else {
            self.start = self.start.max(start);
        }
    }

    /// Every batch that can be read: those that reach above the start.
    pub fn readable(&self) -> Vec<Bytes> {
        self.batches
            .iter()
            .filter(|(_, next, _)| *next > self.start)
            .map(|(_, _, bytes)| bytes.clone())
            .collect()
    }
}

/// Cuts fetched bytes into batches and checks each.
pub fn split(mut bytes: Bytes) -> Vec<BatchView> {
    let mut views = Vec::new();
    while let Some(view) = BatchView::parse_first(&mut bytes).expect("whole, valid batches") {
        views.push(view);
    }
    assert!(
        bytes.is_empty(),
        "{} bytes of a batch that is not whole",
        bytes.len()
    );
    views
}

/// Reads everything from `from` below `upper`, `bytes_max` at a time; damage is skipped and
/// returned.
pub fn read_all(
    reader: &LogReader,
    from: Offset,
    upper: Offset,
    bytes_max: usize,
) -> (Vec<Bytes>, Vec<(Offset, Offset)>) {
    let (mut batches, mut damaged) = (Vec::new(), Vec::new());
    let mut at = from;
    while at < upper {
        match reader.read(at, upper, bytes_max, true) {
            Ok(range) if range.is_empty() => break,
            Ok(range) => {
                let views = split(range.bytes().expect("readable"));
                assert_eq!(views[0].header().base_offset, range.base_offset);
                let next = views[views.len() - 1].header().next_offset();
                assert!(
                    next <= range.next_offset && range.next_offset <= upper,
                    "{range:?} ends with {next}, bound {upper}"
                );
                assert!(range.len <= bytes_max || views.len() == 1);
                batches.extend(views.iter().map(|view| view.bytes().clone()));
                assert!(next > at);
                at = next;
            }
            Err(ReadError::Damaged { from, to }) => {
                assert!(
                    from <= at && at < to,
                    "asked for {at}, damaged {from} to {to}"
                );
                damaged.push((from.max(at), to));
                at = to;
            }
            Err(error) => panic!("at {at}: {error}"),
        }
    }
    (batches, damaged)
}

/// The log agrees with the model in every way that can be asked.
pub fn check(log: &Log, model: &LogModel) {
    assert_eq!((log.start(), log.end()), (model.start, model.end));
    let reader = log.reader();
    for bytes_max in [1, 700, 1 << 20] {
        let (batches, damaged) = read_all(&reader, model.start, model.end, bytes_max);
        assert_eq!(damaged, []);
        same(
            &batches,
            &model.readable(),
            &format!("read {bytes_max} bytes at a time"),
        );
    }
    let headers: Vec<_> = reader
        .headers(model.start)
        .map(|item| item.expect("undamaged").1.bytes().expect("readable"))
        .collect();
    same(&headers, &model.readable(), "headers");
    for (base, next, bytes) in model
        .batches
        .iter()
        .filter(|(_, next, _)| *next > model.start)
    {
        for offset in [*base, next - 1] {
            if offset >= model.start {
                let view = reader.batch_at(offset).expect("readable").expect("a batch");
                assert_eq!(view.bytes(), bytes);
            }
        }
        // A bound inside a batch leaves it out.
        let from = (*base).max(model.start);
        assert!(
            reader
                .read(from, next - 1, 1 << 20, true)
                .expect("readable")
                .is_empty()
        );
    }
    assert!(matches!(
        reader.read(model.end + 1, i64::MAX, 1, true),
        Err(ReadError::AboveEnd { .. })
    ));
    assert!(matches!(
        reader.read(model.start - 1, i64::MAX, 1, true),
        Err(ReadError::BelowStart { .. })
    ));
    assert!(
        reader
            .read(model.end, i64::MAX, 1, true)
            .expect("empty")
            .is_empty()
    );
}

/// Compares batches; says which differ rather than all their bytes.
pub fn same(got: &[Bytes], wanted: &[Bytes], what: &str) {
    let offsets = |batches: &[Bytes]| -> Vec<_> {
        batches
            .iter()
            .map(|bytes| {
                BatchHeader::parse(bytes).map(|header| (header.base_offset, header.last_offset()))
            })
            .collect()
    };
    assert_eq!(offsets(got), offsets(wanted), "{what}");
    for (got, wanted) in got.iter().zip(wanted) {
        assert!(
            got == wanted,
            "{what}: other bytes in {:?}",
            BatchHeader::parse(wanted)
        );
    }
}
