//! Batches: from bytes to placed, what is refused, and the message crate's decoder on what we
//! build.

use super::rng::Rng;
use bytes::{BufMut, Bytes, BytesMut};
use gnomon_protocol::{
    batch::{
        BatchBuilder, BatchError, BatchHeader, BatchView, BuildError, Codec, HEADER_BYTES, Marker,
        Record, RecordFault, crc32c, marker_batch, parse_marker, records, verify_crc,
    },
    ids::BatchEpoch,
};

type Headers = Vec<(Bytes, Option<Bytes>)>;

fn three() -> Bytes {
    BatchBuilder::new(1_000)
        .producer(9, 3, 100)
        .record(1_000, Some(b"k1"), Some(b"v1"), &[])
        .record(1_005, None, Some(b""), &[])
        .record(990, Some(b""), None, &[])
        .build()
        .expect("builds")
}

fn view(bytes: Bytes) -> BatchView {
    BatchView::parse_only(bytes).expect("one whole batch")
}

fn all(view: &BatchView) -> Result<Vec<Record>, BatchError> {
    records(view, 1 << 20)?.collect()
}

/// Bytes changed at a place, and the checksum made right again.
fn changed(bytes: &Bytes, at: usize, with: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn header_and_records() {
    let view = view(three());
    let header = view.header();
    assert_eq!(
        (
            header.base_offset,
            header.last_offset(),
            header.next_offset()
        ),
        (0, 2, 3)
    );
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (1_000, 1_005)
    );
    assert_eq!(
        (
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.last_sequence()
        ),
        (9, 3, 100, 102)
    );
    assert_eq!(
        (header.record_count, header.magic, header.leader_epoch),
        (3, 2, BatchEpoch::NONE)
    );
    assert_eq!(header.total_bytes(), view.bytes().len());
    assert_eq!(header.to_bytes(), view.bytes()[..HEADER_BYTES]);
    assert!(
        verify_crc(view.bytes())
            && header.has_producer()
            && !header.is_control()
            && !header.is_transactional()
    );

    // Null and empty are different things.
    let found = all(&view).expect("valid");
    let record =
        |offset, timestamp, key: Option<&'static str>, value: Option<&'static str>| Record {
            offset,
            timestamp,
            key: key.map(Bytes::from),
            value: value.map(Bytes::from),
            headers: vec![],
        };
    assert_eq!(
        found,
        [
            record(0, 1_000, Some("k1"), Some("v1")),
            record(1, 1_005, None, Some("")),
            record(2, 990, Some(""), None)
        ]
    );
}

#[test]
fn sequences_wrap() {
    let build = |sequence| {
        let batch = BatchBuilder::new(0)
            .producer(1, 0, sequence)
            .record(0, None, None, &[])
            .record(0, None, None, &[]);
        view(batch.build().expect("builds"))
            .header()
            .last_sequence()
    };
    assert_eq!(build(i32::MAX - 1), i32::MAX);
    assert_eq!(build(i32::MAX), 0);
    assert_eq!(build(-1), -1);
}

#[test]
fn header_keys_repeat_and_are_any_bytes() {
    let headers: Headers = vec![
        (Bytes::from_static(b"k"), Some(Bytes::from_static(b"1"))),
        (Bytes::from_static(b"k"), None),
        (Bytes::from_static(b"\xff\xfe"), Some(Bytes::new())),
        (Bytes::new(), Some(Bytes::from_static(b"2"))),
        (Bytes::from_static(b"k"), Some(Bytes::from_static(b"1"))),
    ];
    for codec in Codec::ALL {
        let batch = BatchBuilder::new(0)
            .codec(codec)
            .record(0, None, None, &headers)
            .build()
            .expect("builds");
        assert_eq!(
            all(&view(batch)).expect("valid")[0].headers,
            headers,
            "{codec:?}"
        );
    }
}

#[test]
fn placing_changes_16_bytes() {
    let bytes = three();
    let placed = view(bytes.clone()).place(500, BatchEpoch(7));
    assert_eq!(
        (
            placed.base_offset(),
            placed.next_offset(),
            placed.total_bytes()
        ),
        (500, 503, bytes.len())
    );
    assert_eq!(
        (placed.header().leader_epoch, placed.header().base_offset),
        (BatchEpoch(7), 500)
    );
    assert_eq!(
        placed.body().as_ptr(),
        bytes[16..].as_ptr(),
        "shared, not copied"
    );
    let whole = placed.to_bytes();
    assert_eq!(whole[..16], placed.prefix()[..]);
    let again = view(whole.clone());
    assert_eq!(again.header(), placed.header());
    assert_eq!(
        all(&again)
            .expect("valid")
            .last()
            .map(|record| record.offset),
        Some(502)
    );
    assert_eq!(again.place_verbatim().to_bytes(), whole);
}

#[test]
fn log_append_time_is_under_the_checksum() {
    let placed = view(three()).place_log_append_time(10, BatchEpoch(1), 5_000);
    assert_eq!(placed.header().base_timestamp, 1_000);
    let again = view(placed.to_bytes());
    assert_eq!(again.header(), placed.header());
    assert!(again.header().log_append_time());
    assert!(
        all(&again)
            .expect("valid")
            .iter()
            .all(|record| record.timestamp == 5_000)
    );
}

