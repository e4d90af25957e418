//! Strings, bytes and arrays as the formats write them: most of what is written here is not
//! flexible.

use super::InternalError;
use crate::compact::{put_compact_string, put_varint};
use bytes::{BufMut, Bytes, BytesMut};

/// The kind that is being written, and the bytes so far.
pub(super) struct Writer {
    what: &'static str,
    pub(super) out: BytesMut,
}

impl Writer {
    pub(super) fn new(what: &'static str, version: i16) -> Writer {
        let mut out = BytesMut::new();
        out.put_i16(version);
        Writer { what, out }
    }

    pub(super) fn string(&mut self, string: &str) -> Result<(), InternalError> {
        let length = self.short(string)?;
        self.out.put_i16(length);
        self.out.put_slice(string.as_bytes());
        Ok(())
    }

    /// Not longer than the others are: what is read back is written again in any version.
    pub(super) fn compact_string(&mut self, string: &str) -> Result<(), InternalError> {
        self.short(string)?;
        put_compact_string(&mut self.out, Some(string));
        Ok(())
    }

    /// A string's length, if it fits.
    fn short(&self, string: &str) -> Result<i16, InternalError> {
        i16::try_from(string.len()).map_err(|_| InternalError::TooLong {
            what: self.what,
            bytes: string.len(),
        })
    }

    pub(super) fn varint(&mut self, value: u32) {
        put_varint(&mut self.out, value);
    }

    pub(super) fn nullable_string(&mut self, string: Option<&str>) -> Result<(), InternalError> {
        match string {
            Some(string) => self.string(string),
            None => {
                self.out.put_i16(-1);
                Ok(())
            }
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), InternalError> {
        self.length(bytes.len())?;
        self.out.put_slice(bytes);
        Ok(())
    }

    pub(super) fn nullable_bytes(&mut self, bytes: Option<&[u8]>) -> Result<(), InternalError> {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => {
                self.out.put_i32(-1);
                Ok(())
            }
        }
    }

    /// Length of bytes or of an array.
    pub(super) fn length(&mut self, length: usize) -> Result<(), InternalError> {
        self.out
            .put_i32(i32::try_from(length).map_err(|_| InternalError::TooLong {
                what: self.what,
                bytes: length,
            })?);
        Ok(())
    }

    pub(super) fn finish(self) -> Bytes {
        self.out.freeze()
    }
}
