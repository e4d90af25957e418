//! The zigzag varints inside records: strict, so that a varint with more bits than its type is an
//! error and not another number.

use super::RecordFault;

/// Reads a 32-bit varint off the front of `bytes`.
pub(super) fn read_i32(bytes: &mut &[u8]) -> Result<i32, RecordFault> {
    Ok(unzigzag(read_u64(bytes, 32)?) as i32)
}

/// Reads a 64-bit varint off the front of `bytes`.
pub(super) fn read_i64(bytes: &mut &[u8]) -> Result<i64, RecordFault> {
    Ok(unzigzag(read_u64(bytes, 64)?))
}

/// The number that a varint's bits stand for. Of a 32-bit one it fits 32 bits.
#[inline]
pub(super) fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

fn read_u64(bytes: &mut &[u8], bits: u32) -> Result<u64, RecordFault> {
    read_with(bits, || {
        let (&byte, rest) = bytes.split_first().ok_or(RecordFault::Truncated)?;
        *bytes = rest;
        Ok(byte)
    })
}

/// Reads a varint of `bits` bits whose bytes come from `next`, without undoing the zigzag.
#[inline]
pub(super) fn read_with<E: From<RecordFault>>(
    bits: u32,
    mut next: impl FnMut() -> Result<u8, E>,
) -> Result<u64, E> {
    let mut value = 0_u64;
    let mut shift = 0;
    loop {
        let byte = next()?;
        let part = u64::from(byte & 0x7f);
        // The last byte may carry only the bits that are left.
        if shift >= bits || (bits - shift < 7 && part >> (bits - shift) != 0) {
            return Err(RecordFault::Varint.into());
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

/// Appends a varint; 32-bit ones are the same bytes.
pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Bytes that [`write`] appends.
pub(super) fn bytes(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_at_the_edges() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out.len(), bytes(value), "{value}");
            assert_eq!(read_i64(&mut out.as_slice()), Ok(value));
            if let Ok(small) = i32::try_from(value) {
                assert_eq!(read_i32(&mut out.as_slice()), Ok(small));
            }
        }
    }

    #[test]
    fn more_bits_than_the_type_are_an_error() {
        assert_eq!(
            read_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice()),
            Ok(i32::MIN)
        );
        assert_eq!(
            read_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x10].as_slice()),
            Err(RecordFault::Varint)
        );
        assert_eq!(
            read_i32(&mut [0x80, 0x80, 0x80, 0x80, 0x80, 0x00].as_slice()),
            Err(RecordFault::Varint)
        );
        let mut ten = [0xff; 10];
        ten[9] = 0x01;
        assert_eq!(read_i64(&mut ten.as_slice()), Ok(i64::MIN));
        ten[9] = 0x02;
        assert_eq!(read_i64(&mut ten.as_slice()), Err(RecordFault::Varint));
        assert_eq!(
            read_i64(&mut [0x80; 11].as_slice()),
            Err(RecordFault::Varint)
        );
        assert_eq!(
            read_i64(&mut [0x80, 0x80].as_slice()),
            Err(RecordFault::Truncated)
        );
    }

    #[test]
    fn padding_within_the_type_is_read_as_java_does() {
        assert_eq!(read_i32(&mut [0x82, 0x00].as_slice()), Ok(1));
    }
}
