//! The codecs of record batches, both ways, with a bound on what decompressing may produce.
//!
//! A few bytes can claim to be gigabytes: every codec here reads at most one byte more than the
//! caller's limit and reserves nothing on a claim alone. Formats: gzip members; snappy raw
//! (librdkafka) or in xerial's blocks (Java, Sarama; also what we write); LZ4 frames; zstd frames.

use super::{BatchError, Codec};
use std::io::{Read, Write};

/// `\x82SNAPPY\0`, then two 32-bit versions: what xerial's snappy-java puts in front of its blocks.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// Bytes that one xerial block holds uncompressed.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// A snappy copy of three bytes makes at most 64: a claim beyond that is a lie.
const SNAPPY_RATIO_MAX: usize = 24;
/// The largest zstd window that we make room for, as a power of two: what zstd's own decoder takes,
/// 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
const ZSTD_LEVEL: i32 = 3;

/// Decompresses `data`, at most `max` bytes.
pub fn decompress(codec: Codec, data: &[u8], max: usize) -> Result<Vec<u8>, BatchError> {
    match codec {
        Codec::None if data.len() > max => Err(BatchError::DecompressedTooLarge { codec, max }),
        Codec::None => Ok(data.to_vec()),
        Codec::Gzip => read_bounded(codec, flate2::read::MultiGzDecoder::new(data), max),
        Codec::Snappy => snappy(data, max),
        Codec::Lz4 => read_bounded(codec, lz4_flex::frame::FrameDecoder::new(data), max),
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data)
                .map_err(|error| damaged(codec, error))?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(|error| damaged(codec, error))?;
            read_bounded(codec, decoder, max)
        }
    }
}

/// Compresses `data`. Fails only when a codec does, which none of them does on memory.
pub fn compress(codec: Codec, data: &[u8]) -> Result<Vec<u8>, BatchError> {
    match codec {
        Codec::None => Ok(data.to_vec()),
        Codec::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder
                .write_all(data)
                .map_err(|error| damaged(codec, error))?;
            encoder.finish().map_err(|error| damaged(codec, error))
        }
        Codec::Snappy => xerial(data),
        Codec::Lz4 => {
            // Java reads frames of independent blocks only.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder
                .write_all(data)
                .map_err(|error| damaged(codec, error))?;
            encoder.finish().map_err(|error| damaged(codec, error))
        }
        Codec::Zstd => {
            zstd::stream::encode_all(data, ZSTD_LEVEL).map_err(|error| damaged(codec, error))
        }
    }
}

/// Snappy without xerial's blocks, as librdkafka writes it.
pub fn compress_snappy_raw(data: &[u8]) -> Result<Vec<u8>, BatchError> {
    snap::raw::Encoder::new()
        .compress_vec(data)
        .map_err(|error| damaged(Codec::Snappy, error))
}

fn damaged(codec: Codec, error: impl std::fmt::Display) -> BatchError {
    BatchError::Decompress {
        codec,
        why: error.to_string(),
    }
}

fn read_bounded(codec: Codec, reader: impl Read, max: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    reader
        .take(max as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| damaged(codec, error))?;
    if out.len() > max {
        return Err(BatchError::DecompressedTooLarge { codec, max });
    }
    Ok(out)
}

fn snappy(data: &[u8], max: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !data.starts_with(XERIAL_MAGIC) {
        snappy_block(data, &mut out, max)?;
        return Ok(out);
    }
    let mut rest = data;
    while !rest.is_empty() {
        if rest.starts_with(XERIAL_MAGIC) {
            // At the start, and where streams were put one behind the other.
            rest = rest
                .get(XERIAL_HEADER_BYTES..)
                .ok_or_else(|| damaged(Codec::Snappy, "cut inside the xerial header"))?;
            continue;
        }
        let (length, behind) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| damaged(Codec::Snappy, "cut inside a block length"))?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| damaged(Codec::Snappy, "negative block length"))?;
        let (block, behind) = behind
            .split_at_checked(length)
            .ok_or_else(|| damaged(Codec::Snappy, "cut inside a block"))?;
        snappy_block(block, &mut out, max)?;
        rest = behind;
    }
    Ok(out)
}

/// Appends one raw snappy block to `out`, which stays within `max`.
fn snappy_block(block: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), BatchError> {
    let claimed =
        snap::raw::decompress_len(block).map_err(|error| damaged(Codec::Snappy, error))?;
    if claimed > max - out.len() {
        return Err(BatchError::DecompressedTooLarge {
            codec: Codec::Snappy,
            max,
        });
    }
    if claimed > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(damaged(
            Codec::Snappy,
            format!("{} bytes cannot hold {claimed}", block.len()),
        ));
    }
    let start = out.len();
    out.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| damaged(Codec::Snappy, error))?;
    out.truncate(start + written);
    Ok(())
}

fn xerial(data: &[u8]) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + data.len() / 2);
    out.extend_from_slice(XERIAL_MAGIC);
    // Version of the format, and the oldest that can read it.
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for block in data.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = compress_snappy_raw(block)?;
        out.extend_from_slice(&(compressed.len() as i32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}
