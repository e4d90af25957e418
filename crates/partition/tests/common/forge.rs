//! Batches with a right checksum and something wrong below it: headers that lie about their records,
//! and records that no consumer can read.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

use super::{NOW, view};
use gnomon_protocol::batch::{
    BatchBuilder, BatchView, Codec, HEADER_BYTES, LENGTH_OVERHEAD, compress::compress, crc32c,
};

const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const RECORD_COUNT_AT: usize = 57;

/// Changes the bytes of a batch, and writes length and checksum for what they are then.
pub fn forge(batch: &BatchView, change: impl FnOnce(&mut Vec<u8>)) -> BatchView {
    let mut bytes = batch.bytes().to_vec();
    change(&mut bytes);
    let length = (bytes.len() - LENGTH_OVERHEAD) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    view(bytes.into())
}

/// The header claims so many records, at consecutive offsets.
pub fn with_count(batch: &BatchView, count: i32) -> BatchView {
    forge(batch, |bytes| set_count(bytes, count))
}

/// The header's maximum timestamp is another one.
pub fn with_max_timestamp(batch: &BatchView, timestamp: i64) -> BatchView {
    forge(batch, |bytes| {
        bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&timestamp.to_be_bytes());
    })
}

/// The codec bits are others, the bytes of the records stay.
pub fn with_codec_bits(batch: &BatchView, bits: u8) -> BatchView {
    forge(batch, |bytes| {
        bytes[ATTRIBUTES_AT + 1] = bytes[ATTRIBUTES_AT + 1] & !0b111 | bits
    })
}

/// A batch of `count` records whose bytes are exactly these, compressed as told.
pub fn of_raw(codec: Codec, count: i32, records: &[u8]) -> BatchView {
    of_payload(codec, count, &compress(codec, records).unwrap())
}

/// The same with the bytes that stand after the header.
pub fn of_payload(codec: Codec, count: i32, payload: &[u8]) -> BatchView {
    let model = BatchBuilder::new(NOW)
        .codec(codec)
        .record(NOW, None, Some(b"v"), &[])
        .build()
        .unwrap();
    forge(&view(model), |bytes| {
        bytes.truncate(HEADER_BYTES);
        bytes.extend_from_slice(payload);
        set_count(bytes, count);
        bytes[BASE_TIMESTAMP_AT..BASE_TIMESTAMP_AT + 8].copy_from_slice(&NOW.to_be_bytes());
    })
}

fn set_count(bytes: &mut [u8], count: i32) {
    bytes[LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4]
        .copy_from_slice(&(count - 1).to_be_bytes());
    bytes[RECORD_COUNT_AT..RECORD_COUNT_AT + 4].copy_from_slice(&count.to_be_bytes());
}

/// A record from the bytes after its length.
pub fn raw_record(body: &[u8]) -> Vec<u8> {
    let mut record = varint(body.len() as i64);
    record.extend_from_slice(body);
    record
}

/// A zigzag varint.
pub fn varint(value: i64) -> Vec<u8> {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    let mut out = Vec::new();
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
    out
}

/// A record's body: no attributes, timestamp delta 0, then the offset delta and what follows it.
pub fn body(offset_delta: i64, rest: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(varint(offset_delta));
    body.extend(rest.concat());
    body
}

/// A right record with a value of one byte.
pub fn right(offset_delta: i64) -> Vec<u8> {
    let fields = [varint(-1), varint(1), b"v".to_vec(), varint(0)];
    raw_record(&body(offset_delta, &fields))
}

/// Batches whose header is right in itself, and that no consumer can read, each with its name.
pub fn unreadable() -> Vec<(String, BatchView)> {
    let mut shapes: Vec<(String, BatchView)> = Vec::new();
    let three = [right(0), right(1), right(2)].concat();
    for codec in Codec::ALL {
        let mut add = |what: &str, batch| shapes.push((format!("{what}, {codec:?}"), batch));
        let whole = of_raw(codec, 3, &three);
        add("fewer records than counted", with_count(&whole, 4));
        add("more records than counted", with_count(&whole, 2));
        add("no records at all", of_raw(codec, 1, &[]));
        add(
            "bytes behind the last record",
            of_raw(codec, 3, &[&three[..], &[0]].concat()),
        );
        let mut bad = |what: &str, record: Vec<u8>| add(what, of_raw(codec, 1, &record));
        bad(
            "a record longer than the batch",
            [varint(1 << 20), vec![0; 40]].concat(),
        );
        bad(
            "a record of negative length",
            [varint(-5), vec![0; 40]].concat(),
        );
        bad("an empty record", raw_record(&[]));
        bad(
            "a key longer than its record",
            raw_record(&body(
                0,
                &[varint(50), b"k".to_vec(), varint(-1), varint(0)],
            )),
        );
        bad(
            "a value longer than its record",
            raw_record(&body(0, &[varint(-1), varint(9), b"v".to_vec(), varint(0)])),
        );
        bad(
            "a negative number of headers",
            raw_record(&body(0, &[varint(-1), varint(-1), varint(-1)])),
        );
        bad(
            "more headers than there is room for",
            raw_record(&body(0, &[varint(-1), varint(-1), varint(1 << 30)])),
        );
        bad(
            "a header key of negative length",
            raw_record(&body(
                0,
                &[varint(-1), varint(-1), varint(1), varint(-1), varint(-1)],
            )),
        );
        bad(
            "a header value longer than its record",
            raw_record(&body(
                0,
                &[varint(-1), varint(-1), varint(1), varint(0), varint(77)],
            )),
        );
        bad(
            "bytes behind the headers of a record",
            raw_record(&body(0, &[varint(-1), varint(-1), varint(0), vec![7]])),
        );
        bad(
            "a varint that does not end",
            raw_record(&[
                0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ]),
        );
        add("an offset beyond the batch", of_raw(codec, 1, &right(1)));
    }
    let plain = of_raw(Codec::None, 3, &three);
    for bits in 1..=4 {
        shapes.push((
            format!("codec bits {bits} over plain records"),
            with_codec_bits(&plain, bits),
        ));
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let records: Vec<u8> = (0..400).flat_map(right).collect();
        let packed = compress(codec, &records).unwrap();
        let foreign = of_raw(codec, 3, &three);
        shapes.push((
            format!("{codec:?} under the bits of none"),
            with_codec_bits(&foreign, 0),
        ));
        for (what, cut) in [
            ("half", packed.len() / 2),
            ("all but a byte", packed.len() - 1),
        ] {
            let cut = of_payload(codec, 400, &packed[..cut]);
            shapes.push((format!("{what} of the {codec:?} data"), cut));
        }
        let mut damaged = packed.clone();
        let at = packed.len() / 2;
        damaged[at..at + 4]
            .iter_mut()
            .for_each(|byte| *byte ^= 0xff);
        shapes.push((
            format!("damaged {codec:?} data"),
            of_payload(codec, 400, &damaged),
        ));
    }
    shapes
}
