//! Batches of another log whose headers have no right maximum timestamp: indexes and segments go by
//! the records' times, whether they were made with the batch or from the files later.

mod common;

use common::small_segments;
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, Codec, PlacedBatch},
    ids::Offset,
};
use gnomon_storage::{Boot, Disk, Log, MemDisk};
use std::{path::PathBuf, sync::Arc};

const COUNT: i64 = 200;

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

fn time_of(offset: Offset) -> i64 {
    10_000 + offset * 10
}

/// One record at `time_of(base)`, as a source sends it that keeps what its producers write.
fn copied(base: Offset) -> PlacedBatch {
    let codec = Codec::ALL[(base % 5) as usize];
    let time = time_of(base);
    let batch = BatchBuilder::new(time)
        .codec(codec)
        .base_offset(base)
        .record(time, None, Some(&[7; 60]), &[])
        .build()
        .expect("a batch");
    let honest = BatchView::parse_only(batch).expect("valid");
    let claimed = [-1, 0, time - 1][(base % 3) as usize];
    honest.with_max_timestamp(claimed).place_verbatim()
}

fn open(disk: &MemDisk, boot: Boot) -> Log {
    Log::open(Arc::new(disk.clone()), dir(), small_segments(), boot)
        .expect("opens")
        .log
}

fn indexes_go_by_records(log: &Log, how: &str) {
    let segments = log.segments();
    assert!(segments.len() > 3, "{how}");
    for segment in segments.iter().filter(|segment| segment.bytes > 0) {
        assert_eq!(
            segment.max_timestamp,
            time_of(segment.end - 1),
            "{how}: segment {}",
            segment.base
        );
    }
    for wanted in 0..log.end() {
        let from = log
            .reader()
            .offset_for_timestamp_from_index(time_of(wanted))
            .expect("found");
        assert!(
            from <= wanted && wanted - from < 60,
            "{how}: the scan for {wanted} begins at {from}"
        );
    }
}

#[test]
fn indexes_go_by_the_records_where_a_header_cannot_be_right() {
    let disk = MemDisk::new();
    let mut log = Log::create(Arc::new(disk.clone()), dir(), small_segments(), 0).expect("created");
    for base in 0..COUNT {
        log.append(&[copied(base)]).expect("appended");
    }
    indexes_go_by_records(&log, "written");
    let before = log.segments();
    drop(log);
    let log = open(&disk, Boot::Same);
    indexes_go_by_records(&log, "opened after a kill");
    assert_eq!(log.segments(), before);
    drop(log);
    let mut log = open(&disk, Boot::Other);
    indexes_go_by_records(&log, "opened after a power loss");
    log.checkpoint(log.checkpoint_extra().clone())
        .expect("written");
    drop(log);
    for name in disk.list(&dir()).expect("listed") {
        if name.ends_with("index") {
            disk.remove_file(&dir().join(name)).expect("removed");
        }
    }
    let mut log = open(&disk, Boot::Same);
    indexes_go_by_records(&log, "without index files");
    assert_eq!(log.segments(), before);
    log.truncate_to(COUNT - 30).expect("truncated");
    indexes_go_by_records(&log, "truncated");
}
