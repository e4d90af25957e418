//! A partition on a simulated disk, and batches for it.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod forge;

use bytes::Bytes;
use gnomon_partition::{
    Appended, Blocking, Env, Fence, Flusher, Handle, Isolation, LinkLabel, Origin, PartitionId,
    Position, Replica, Role, Settings, SourceBounds, Writers,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchHeader, BatchView, marker_batch},
    ids::{BatchEpoch, LeaderEpoch, Offset, ProducerId, Uuid},
};
use gnomon_storage::{Boot, Disk, LogOptions, MemDisk};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub const NOW: i64 = 1_700_000_000_000;
pub const CLIENT: Origin = Origin::Client { zstd_allowed: true };

pub fn dir() -> PathBuf {
    PathBuf::from("/data/topics/t-0")
}

pub fn id() -> PartitionId {
    PartitionId {
        topic_id: Uuid::from_u128(7),
        index: 0,
    }
}

/// A disk whose topics folder is durable, as a broker leaves it at its first start.
pub fn disk() -> MemDisk {
    let disk = MemDisk::new();
    disk.create_dir_all(Path::new("/data/topics")).unwrap();
    for dir in ["/", "/data", "/data/topics"] {
        disk.sync_dir(Path::new(dir)).unwrap();
    }
    disk
}

/// Small segments and frequent checkpoints, so that few batches cross both.
pub fn settings() -> Settings {
    let log = LogOptions {
        segment_bytes: 4 << 10,
        index_interval_bytes: 256,
        checkpoint_bytes: 6 << 10,
        ..LogOptions::default()
    };
    Settings {
        log,
        retention_ms: None,
        ..Settings::named("t")
    }
}

/// Flushes on the test's own runtime, when the test awaits.
pub fn env(disk: &MemDisk) -> Env {
    Env {
        disk: Arc::new(disk.clone()),
        flusher: Flusher::start(Blocking::Inline {
            flush: Duration::ZERO,
        })
        .unwrap(),
        boot: Boot::Same,
        troubles: Default::default(),
        reserved: Default::default(),
    }
}

pub fn open(disk: &MemDisk, role: Role, settings: Settings) -> Handle {
    Handle::open(&env(disk), dir(), id(), role, settings).unwrap()
}

pub fn open_after_power_loss(disk: &MemDisk, role: Role, settings: Settings) -> Handle {
    Handle::open(
        &Env {
            boot: Boot::Other,
            ..env(disk)
        },
        dir(),
        id(),
        role,
        settings,
    )
    .unwrap()
}

pub fn shadow(fence: u64) -> Role {
    let link = LinkLabel {
        name: "from-a".into(),
        source: "site a".into(),
        advice: "Write there.".into(),
    };
    Role {
        replica: Replica::Leader(LeaderEpoch(9)),
        writers: Writers::Link {
            link: Arc::new(link),
            fence: Fence(fence),
        },
    }
}

pub fn failing_over(epoch: i32) -> Role {
    Role {
        replica: Replica::Leader(LeaderEpoch(epoch)),
        writers: Writers::FailingOver,
    }
}

/// Records `0..count` with a value that `tag` tells apart.
pub fn filled(mut builder: BatchBuilder, count: i32, tag: u64) -> BatchView {
    for index in 0..count {
        builder.push(
            NOW + i64::from(index),
            Some(format!("k{index}").as_bytes()),
            Some(format!("{tag:016x}-{index}").as_bytes()),
            &[],
        );
    }
    view(builder.build().unwrap())
}

pub fn view(bytes: Bytes) -> BatchView {
    BatchView::parse_only(bytes).unwrap()
}

pub fn plain(count: i32, tag: u64) -> BatchView {
    filled(BatchBuilder::new(NOW), count, tag)
}

pub fn idempotent(producer: ProducerId, epoch: i16, sequence: i32, count: i32) -> BatchView {
    filled(
        BatchBuilder::new(NOW).producer(producer, epoch, sequence),
        count,
        sequence as u64,
    )
}

pub fn transactional(producer: ProducerId, epoch: i16, sequence: i32, count: i32) -> BatchView {
    filled(
        BatchBuilder::new(NOW)
            .producer(producer, epoch, sequence)
            .transactional(),
        count,
        sequence as u64,
    )
}

/// As a source would send it.
pub fn copied(base: Offset, epoch: i32, batch: BatchView) -> BatchView {
    view(batch.place(base, BatchEpoch(epoch)).to_bytes())
}

pub fn marker(commit: bool, producer: ProducerId, epoch: i16, coordinator_epoch: i32) -> BatchView {
    view(marker_batch(
        commit,
        producer,
        epoch,
        coordinator_epoch,
        NOW,
    ))
}

/// A reader's position, and the epoch of what it read last.
pub fn at(offset: Offset, epoch: i32) -> Position {
    Position {
        offset,
        last_epoch: BatchEpoch(epoch),
    }
}

pub fn bounds(log_start: Offset, high_watermark: Offset) -> SourceBounds {
    SourceBounds {
        log_start,
        high_watermark,
    }
}

pub fn append(handle: &Handle, batch: BatchView) -> Appended {
    handle.appender().append(batch, CLIENT, NOW).unwrap()
}

/// All batches below the bound, from `from` on.
pub fn batches(handle: &Handle, from: Offset, isolation: Isolation) -> Vec<BatchView> {
    let mut found = Vec::new();
    let mut at = from;
    while let Some(range) = handle
        .reader()
        .read(at, 1 << 20, isolation, true)
        .unwrap()
        .range
    {
        let mut bytes = range.bytes().unwrap();
        assert_eq!(
            BatchHeader::parse(&bytes).unwrap().base_offset,
            range.base_offset
        );
        while let Some(view) = BatchView::parse_first(&mut bytes).unwrap() {
            found.push(view);
        }
        assert!(bytes.is_empty(), "whole batches only");
        assert!(range.next_offset > at);
        at = range.next_offset;
    }
    found
}
