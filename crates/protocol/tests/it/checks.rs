//! Looking at all records of a batch: the same judgement as taking it apart, whatever was done to
//! its bytes, and within its bounds.

use super::rng::Rng;
use bytes::Bytes;
use gnomon_protocol::batch::{
    BatchBuilder, BatchError, BatchView, Brief, Codec, Effort, HEADER_BYTES, LENGTH_OVERHEAD,
    Offsets, RecordFault, check_records,
    compress::{compress, decompress},
    crc32c, max_timestamp, records, walk_records,
};
use std::ops::ControlFlow;

pub(super) const EFFORT: Effort = Effort {
    unpacked_max: 1 << 20,
    window_max: 8 << 20,
};

pub(super) fn view(bytes: Bytes) -> BatchView {
    BatchView::parse_only(bytes).expect("whole")
}

/// A valid batch: some records large enough to cross windows, some with headers, some with nulls.
fn any_batch(rng: &mut Rng, codec: Codec) -> BatchView {
    let mut builder = BatchBuilder::new(1_000_000).codec(codec);
    for _ in 0..=rng.below(30) {
        let large = rng.below(60) == 0;
        let size = rng.below(if large { 60_000 } else { 90 }) as usize;
        let value: Vec<u8> = (0..size).map(|_| rng.below(7) as u8).collect();
        let header = (Bytes::from_static(b"h"), Some(Bytes::from_static(b"v")));
        let headers = vec![header; rng.below(3) as usize];
        let key = (rng.below(3) > 0).then_some(&value[..size / 2]);
        let value = (rng.below(5) > 0).then_some(&value[..]);
        let timestamp = 1_000_000 + i64::from(rng.below(5_000)) - 2_000;
        builder.push(timestamp, key, value, &headers);
    }
    view(builder.build().expect("builds"))
}

/// The batch with damaged bytes after its header and a right checksum, its record count off by
/// some now and then.
fn damaged(rng: &mut Rng, codec: Codec) -> BatchView {
    let whole = any_batch(rng, codec);
    let mut payload = whole.payload().to_vec();
    // Damage below the codec, too: above it the codec's own checks find nearly everything.
    if codec != Codec::None && rng.below(2) == 0 {
        let mut plain = decompress(codec, &payload, 1 << 22).expect("valid");
        rng.damage(&mut plain);
        payload = compress(codec, &plain).expect("compresses");
    } else {
        rng.damage(&mut payload);
    }
    let mut bytes = whole.bytes()[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(&payload);
    if rng.below(8) == 0 {
        let at = 57 + rng.below(4) as usize;
        bytes[at] = bytes[at].wrapping_add(1) & 0x7f;
    }
    forged(bytes)
}

/// The bytes with a right length and checksum.
pub(super) fn forged(mut bytes: Vec<u8>) -> BatchView {
    let length = (bytes.len() - LENGTH_OVERHEAD) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    view(bytes.into())
}

fn briefs(view: &BatchView) -> Result<Vec<Brief>, BatchError> {
    let mut briefs = Vec::new();
    check_records(view, Offsets::Within, EFFORT, |brief| briefs.push(*brief))?;
    Ok(briefs)
}

#[test]
fn a_check_and_taking_apart_agree_whatever_was_done_to_the_bytes() {
    let (mut right, mut wrong) = (0, 0);
    for codec in Codec::ALL {
        for seed in 0..800 {
            let mut rng = Rng::new(seed);
            let batch = damaged(&mut rng, codec);
            let apart: Result<Vec<_>, _> =
                records(&batch, EFFORT.unpacked_max).and_then(Iterator::collect);
            match (briefs(&batch), apart) {
                (Ok(briefs), Ok(records)) => {
                    right += 1;
                    let of_records: Vec<_> = (0..)
                        .zip(&records)
                        .map(|(index, record)| Brief {
                            index,
                            offset_delta: (record.offset - batch.header().base_offset) as i32,
                            timestamp: record.timestamp,
                            has_key: record.key.is_some(),
                        })
                        .collect();
                    assert_eq!(briefs, of_records, "{codec:?} {seed}");
                    // Header keys are any bytes to Kafka; the message crate wants text.
                    let text = records.iter().flat_map(|record| &record.headers);
                    let text = text.map(|(key, _)| std::str::from_utf8(key));
                    if codec == Codec::None && text.into_iter().all(|key| key.is_ok()) {
                        others_read(&batch, records.len());
                    }
                }
                (Err(_), Err(_)) => wrong += 1,
                (check, apart) => panic!("{codec:?} {seed}: {check:?}, but {apart:?}"),
            }
        }
    }
    assert!(right > 100 && wrong > 2_000, "{right} right, {wrong} wrong");
}

/// The message crate's decoder reads it as well.
fn others_read(batch: &BatchView, count: usize) {
    let mut bytes = batch.bytes().clone();
    let decoded = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes)
        .expect("what a check lets pass is read by others");
    assert_eq!(decoded.records.len(), count);
}

