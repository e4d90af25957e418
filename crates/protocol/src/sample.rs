//! Random valid messages for tests: for the fuzzers here, and for those that send damaged frames to
//! a broker.
//!
//! Every field of a version, null where it may be, arrays of none to two elements, unknown tagged
//! fields. The chance is the caller's: the same choices make the same bytes.

use crate::{
    compact::put_varint,
    layout::{self, Direction, Fields, Kind},
};
use bytes::{BufMut, Bytes, BytesMut};

/// The body of a message of that API and version (no header, no size). `choose(n)` is a number
/// below `n`. `None` for an API or version that is not decoded.
pub fn body(
    direction: Direction,
    key: i16,
    version: i16,
    choose: &mut dyn FnMut(u32) -> u32,
) -> Option<Bytes> {
    let (api, fields) = layout::fields(direction, key)?;
    if !api.decodes(version) {
        return None;
    }
    let mut sample = Sample {
        version,
        flexible: api.is_flexible(version),
        choose,
    };
    let mut out = BytesMut::new();
    sample.record(fields, &mut out);
    Some(out.freeze())
}

/// A request with its header, without the size in front.
pub fn request(
    key: i16,
    version: i16,
    correlation_id: i32,
    choose: &mut dyn FnMut(u32) -> u32,
) -> Option<Bytes> {
    let body = body(Direction::Request, key, version, choose)?;
    let mut out = BytesMut::new();
    out.put_i16(key);
    out.put_i16(version);
    out.put_i32(correlation_id);
    out.put_i16(6);
    out.put_slice(b"sample");
    if crate::api::request_header_version(key, version) >= 2 {
        out.put_u8(0);
    }
    out.put_slice(&body);
    Some(out.freeze())
}

struct Sample<'a> {
    version: i16,
    flexible: bool,
    choose: &'a mut dyn FnMut(u32) -> u32,
}

impl Sample<'_> {
    fn one_in(&mut self, chances: u32) -> bool {
        (self.choose)(chances) == 0
    }

    fn record(&mut self, fields: Fields, out: &mut BytesMut) {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|field| field.tag.is_none() && field.is_in(version))
        {
            self.value(field.kind, field.null, out);
        }
        if self.flexible {
            self.tags(fields, out);
        }
    }

    fn tags(&mut self, fields: Fields, out: &mut BytesMut) {
        let mut tags = Vec::new();
        for field in fields {
            if let Some(tag) = field.tag
                && field.is_in(self.version)
                && self.one_in(2)
            {
                let mut value = BytesMut::new();
                self.value(field.kind, field.null, &mut value);
                tags.push((tag, value));
            }
        }
        if self.one_in(4) {
            tags.push((100, BytesMut::from(&b"unknown"[..])));
        }
        put_varint(out, tags.len() as u32);
        for (tag, value) in tags {
            put_varint(out, tag);
            put_varint(out, value.len() as u32);
            out.extend_from_slice(&value);
        }
    }

    fn value(&mut self, kind: Kind, null: bool, out: &mut BytesMut) {
        match kind {
            Kind::Bool => out.put_u8(u8::from(self.one_in(2))),
            Kind::I8 => out.put_i8((self.choose)(4) as i8),
            Kind::I16 => out.put_i16((self.choose)(100) as i16),
            Kind::I32 => out.put_i32((self.choose)(u32::MAX) as i32),
            Kind::I64 => out.put_i64(i64::from((self.choose)(u32::MAX)) - 1),
            Kind::Uuid => (0..16).for_each(|_| out.put_u8((self.choose)(256) as u8)),
            Kind::Str => {
                let length = self.length(null, 12);
                if self.flexible {
                    put_varint(out, length.map_or(0, |n| n + 1))
                } else {
                    out.put_i16(length.map_or(-1, |n| n as i16))
                }
                (0..length.unwrap_or(0)).for_each(|_| out.put_u8(b'a' + (self.choose)(26) as u8));
            }
            Kind::Bin => {
                let length = self.length(null, 40);
                self.put_length(length, out);
                (0..length.unwrap_or(0)).for_each(|_| out.put_u8((self.choose)(256) as u8));
            }
            Kind::Arr(element) => {
                let count = self.length(null, 3);
                self.put_length(count, out);
                (0..count.unwrap_or(0)).for_each(|_| self.value(*element, false, out));
            }
            Kind::Rec(fields) => self.record(fields, out),
        }
    }

    fn length(&mut self, null: bool, below: u32) -> Option<u32> {
        if null && self.one_in(4) {
            None
        } else {
            Some((self.choose)(below))
        }
    }

    fn put_length(&mut self, length: Option<u32>, out: &mut BytesMut) {
        if self.flexible {
            put_varint(out, length.map_or(0, |n| n + 1))
        } else {
            out.put_i32(length.map_or(-1, |n| n as i32))
        }
    }
}
