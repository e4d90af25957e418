//! The structure of an LZ4 frame, as far as consumers differ in reading it. Nothing is unpacked.
//!
//! Source: LZ4 Frame Format Description 1.6.

/// Bits of the byte of flags.
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;

/// The highest bit of a block's size: the block is not compressed.
const UNCOMPRESSED: u32 = 1 << 31;

/// Why a consumer cannot read the frame to its end, though the decoder here can. A frame that is
/// damaged or cut has no such reason: its decoder says what is wrong.
pub(super) fn fault(data: &[u8]) -> Option<&'static str> {
    const DEPENDENT: &str = "its blocks depend on each other, which Java's consumers do not read";
    const EMPTY: &str = "it has an empty block, where Java's consumers stop";
    const AFTER: &str = "bytes follow its first frame, which librdkafka's consumers do not read";

    let (header, mut rest) = data.split_first_chunk::<6>()?;
    let flags = header[4];
    if flags & INDEPENDENT == 0 {
        return Some(DEPENDENT);
    }
    // `header` is the magic number, the flags, and the size of blocks; its checksum ends it.
    let optional =
        if flags & CONTENT_SIZE != 0 { 8 } else { 0 } + if flags & DICTIONARY != 0 { 4 } else { 0 };
    rest = rest.get(optional + 1..)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            let checksum = if flags & CONTENT_CHECKSUM != 0 { 4 } else { 0 };
            return (after.len() > checksum).then_some(AFTER);
        }
        let stored = (size & !UNCOMPRESSED) as usize;
        // The shortest compressed block is one byte, which stands for nothing.
        let fewest = if size & UNCOMPRESSED == 0 { 2 } else { 1 };
        if stored < fewest {
            return Some(EMPTY);
        }
        let checksum = if flags & BLOCK_CHECKSUMS != 0 { 4 } else { 0 };
        rest = after.get(stored + checksum..)?;
    }
}
