//! The codecs of record batches, both ways, with bounds on what unpacking may take.
//!
//! A few bytes can claim to be gigabytes: every codec here unpacks piece by piece, holds at most
//! one window or block of a named size, and reserves nothing on a claim alone. Formats: gzip
//! members; snappy raw (librdkafka) or in xerial's blocks (Java, Sarama; also what we write); LZ4
//! frames; zstd frames.

use super::{BatchError, Codec};
use std::io::{self, Read, Write};

/// `\x82SNAPPY\0`, then two 32-bit versions: what xerial's snappy-java puts in front of its blocks.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// Bytes that one xerial block holds uncompressed.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// A snappy copy of three bytes makes at most 64: a claim beyond that is a lie.
const SNAPPY_RATIO_MAX: usize = 24;
/// The largest window of a zstd frame, and the largest block of raw snappy, that room is made for.
/// zstd's own decoder takes no larger window by default, so consumers do not either.
pub const WINDOW_BYTES_MAX: usize = 128 << 20;
/// zstd's smallest window, as a power of two.
const ZSTD_WINDOW_LOG_MIN: u32 = 10;
const ZSTD_LEVEL: i32 = 3;

/// Decompresses `data`, at most `max` bytes, into memory.
pub fn decompress(codec: Codec, data: &[u8], max: usize) -> Result<Vec<u8>, BatchError> {
    let window_max = match codec {
        Codec::Snappy => max,
        Codec::None | Codec::Gzip | Codec::Lz4 | Codec::Zstd => WINDOW_BYTES_MAX,
    };
    let mut out = Vec::new();
    unpacker(codec, data, window_max, Streams::Any)?
        .take(max as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| damaged(codec, error))?;
    if out.len() > max {
        return Err(BatchError::DecompressedTooLarge { codec, max });
    }
    Ok(out)
}

/// How many compressed streams the records of a batch may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streams {
    /// One, in a shape that every consumer reads to its end.
    One,
    /// Any number and shape that the decoders here read: those of a log that others wrote.
    Any,
}

/// Unpacks `data` piece by piece, holding a window or a block of at most `window_max` bytes. Its
/// errors become a batch's by [`damaged`].
pub(super) fn unpacker<'a>(
    codec: Codec,
    data: &'a [u8],
    window_max: usize,
    streams: Streams,
) -> Result<Box<dyn Read + 'a>, BatchError> {
    Ok(match codec {
        Codec::None => Box::new(data),
        Codec::Gzip if streams == Streams::One => {
            Box::new(Only(flate2::bufread::GzDecoder::new(data), |gzip| {
                gzip.get_ref().is_empty()
            }))
        }
        Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(data)),
        Codec::Snappy => Box::new(SnappyReader::new(data, window_max, streams)?),
        Codec::Lz4 => {
            let fault = super::lz4_frame::fault(data).filter(|_| streams == Streams::One);
            if let Some(why) = fault {
                let why = why.into();
                return Err(BatchError::Decompress { codec, why });
            }
            Box::new(Lz4Reader::new(data))
        }
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data)
                .map_err(|error| damaged(codec, error))?;
            let log = window_max.clamp(1, WINDOW_BYTES_MAX).ilog2();
            decoder
                .window_log_max(log.max(ZSTD_WINDOW_LOG_MIN))
                .map_err(|error| damaged(codec, error))?;
            match streams {
                Streams::Any => Box::new(decoder),
                Streams::One => Box::new(Only(decoder.single_frame(), |zstd| {
                    zstd.get_ref().is_empty()
                })),
            }
        }
    })
}

/// A decoder of one stream, and whether its input is used up: bytes after the stream are an error.
struct Only<D>(D, fn(&D) -> bool);

impl<D: Read> Read for Only<D> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        if read == 0 && !out.is_empty() && !self.1(&self.0) {
            return Err(io::Error::other(
                "bytes follow its first compressed stream, which librdkafka's consumers do not read",
            ));
        }
        Ok(read)
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
            encoder
                .finish()
                .map_err(|error| damaged(codec, error.into()))
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
        .map_err(|error| damaged(Codec::Snappy, broken_snappy(error)))
}

/// Why unpacking failed: ours if it was ours, else the codec's.
pub(super) fn damaged(codec: Codec, error: io::Error) -> BatchError {
    error
        .downcast::<BatchError>()
        .unwrap_or_else(|error| BatchError::Decompress {
            codec,
            why: error.to_string(),
        })
}