#[test]
fn producers_number_their_records_from_zero_without_gaps() {
    let mut builder = BatchBuilder::new(0);
    builder.push_at(0, 0, None, None, &[]);
    builder.push_at(2, 0, None, None, &[]);
    let gap = view(builder.build().expect("builds"));
    let check = |offsets| check_records(&gap, offsets, EFFORT, |_| {});
    assert!(check(Offsets::Within).is_ok());
    let why = RecordFault::OffsetOrder {
        found: 2,
        expected: 1,
    };
    assert_eq!(
        check(Offsets::Consecutive),
        Err(BatchError::Record { index: 1, why })
    );
}

#[test]
fn batches_that_compaction_emptied_are_right() {
    for codec in Codec::ALL {
        let empty = BatchBuilder::new(5).codec(codec).last_offset_delta(9);
        let empty = view(empty.build().expect("builds"));
        let facts = check_records(&empty, Offsets::Within, EFFORT, |_| {}).expect("right");
        assert_eq!(facts.max_timestamp, empty.header().max_timestamp);
        assert_eq!(records(&empty, 0).expect("right").count(), 0);
    }
}

#[test]
fn the_largest_and_smallest_time_are_those_of_the_records() {
    for codec in Codec::ALL {
        let batch = BatchBuilder::new(100)
            .codec(codec)
            .record(100, None, None, &[])
            .record(-1, None, None, &[])
            .record(70, None, None, &[])
            .record(300, None, None, &[]);
        let batch = view(batch.build().expect("builds"));
        let facts = check_records(&batch, Offsets::Consecutive, EFFORT, |_| {}).expect("right");
        assert_eq!((facts.max_timestamp, facts.min_timestamp), (300, Some(70)));
    }
}

#[test]
fn bombs_stop_at_the_bound_and_little_of_them_is_held() {
    let zeros = vec![0; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = BatchBuilder::new(0)
            .codec(codec)
            .record(0, None, Some(&zeros), &[]);
        let bomb = view(bomb.build().expect("builds"));
        let check = |unpacked_max| {
            let effort = Effort {
                unpacked_max,
                ..EFFORT
            };
            check_records(&bomb, Offsets::Consecutive, effort, |_| {})
        };
        let max = 1 << 20;
        assert_eq!(
            check(max),
            Err(BatchError::DecompressedTooLarge { codec, max })
        );
        let unpacked = check(65 << 20).expect("below the bound").unpacked;
        assert!(unpacked > 64 << 20, "{unpacked}");
    }
}

#[test]
fn a_block_or_window_larger_than_allowed_is_not_made_room_for() {
    let data = vec![b'x'; 9 << 20];
    let raw = gnomon_protocol::batch::compress::compress_snappy_raw(&data).expect("compresses");
    let mut model = view(
        BatchBuilder::new(0)
            .codec(Codec::Snappy)
            .record(0, None, None, &[])
            .build()
            .expect("builds"),
    )
    .bytes()[..HEADER_BYTES]
        .to_vec();
    model.extend_from_slice(&raw);
    let effort = Effort {
        unpacked_max: 64 << 20,
        window_max: 8 << 20,
    };
    assert_eq!(
        check_records(&forged(model), Offsets::Within, effort, |_| {}),
        Err(BatchError::DecompressedTooLarge {
            codec: Codec::Snappy,
            max: 8 << 20
        })
    );
}

#[test]
fn a_walk_ends_where_its_visitor_has_seen_enough() {
    let mut rng = Rng::new(3);
    let batch = any_batch(&mut rng, Codec::Zstd);
    let mut seen = 0;
    walk_records(&batch, EFFORT, |_| {
        seen += 1;
        ControlFlow::Break(())
    })
    .expect("the first record is right");
    assert_eq!(seen, 1);
}

#[test]
fn a_maximum_timestamp_is_believed_only_if_it_can_be_right() {
    let honest = BatchBuilder::new(1_000)
        .record(1_000, None, None, &[])
        .record(1_500, None, None, &[]);
    let honest = view(honest.build().expect("builds"));
    for (claimed, believed) in [(-1, 1_500), (0, 1_500), (999, 1_500), (1_500, 1_500)] {
        let batch = honest.clone().with_max_timestamp(claimed);
        assert_eq!(
            max_timestamp(&view(batch.bytes().clone())),
            believed,
            "{claimed}"
        );
        let placed = batch.clone().place_verbatim();
        assert_eq!(placed.to_bytes(), batch.bytes(), "byte for byte");
        assert_eq!(placed.max_timestamp(), believed);
    }
}