#[test]
fn batches_come_off_the_front_one_by_one() {
    let one = three();
    let mut buffer = BytesMut::new();
    buffer.put_slice(&one);
    buffer.put_slice(&one);
    buffer.put_slice(&one[..one.len() - 1]);
    let mut buffer = buffer.freeze();
    for _ in 0..2 {
        assert_eq!(
            BatchView::parse_first(&mut buffer)
                .expect("valid")
                .expect("whole")
                .bytes(),
            &one
        );
    }
    assert_eq!(BatchView::parse_first(&mut buffer), Ok(None));
    assert_eq!(buffer.len(), one.len() - 1, "the part is left");
    assert_eq!(BatchView::parse_first(&mut Bytes::new()), Ok(None));
    for length in 0..one.len() {
        assert_eq!(
            BatchView::parse_first(&mut one.slice(..length)),
            Ok(None),
            "cut at {length}"
        );
        assert!(matches!(
            BatchView::parse_only(one.slice(..length)),
            Err(BatchError::Truncated { .. })
        ));
    }
    let more = Bytes::from([&one[..], b"x"].concat());
    assert_eq!(
        BatchView::parse_only(more),
        Err(BatchError::Trailing { bytes: 1 })
    );
}

#[test]
fn every_flipped_bit_behind_the_prefix_is_found() {
    let bytes = three();
    for at in 16 * 8..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(
            BatchView::parse_only(Bytes::from(flipped.clone())).is_err(),
            "bit {at}"
        );
        assert!(at < 17 * 8 || !verify_crc(&flipped));
    }
    assert!(!verify_crc(b"") && !verify_crc(&bytes[..60]));
}

#[test]
fn implausible_headers() {
    let bytes = three();
    let with = |at, with: &[u8]| BatchHeader::parse(&changed(&bytes, at, with));
    assert_eq!(with(16, &[1]), Err(BatchError::Magic { magic: 1 }));
    assert_eq!(with(16, &[0xff]), Err(BatchError::Magic { magic: -1 }));
    assert_eq!(
        BatchHeader::parse(&[0; 30]),
        Err(BatchError::Magic { magic: 0 }),
        "a short old message set"
    );
    assert_eq!(
        BatchHeader::parse(&bytes[..60]),
        Err(BatchError::Truncated { have: 60, need: 61 })
    );
    assert_eq!(
        with(8, &48_i32.to_be_bytes()),
        Err(BatchError::Length { length: 48 })
    );
    assert_eq!(
        with(8, &(-1_i32).to_be_bytes()),
        Err(BatchError::Length { length: -1 })
    );
    assert_eq!(
        with(0, &(-1_i64).to_be_bytes()),
        Err(BatchError::BaseOffset { base_offset: -1 })
    );
    assert_eq!(
        with(23, &(-1_i32).to_be_bytes()),
        Err(BatchError::LastOffsetDelta { delta: -1 })
    );
    assert_eq!(
        with(57, &(-1_i32).to_be_bytes()),
        Err(BatchError::RecordCount { count: -1 })
    );
    let beyond = BatchError::OffsetOverflow {
        base_offset: i64::MAX - 2,
        delta: 2,
    };
    assert_eq!(with(0, &(i64::MAX - 2).to_be_bytes()), Err(beyond));
    assert!(with(0, &(i64::MAX - 3).to_be_bytes()).is_ok());
    assert_eq!(
        with(21, &5_i16.to_be_bytes()).expect("plausible").codec(),
        Err(BatchError::UnknownCodec { id: 5 })
    );
}

