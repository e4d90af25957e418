//! Writing what flexible versions have (KIP-482): unsigned varints of 32 bits, seven bits a byte,
//! and strings after them. Reading is `read`'s.

use bytes::{BufMut, BytesMut};

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(crate) fn put_compact_string(out: &mut BytesMut, string: Option<&str>) {
    match string {
        Some(string) => {
            put_varint(out, string.len() as u32 + 1);
            out.put_slice(string.as_bytes());
        }
        None => out.put_u8(0),
    }
}