fn broken_snappy(why: impl ToString) -> io::Error {
    io::Error::other(BatchError::Decompress {
        codec: Codec::Snappy,
        why: why.to_string(),
    })
}

/// One LZ4 frame, as Java reads it. The decoder takes missing bytes at the place of a block for the
/// frame's end; here they are an error.
struct Lz4Reader<'a>(lz4_flex::frame::FrameDecoder<CountedInput<'a>>);

/// Bytes, and whether more were asked for than there are.
struct CountedInput<'a> {
    rest: &'a [u8],
    short: bool,
}

impl Lz4Reader<'_> {
    fn new(data: &[u8]) -> Lz4Reader<'_> {
        Lz4Reader(lz4_flex::frame::FrameDecoder::new(CountedInput {
            rest: data,
            short: false,
        }))
    }
}

impl Read for CountedInput<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.short |= self.rest.len() < out.len();
        self.rest.read(out)
    }
}

impl Read for Lz4Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        if read == 0 && self.0.get_ref().short {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

/// Snappy block by block. Raw snappy is one block, since its copies may reach back to its start.
struct SnappyReader<'a> {
    rest: &'a [u8],
    xerial: bool,
    streams: Streams,
    /// The first header has been passed.
    begun: bool,
    block: Vec<u8>,
    at: usize,
    block_max: usize,
}

impl SnappyReader<'_> {
    fn new(
        data: &[u8],
        block_max: usize,
        streams: Streams,
    ) -> Result<SnappyReader<'_>, BatchError> {
        let xerial = data.starts_with(XERIAL_MAGIC);
        if xerial && streams == Streams::One && !xerial_version_exists(data) {
            return Err(BatchError::Decompress {
                codec: Codec::Snappy,
                why: "its blocks are of a version that Java's consumers do not read".into(),
            });
        }
        Ok(SnappyReader {
            rest: data,
            xerial,
            streams,
            begun: false,
            block: Vec::new(),
            at: 0,
            block_max,
        })
    }

    /// Unpacks the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        // At the start, and where streams were put one after the other.
        while self.xerial && self.rest.starts_with(XERIAL_MAGIC) {
            if self.begun && self.streams == Streams::One {
                return Err(broken_snappy(
                    "a second stream follows, which librdkafka's consumers do not read",
                ));
            }
            self.begun = true;
            self.rest = self
                .rest
                .get(XERIAL_HEADER_BYTES..)
                .ok_or_else(|| broken_snappy("cut inside the xerial header"))?;
        }
        if self.rest.is_empty() {
            return Ok(false);
        }
        if !self.xerial {
            let block = std::mem::take(&mut self.rest);
            return self.unpack(block).map(|()| true);
        }
        let (length, behind) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or_else(|| broken_snappy("cut inside a block length"))?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| broken_snappy("negative block length"))?;
        let (block, behind) = behind
            .split_at_checked(length)
            .ok_or_else(|| broken_snappy("cut inside a block"))?;
        self.rest = behind;
        self.unpack(block).map(|()| true)
    }

    fn unpack(&mut self, block: &[u8]) -> io::Result<()> {
        let claimed = snap::raw::decompress_len(block).map_err(broken_snappy)?;
        if claimed > self.block_max {
            return Err(io::Error::other(BatchError::DecompressedTooLarge {
                codec: Codec::Snappy,
                max: self.block_max,
            }));
        }
        if claimed > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(broken_snappy(format!(
                "{} bytes cannot hold {claimed}",
                block.len()
            )));
        }
        self.block.clear();
        self.block.resize(claimed, 0);
        let written = snap::raw::Decoder::new()
            .decompress(block, &mut self.block)
            .map_err(broken_snappy)?;
        self.block.truncate(written);
        self.at = 0;
        Ok(())
    }
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let read = (&self.block[self.at..]).read(out)?;
        self.at += read;
        Ok(read)
    }
}

/// snappy-java refuses blocks of a version before the first one.
fn xerial_version_exists(data: &[u8]) -> bool {
    data.get(XERIAL_MAGIC.len()..)
        .and_then(<[u8]>::first_chunk::<4>)
        .is_some_and(|version| i32::from_be_bytes(*version) >= 1)
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
