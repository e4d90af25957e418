//! Every codec both ways, the two kinds of snappy, and bombs.

use super::rng::Rng;
use bytes::Bytes;
use gnomon_protocol::batch::{
    BatchBuilder, BatchError, BatchView, Codec,
    compress::{compress, compress_snappy_raw, decompress},
    records,
};

#[test]
fn round_trips_of_every_size() {
    let mut rng = Rng::new(1);
    for codec in Codec::ALL {
        for size in [0, 1, 100, 32 * 1024, 32 * 1024 + 1, 300_000] {
            let noise: Vec<u8> = (0..size).map(|_| rng.below(256) as u8).collect();
            let text: Vec<u8> = (0..size)
                .map(|at| b"all work and no play "[at % 21])
                .collect();
            for data in [noise, text] {
                let packed = compress(codec, &data).expect("compresses");
                assert_eq!(
                    decompress(codec, &packed, size).expect("the limit is the size"),
                    data,
                    "{codec:?} {size}"
                );
            }
        }
    }
}

#[test]
fn batches_of_every_codec_are_smaller_and_the_same() {
    let mut sizes = Vec::new();
    let mut contents = Vec::new();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(100).codec(codec);
        for n in 0..1_000_i64 {
            builder.push(
                100 + n,
                Some(&n.to_be_bytes()),
                Some(b"the same value again and again"),
                &[],
            );
        }
        let view = BatchView::parse_only(builder.build().expect("builds")).expect("whole");
        assert_eq!(view.header().codec(), Ok(codec));
        sizes.push(view.bytes().len());
        contents.push(
            records(&view, 1 << 20)
                .expect("valid")
                .collect::<Result<Vec<_>, _>>()
                .expect("valid"),
        );
    }
    assert!(
        sizes[1..].iter().all(|size| size * 2 < sizes[0]),
        "{sizes:?}"
    );
    assert!(
        contents
            .iter()
            .all(|content| *content == contents[0] && content.len() == 1_000)
    );
}

/// librdkafka writes raw snappy, Java xerial's blocks, and streams may be put one after another.
#[test]
fn both_kinds_of_snappy() {
    let data = vec![b'x'; 100_000];
    let raw = compress_snappy_raw(&data).expect("compresses");
    assert_eq!(decompress(Codec::Snappy, &raw, 100_000).expect("raw"), data);
    let xerial = compress(Codec::Snappy, &data).expect("compresses");
    assert_eq!(xerial[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let twice = decompress(Codec::Snappy, &[&xerial[..], &xerial[..]].concat(), 200_000)
        .expect("two streams");
    assert_eq!(twice, [&data[..], &data[..]].concat());
    for length in 0..xerial.len() {
        // A cut inside is an error, or leaves whole blocks.
        if let Ok(part) = decompress(Codec::Snappy, &xerial[..length], 100_000) {
            assert!(part.len() % (32 * 1024) == 0, "cut at {length}");
        }
    }
    let negative = [&xerial[..16], &[0xff; 4][..]].concat();
    assert!(matches!(
        decompress(Codec::Snappy, &negative, 10),
        Err(BatchError::Decompress { .. })
    ));
}

#[test]
fn bombs_stop_at_the_limit() {
    let max = 1 << 20;
    let zeros = vec![0; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = compress(codec, &zeros).expect("compresses");
        assert_eq!(
            decompress(codec, &bomb, max),
            Err(BatchError::DecompressedTooLarge { codec, max }),
            "{codec:?}"
        );
    }
    let raw = compress_snappy_raw(&zeros).expect("compresses");
    assert_eq!(
        decompress(Codec::Snappy, &raw, max),
        Err(BatchError::DecompressedTooLarge {
            codec: Codec::Snappy,
            max
        })
    );
    // A claim alone, within the limit: 2 GiB in five bytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x07];
    assert!(matches!(
        decompress(Codec::Snappy, &claim, usize::MAX >> 1),
        Err(BatchError::Decompress { .. })
    ));
}

#[test]
fn a_batch_that_is_a_bomb() {
    let value = vec![0; 8 << 20];
    let batch = BatchBuilder::new(0)
        .codec(Codec::Zstd)
        .record(0, None, Some(&value), &[])
        .build()
        .expect("builds");
    assert!(batch.len() < 10_000);
    let view = BatchView::parse_only(batch).expect("whole");
    let error = records(&view, 1 << 20).expect_err("above the limit");
    assert_eq!(
        error,
        BatchError::DecompressedTooLarge {
            codec: Codec::Zstd,
            max: 1 << 20
        }
    );
    assert_eq!(records(&view, 9 << 20).expect("below").count(), 1);
}

#[test]
fn values_are_slices_of_an_uncompressed_batch() {
    let batch = BatchBuilder::new(0)
        .record(0, None, Some(b"value"), &[])
        .build()
        .expect("builds");
    let range = batch.as_ptr_range();
    let view = BatchView::parse_only(batch.clone()).expect("whole");
    let record = records(&view, 0)
        .expect("no limit on what is there")
        .next()
        .expect("one")
        .expect("valid");
    assert!(
        range.contains(
            &record
                .value
                .as_ref()
                .map_or(std::ptr::null(), |value: &Bytes| value.as_ptr())
        )
    );
}

#[test]
fn names() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    assert_eq!(Codec::from_name("producer"), None);
}
