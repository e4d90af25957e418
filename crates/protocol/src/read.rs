//! A cursor over untrusted bytes: what the hand-written decoders and the guard in front of the
//! message crate share.
//!
//! Nothing is reserved and nothing panics; every read says when the bytes do not hold it.
//! Zero-copy: strings and bytes are slices.

use crate::wire::StrBytes;
use bytes::Bytes;
use uuid::Uuid;

/// An error in bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes end before the value does.
    #[error("the bytes end at {at}, inside a value")]
    Truncated { at: usize },
    /// An unsigned varint of more than 32 bits.
    #[error("a varint at {at} is longer than 32 bits")]
    Varint { at: usize },
    /// A length or count below -1.
    #[error("length {length} at {at}")]
    Negative { at: usize, length: i64 },
    /// Null where the field must not be.
    #[error("null at {at}")]
    Null { at: usize },
    /// A string that is not UTF-8.
    #[error("a string before {at} is not UTF-8")]
    Utf8 { at: usize },
    /// More elements than the bytes left could hold.
    #[error("an array at {at} announces {count} elements in {left} bytes")]
    Count {
        at: usize,
        count: usize,
        left: usize,
    },
    /// More elements in one message than we take.
    #[error("more than {max} elements")]
    Elements { max: usize },
    /// A tagged field whose value does not fill its size.
    #[error("a tagged field before {at} is {left} bytes longer than its value")]
    TagSize { at: usize, left: usize },
}

/// Reads from the front of a buffer.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader {
            bytes,
            at: 0,
            end: bytes.len(),
        }
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.end - self.at
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), ReadError> {
        if count > self.left() {
            return Err(ReadError::Truncated { at: self.end });
        }
        self.at += count;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let found = self.bytes[self.at..self.end]
            .first_chunk::<N>()
            .ok_or(ReadError::Truncated { at: self.end })?;
        self.at += N;
        Ok(*found)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, ReadError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ReadError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ReadError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, ReadError> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    /// An unsigned varint of at most 32 bits.
    pub(crate) fn varint(&mut self) -> Result<u32, ReadError> {
        let start = self.at;
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ReadError::Varint { at: start })
    }

    /// The bytes of that length, shared.
    pub(crate) fn take(&mut self, count: usize) -> Result<Bytes, ReadError> {
        let start = self.at;
        self.skip(count)?;
        Ok(self.bytes.slice(start..self.at))
    }

    /// Length of a string; `None` for null.
    pub(crate) fn string_length(&mut self, compact: bool) -> Result<Option<usize>, ReadError> {
        if compact {
            self.compact_length()
        } else {
            self.i16()
                .and_then(|length| self.plain_length(i64::from(length)))
        }
    }

    /// Length of bytes, or count of an array; `None` for null.
    pub(crate) fn length(&mut self, compact: bool) -> Result<Option<usize>, ReadError> {
        if compact {
            self.compact_length()
        } else {
            self.i32()
                .and_then(|length| self.plain_length(i64::from(length)))
        }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, ReadError> {
        Ok(self.varint()?.checked_sub(1).map(|length| length as usize))
    }

    fn plain_length(&self, length: i64) -> Result<Option<usize>, ReadError> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length)
                .map(Some)
                .map_err(|_| ReadError::Negative {
                    at: self.at,
                    length,
                }),
        }
    }

    pub(crate) fn string(&mut self, compact: bool) -> Result<Option<StrBytes>, ReadError> {
        match self.string_length(compact)? {
            Some(length) => {
                let bytes = self.take(length)?;
                StrBytes::from_utf8(bytes)
                    .map(Some)
                    .map_err(|_| ReadError::Utf8 { at: self.at })
            }
            None => Ok(None),
        }
    }

    /// A string that is not null, as its own.
    pub(crate) fn text(&mut self, compact: bool) -> Result<String, ReadError> {
        let at = self.at;
        self.nullable_text(compact)?.ok_or(ReadError::Null { at })
    }

    pub(crate) fn nullable_text(&mut self, compact: bool) -> Result<Option<String>, ReadError> {
        Ok(self.string(compact)?.map(|string| string.to_string()))
    }

    pub(crate) fn bytes(&mut self, compact: bool) -> Result<Option<Bytes>, ReadError> {
        match self.length(compact)? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    /// Count of an array whose elements take at least `element_bytes_min`; `None` for null. Refused
    /// when the bytes left cannot hold it.
    pub(crate) fn count(
        &mut self,
        compact: bool,
        element_bytes_min: usize,
    ) -> Result<Option<usize>, ReadError> {
        let at = self.at;
        match self.length(compact)? {
            Some(count) if count > self.left() / element_bytes_min.max(1) => {
                Err(ReadError::Count {
                    at,
                    count,
                    left: self.left(),
                })
            }
            other => Ok(other),
        }
    }

    /// Skips tagged fields, known or not (KIP-482).
    pub(crate) fn skip_tags(&mut self) -> Result<(), ReadError> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size as usize)?;
        }
        Ok(())
    }

    /// A reader of the next `size` bytes, after which this one goes on.
    pub(crate) fn part(&mut self, size: usize) -> Result<Reader<'a>, ReadError> {
        let at = self.at;
        self.skip(size)?;
        Ok(Reader {
            bytes: self.bytes,
            at,
            end: self.at,
        })
    }
}
