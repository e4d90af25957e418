//! CRC-32C (Castagnoli, the catalogue's CRC-32/ISCSI): the checksum inside a record batch.
//!
//! It covers everything from the attributes (byte 21) to the batch's end, so offsets and leader
//! epochs are assigned without touching it. Our own files use another polynomial, in the crates
//! that own them.

use super::header::{ATTRIBUTES_AT, CRC_AT, HEADER_BYTES};

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Whether the checksum in the header of one whole batch agrees with its bytes. False also for what
/// is too short to be a batch.
pub fn verify_crc(bytes: &[u8]) -> bool {
    match stored_crc(bytes) {
        Some(stored) => stored == crc32c(&bytes[ATTRIBUTES_AT..]),
        None => false,
    }
}

/// The checksum written in the header, `None` when there is no whole header.
pub(super) fn stored_crc(bytes: &[u8]) -> Option<u32> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    Some(u32::from_be_bytes([
        header[CRC_AT],
        header[CRC_AT + 1],
        header[CRC_AT + 2],
        header[CRC_AT + 3],
    ]))
}
