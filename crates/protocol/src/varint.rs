//! Writing unsigned varints of 32 bits, seven bits a byte, as flexible versions have their lengths and tags (KIP-482). Reading them is `read`'s.

use bytes::{BufMut, BytesMut};

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
