//! A source delivers batches whose checksums are right and whose records or headers are not.

use crate::site::LinkedSites;
use bytes::Bytes;
use gnomon_links::TopicState;
use gnomon_partition::{ByTime, Isolation};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, Codec, HEADER_BYTES, LENGTH_OVERHEAD, crc32c},
    ids::Offset,
};
use std::time::Duration;
use uuid::Uuid;

const TIME: i64 = 1_700_000_000_000;

/// Three records at and after `TIME`.
fn batch(base: Offset, codec: Codec) -> BatchView {
    let mut builder = BatchBuilder::new(TIME).base_offset(base).codec(codec);
    for at in 0..3 {
        builder.push(TIME + at, None, Some(&[b'v'; 200]), &[]);
    }
    BatchView::parse_only(builder.build().expect("builds")).expect("valid")
}

/// The batch with half of its payload, and a right checksum.
fn cut_in_half(batch: &BatchView) -> Bytes {
    let mut bytes = batch.bytes().to_vec();
    bytes.truncate(HEADER_BYTES + (bytes.len() - HEADER_BYTES) / 2);
    let length = (bytes.len() - LENGTH_OVERHEAD) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[tokio::test(start_paused = true)]
async fn records_that_no_consumer_can_read_fault_the_topic_by_name() {
    for codec in Codec::ALL {
        let world = LinkedSites::start().await;
        world.source.create("a_orders", Uuid::from_u128(1), 1);
        world.source.create("a_others", Uuid::from_u128(2), 1);
        world.source.partition("a_orders", 0, |p| {
            p.append_bytes(batch(0, codec).bytes().clone());
            p.append_bytes(cut_in_half(&batch(3, codec)));
        });
        let reason = world.faulted("a_orders").await;
        for named in ["from-a", "a_orders", "partition 0", "offset 3"] {
            assert!(reason.contains(named), "{codec:?}: {reason}");
        }
        world.copied("a_orders", 0, 3).await;
        assert_eq!(world.high_watermark("a_orders", 0), 3, "{codec:?}");
        world
            .source
            .partition("a_others", 0, |p| p.append(&["0", "1"]));
        world.copied("a_others", 0, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_without_the_right_time_is_copied_and_not_believed() {
    for codec in Codec::ALL {
        let world = LinkedSites::start().await;
        world.source.create("a_orders", Uuid::from_u128(1), 1);
        world.source.partition("a_orders", 0, |p| {
            let unset = batch(0, codec).with_max_timestamp(-1);
            p.append_bytes(unset.bytes().clone());
        });
        world.copied("a_orders", 0, 3).await;
        assert_eq!(
            world.bytes("a_orders", 0),
            world.source_bytes("a_orders", 0)
        );
        let found = world
            .handle("a_orders", 0)
            .reader()
            .find_by_time_here(ByTime::AtOrAfter(TIME + 2), Isolation::ReadUncommitted)
            .expect("readable");
        assert_eq!(found.map(|found| found.offset), Some(2), "{codec:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_compaction_left_is_copied() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.set(|cluster| {
        let topic = cluster.topics.get_mut("a_orders").expect("made");
        topic
            .configs
            .insert("cleanup.policy".into(), "compact".into());
    });
    world.source.partition("a_orders", 0, |p| {
        let mut gaps = BatchBuilder::new(TIME)
            .codec(Codec::Gzip)
            .last_offset_delta(9);
        gaps.push_at(4, TIME, Some(b"k"), Some(b"v"), &[]);
        p.append_bytes(gaps.build().expect("builds"));
        let emptied = BatchBuilder::new(TIME)
            .base_offset(10)
            .producer(7, 0, 3)
            .last_offset_delta(4);
        p.append_bytes(emptied.build().expect("builds"));
    });
    world.copied("a_orders", 0, 15).await;
    world
        .until("no fault", Duration::from_secs(1), |world| {
            matches!(world.state("a_orders"), Some((TopicState::Active, _)))
        })
        .await;
}