/// A batch with `records` as its bytes, counted as `count`.
fn raw(count: i32, records: &[u8]) -> Result<Vec<Record>, BatchError> {
    let mut bytes = three()[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(records);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    all(&view(changed(&Bytes::from(bytes), 21, &[0, 0])))
}

#[test]
fn records_that_lie() {
    let fault = |records: &[u8]| match raw(1, records) {
        Err(BatchError::Record { index: 0, why }) => why,
        other => panic!("{other:02x?}"),
    };
    // Length, attributes, timestamp, offset, key, value, headers: each a zigzag varint.
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(raw(1, &good).expect("valid").len(), 1);
    assert_eq!(raw(0, &[]), Ok(vec![]));
    assert_eq!(
        raw(1, &[good, good].concat()),
        Err(BatchError::RecordsTrailing { count: 1, bytes: 7 })
    );
    assert!(matches!(
        raw(2, &good),
        Err(BatchError::Record {
            index: 1,
            why: RecordFault::Truncated
        })
    ));
    assert_eq!(fault(&[14, 0, 0, 0, 1, 1, 0]), RecordFault::Truncated);
    assert_eq!(fault(&[14, 0, 0, 0, 1, 1, 0, 0]), RecordFault::Trailing(1));
    assert_eq!(fault(&[1]), RecordFault::Length(-1));
    assert_eq!(
        fault(&[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        RecordFault::Truncated
    );
    assert_eq!(fault(&[0xff, 0xff, 0xff, 0xff, 0x1f]), RecordFault::Varint);
    assert_eq!(fault(&[12, 0, 0, 1, 1, 1, 0]), RecordFault::OffsetDelta(-1));
    assert_eq!(fault(&[12, 0, 0, 6, 1, 1, 0]), RecordFault::OffsetDelta(3));
    assert_eq!(fault(&[12, 0, 0, 0, 3, 1, 0]), RecordFault::Length(-2));
    assert_eq!(fault(&[12, 0, 0, 0, 2, 1, 0]), RecordFault::Truncated);
    assert_eq!(
        fault(&[12, 0, 0, 0, 1, 1, 2]),
        RecordFault::Length(1),
        "a header in no bytes"
    );
    assert_eq!(
        fault(&[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        RecordFault::Length(i64::from(i32::MAX))
    );
    assert_eq!(
        fault(&[16, 0, 0, 0, 1, 1, 2, 1, 1]),
        RecordFault::Length(-1),
        "a null header key"
    );
    let far = [
        30, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 1, 1, 0,
    ];
    assert_eq!(fault(&far), RecordFault::TimestampDelta(i64::MAX));
}

#[test]
fn gaps_and_emptied_batches() {
    let mut builder = BatchBuilder::new(0).last_offset_delta(9);
    builder.push_at(2, 0, None, Some(b"a"), &[]);
    builder.push_at(5, 0, None, Some(b"b"), &[]);
    let gaps = view(builder.build().expect("builds"));
    assert_eq!(
        (gaps.header().last_offset_delta, gaps.header().record_count),
        (9, 2)
    );
    let offsets: Vec<i64> = all(&gaps)
        .expect("valid")
        .iter()
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets, [2, 5]);

    let emptied = view(
        BatchBuilder::new(5)
            .base_offset(40)
            .last_offset_delta(4)
            .producer(1, 2, 3)
            .build()
            .expect("builds"),
    );
    assert_eq!(
        (
            emptied.header().next_offset(),
            emptied.header().last_sequence()
        ),
        (45, 7)
    );
    assert_eq!(all(&emptied), Ok(vec![]));
}

#[test]
fn what_cannot_be_built() {
    let mut builder = BatchBuilder::new(0);
    builder.push_at(3, 0, None, None, &[]);
    builder.push_at(3, 0, None, None, &[]);
    assert_eq!(
        builder.build(),
        Err(BuildError::OffsetDelta { index: 1, delta: 3 })
    );
    let far = BatchBuilder::new(i64::MIN)
        .record(1, None, None, &[])
        .build();
    assert_eq!(
        far,
        Err(BuildError::Timestamp {
            index: 0,
            timestamp: 1
        })
    );
    assert!(
        BatchBuilder::new(0)
            .base_offset(i64::MAX)
            .record(0, None, None, &[])
            .build()
            .is_err()
    );
}

#[test]
fn markers() {
    for commit in [true, false] {
        let marker = view(marker_batch(commit, 77, 4, 12, 1_234));
        let header = *marker.header();
        assert!(header.is_control() && header.is_transactional());
        assert_eq!(
            (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence
            ),
            (77, 4, -1)
        );
        assert_eq!(
            (
                header.record_count,
                header.max_timestamp,
                header.last_sequence()
            ),
            (1, 1_234, -1)
        );
        let records = all(&marker).expect("valid");
        assert_eq!(
            parse_marker(&records[0]),
            Some(Marker {
                commit,
                coordinator_epoch: 12
            })
        );
        assert_eq!(
            records[0].key.as_deref(),
            Some(&[0, 0, 0, u8::from(commit)][..])
        );
        let other = Record {
            key: Some(Bytes::from_static(&[0, 0, 0, 2])),
            ..records[0].clone()
        };
        assert_eq!(parse_marker(&other), None, "a leader change, not a marker");
        assert_eq!(
            parse_marker(&Record {
                value: None,
                ..records[0].clone()
            }),
            None
        );
    }
}

/// Anything at all after a right checksum: records never panic, and are never more than the header
/// counts.
#[test]
fn damaged_records() {
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let codec = Codec::ALL[rng.below(5) as usize];
        let headers: Headers = (0..rng.below(3))
            .map(|_| (Bytes::from_static(b"h"), None))
            .collect();
        let mut builder = BatchBuilder::new(0).codec(codec);
        for _ in 0..rng.below(5) {
            builder.push(
                i64::from(rng.below(1_000)),
                Some(b"key"),
                Some(&[7; 40]),
                &headers,
            );
        }
        let mut body = builder.build().expect("builds")[HEADER_BYTES..].to_vec();
        rng.damage(&mut body);
        let mut bytes = three()[..HEADER_BYTES].to_vec();
        bytes.extend_from_slice(&body);
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let mut attributes = codec.id().to_be_bytes();
        attributes[0] = rng.below(2) as u8;
        if let Ok(found) = all(&view(changed(&Bytes::from(bytes), 21, &attributes))) {
            assert_eq!(found.len(), 3);
        }
    }
}
