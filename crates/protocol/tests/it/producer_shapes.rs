//! Compressed data of producers: shapes that one of the consumers cannot read to their end are
//! refused, and what a source holds already is copied.
//!
//! Kafka's consumers unpack with libraries of their own, which differ in what they take after the
//! first compressed stream of a batch: Java's (`Lz4BlockInputStream`, `GZIPInputStream`,
//! snappy-java), and librdkafka's (zlib, lz4, its own xerial blocks).

use super::checks::{EFFORT, forged, view};
use gnomon_protocol::batch::{
    BatchBuilder, BatchError, BatchView, Codec, HEADER_BYTES, Offsets, check_records,
    compress::compress,
};

/// A batch of one record whose compressed payload `shape` makes from the record's bytes.
fn shaped(codec: Codec, shape: impl Fn(&[u8]) -> Vec<u8>) -> BatchView {
    let plain = BatchBuilder::new(0).record(0, None, Some(&[b'v'; 600]), &[]);
    let plain = view(plain.build().expect("builds"));
    let attributes = BatchBuilder::new(0).codec(codec).record(0, None, None, &[]);
    let attributes = view(attributes.build().expect("builds")).bytes()[ATTRIBUTES_AT];
    let mut bytes = plain.bytes()[..HEADER_BYTES].to_vec();
    bytes[ATTRIBUTES_AT] = attributes;
    bytes.extend_from_slice(&shape(&plain.payload()));
    forged(bytes)
}

/// The low byte of a batch's attributes, which holds the codec.
const ATTRIBUTES_AT: usize = 22;

fn refused_from_producers_and_copied_from_sources(codec: Codec, batch: &BatchView, shape: &str) {
    assert!(
        check_records(batch, Offsets::Within, EFFORT, |_| {}).is_ok(),
        "{shape} of a source"
    );
    refused_from_producers(codec, batch, shape);
}

fn refused_from_producers(codec: Codec, batch: &BatchView, shape: &str) {
    let refusal = check_records(batch, Offsets::Consecutive, EFFORT, |_| {});
    assert!(
        matches!(&refusal, Err(BatchError::Decompress { codec: found, .. }) if *found == codec),
        "{shape} of a producer: {refusal:?}"
    );
}

/// Java's consumers refuse LZ4 frames with linked blocks; a source may hold them all the same.
#[test]
fn producers_compress_lz4_blocks_independently() {
    let batch = shaped(Codec::Lz4, |records| {
        let linked =
            lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
        lz4_frame(linked, records)
    });
    refused_from_producers_and_copied_from_sources(Codec::Lz4, &batch, "linked blocks");
}

fn lz4_frame(info: lz4_flex::frame::FrameInfo, data: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    std::io::Write::write_all(&mut encoder, data).expect("in memory");
    encoder.finish().expect("in memory")
}

/// librdkafka's consumers refuse bytes after the first LZ4 frame.
#[test]
fn producers_send_one_lz4_frame_and_nothing_after_it() {
    let one = |records: &[u8]| compress(Codec::Lz4, records).expect("compresses");
    for (shape, after) in [
        ("a second frame", one(b"")),
        ("one byte more", vec![0]),
        (
            "a skippable frame",
            vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0],
        ),
    ] {
        let batch = shaped(Codec::Lz4, |records| [one(records), after.clone()].concat());
        refused_from_producers_and_copied_from_sources(Codec::Lz4, &batch, shape);
    }
}

/// Java's consumers take an empty uncompressed block for the end of the frame, and stop at a
/// compressed block that holds nothing.
#[test]
fn producers_send_no_empty_lz4_blocks() {
    let uncompressed = 0x8000_0000_u32.to_le_bytes().to_vec();
    let compressed = [&1_u32.to_le_bytes()[..], &[0]].concat();
    for (shape, empty) in [("uncompressed", uncompressed), ("compressed", compressed)] {
        let batch = shaped(Codec::Lz4, |records| {
            let frame = compress(Codec::Lz4, records).expect("compresses");
            let (header, blocks) = frame.split_at(LZ4_HEADER_BYTES);
            [header, &empty, blocks].concat()
        });
        refused_from_producers(Codec::Lz4, &batch, shape);
    }
}

/// Magic, two bytes of flags, and their checksum: a frame without content size and dictionary.
const LZ4_HEADER_BYTES: usize = 7;

/// A frame may carry the size of its content, and checksums of its blocks and of all: none of them
/// is an error.
#[test]
fn producers_send_lz4_frames_with_all_of_the_formats_options() {
    for options in 0..8 {
        let batch = shaped(Codec::Lz4, |records| {
            let info = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_checksums(options & 1 != 0)
                .content_checksum(options & 2 != 0)
                .content_size((options & 4 != 0).then_some(records.len() as u64));
            lz4_frame(info, records)
        });
        check_records(&batch, Offsets::Consecutive, EFFORT, |_| {}).expect("right");
    }
}

/// librdkafka's consumers stop at the end of the first gzip member, refuse a second stream of
/// snappy blocks, and make room for the first zstd frame only; Java's go on.
#[test]
fn producers_send_one_compressed_stream() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        let batch = shaped(codec, |records| {
            let (first, second) = records.split_at(records.len() / 2);
            [first, second]
                .map(|half| compress(codec, half).expect("compresses"))
                .concat()
        });
        refused_from_producers_and_copied_from_sources(codec, &batch, "two streams");
    }
}

/// Java's consumers refuse blocks that say to need a version before the first one.
#[test]
fn producers_send_snappy_blocks_of_a_version_that_exists() {
    let batch = shaped(Codec::Snappy, |records| {
        let mut blocks = compress(Codec::Snappy, records).expect("compresses");
        blocks[11] = 0;
        blocks
    });
    refused_from_producers_and_copied_from_sources(Codec::Snappy, &batch, "version 0");
}
