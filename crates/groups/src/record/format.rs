//! The bytes of `__consumer_offsets`: big-endian integers, strings with a 16-bit length, from version 4 of the values compact ones with tagged fields.
//!
//! Every version here comes with its fields, so that a reader sees the formats whole. Unknown versions and bytes left over are errors: a start must
//! stop rather than go on with half a state.

use super::{Committed, GroupValue, MemberValue, Origin, Record};
use crate::Name;
use bytes::{BufMut, Bytes, BytesMut};
use gnomon_machine::UnreadableRecord;

/// Key version of an offset; 0 is the same and older.
const OFFSET_KEY: i16 = 1;
/// Key version of a group.
const GROUP_KEY: i16 = 2;
/// Key version of our own record: the origin of a topic's offsets.
const ORIGIN_KEY: i16 = 0x4701;

pub(super) fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(OFFSET_KEY);
    put_string(&mut out, group);
    put_string(&mut out, topic);
    out.put_i32(partition);
    out.freeze()
}

pub(super) fn group_key(group: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(GROUP_KEY);
    put_string(&mut out, group);
    out.freeze()
}

pub(super) fn origin_key(group: &str, topic: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(ORIGIN_KEY);
    put_string(&mut out, group);
    put_string(&mut out, topic);
    out.freeze()
}

/// Version 1 has an expiry and no leader epoch, version 3 a leader epoch and no expiry; Kafka chooses between them in the same way.
pub(super) fn offset_value(value: &Committed) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(if value.expires_at_ms.is_some() { 1 } else { 3 });
    out.put_i64(value.offset);
    if value.expires_at_ms.is_none() {
        out.put_i32(value.leader_epoch);
    }
    put_string(&mut out, &value.metadata);
    out.put_i64(value.committed_at_ms);
    if let Some(at) = value.expires_at_ms {
        out.put_i64(at);
    }
    out.freeze()
}

pub(super) fn group_value(value: &GroupValue) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(3);
    put_string(&mut out, &value.protocol_type);
    out.put_i32(value.generation);
    put_optional(&mut out, value.protocol.as_deref());
    put_optional(&mut out, value.leader.as_deref());
    out.put_i64(value.since_ms);
    out.put_i32(i32::try_from(value.members.len()).expect("a group has fewer than 2^31 members: each was a request"));
    for member in &value.members {
        put_string(&mut out, &member.member_id);
        put_optional(&mut out, member.instance_id.as_deref());
        put_string(&mut out, &member.client_id);
        put_string(&mut out, &member.client_host);
        out.put_i32(member.rebalance_timeout_ms);
        out.put_i32(member.session_timeout_ms);
        put_bytes(&mut out, &member.subscription);
        put_bytes(&mut out, &member.assignment);
    }
    out.freeze()
}

/// Version 0: kind (1 local, 2 link), the link's name or an empty string.
pub(super) fn origin_value(value: &Origin) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    let (kind, link) = match value {
        Origin::Local => (1, ""),
        Origin::Link(link) => (2, &**link),
    };
    out.put_i8(kind);
    put_string(&mut out, link);
    out.freeze()
}

pub(super) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Record, UnreadableRecord> {
    let mut key = Reader::new(key.ok_or_else(|| unreadable(-1, -1, "it has no key"))?);
    let kind = key.i16().map_err(|why| unreadable(-1, -1, why))?;
    let version = value.and_then(|value| value.first_chunk::<2>()).map_or(-1, |v| i16::from_be_bytes(*v));
    let fail = |why| unreadable(kind, version, why);
    match kind {
        0 | OFFSET_KEY => {
            let (group, topic, partition) = (key.string().map_err(fail)?, key.string().map_err(fail)?, key.i32().map_err(fail)?);
            key.end().map_err(fail)?;
            let value = value.map(read_offset).transpose().map_err(fail)?;
            Ok(Record::Offset { group, topic, partition, value })
        }
        GROUP_KEY => {
            let group = key.string().map_err(fail)?;
            key.end().map_err(fail)?;
            Ok(Record::Group { group, value: value.map(read_group).transpose().map_err(fail)? })
        }
        ORIGIN_KEY => {
            let (group, topic) = (key.string().map_err(fail)?, key.string().map_err(fail)?);
            key.end().map_err(fail)?;
            Ok(Record::Origin { group, topic, value: value.map(read_origin).transpose().map_err(fail)? })
        }
        _ => Err(fail("an unknown type")),
    }
}

fn unreadable(kind: i16, version: i16, why: &str) -> UnreadableRecord {
    UnreadableRecord { what: "group", kind: kind.into(), version: version.into(), why: why.to_owned() }
}

fn read_offset(bytes: &[u8]) -> Result<Committed, &'static str> {
    let mut from = Reader::new(bytes);
    let version = from.version(4)?;
    let offset = from.i64()?;
    let leader_epoch = if version >= 3 { from.i32()? } else { -1 };
    let metadata = from.string()?;
    let committed_at_ms = from.i64()?;
    let expires_at_ms = if version == 1 { Some(from.i64()?).filter(|at| *at >= 0) } else { None };
    from.finish()?;
    Ok(Committed { offset, leader_epoch, metadata, committed_at_ms, expires_at_ms })
}

fn read_group(bytes: &[u8]) -> Result<GroupValue, &'static str> {
    let mut from = Reader::new(bytes);
    let version = from.version(4)?;
    let protocol_type = from.string()?;
    let generation = from.i32()?;
    let protocol = from.optional()?;
    let leader = from.optional()?;
    let since_ms = if version >= 2 { from.i64()? } else { -1 };
    let mut members = Vec::new();
    for _ in 0..from.count()? {
        let member_id = from.string()?;
        let instance_id = if version >= 3 { from.optional()? } else { None };
        let (client_id, client_host) = (from.string()?, from.string()?);
        let rebalance_timeout_ms = if version >= 1 { Some(from.i32()?) } else { None };
        let session_timeout_ms = from.i32()?;
        let (subscription, assignment) = (from.bytes()?, from.bytes()?);
        from.tags()?;
        members.push(MemberValue {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription,
            assignment,
        });
    }
    from.finish()?;
    Ok(GroupValue { protocol_type, generation, protocol, leader, since_ms, members })
}

fn read_origin(bytes: &[u8]) -> Result<Origin, &'static str> {
    let mut from = Reader::new(bytes);
    from.version(0)?;
    let (kind, link) = (from.take(1)?[0], from.string()?);
    from.finish()?;
    match kind {
        1 => Ok(Origin::Local),
        2 => Ok(Origin::Link(link)),
        _ => Err("an unknown origin"),
    }
}

/// Strings of Kafka's requests are at most 32,767 bytes; a longer one (from a compact request) is refused before it gets here.
fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("names longer than 32,767 bytes are refused when they come in"));
    out.put_slice(text.as_bytes());
}

fn put_optional(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).expect("a request is shorter than 2^31 bytes"));
    out.put_slice(bytes);
}

/// What is left to read, and whether strings and counts are compact.
struct Reader<'a> {
    left: &'a [u8],
    flexible: bool,
}

const SHORT: &str = "it is too short";

impl<'a> Reader<'a> {
    fn new(left: &'a [u8]) -> Self {
        Reader { left, flexible: false }
    }

    fn version(&mut self, max: i16) -> Result<i16, &'static str> {
        let version = self.i16()?;
        self.flexible = version >= 4;
        if (0..=max).contains(&version) { Ok(version) } else { Err("an unknown version") }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], &'static str> {
        let (taken, left) = self.left.split_at_checked(bytes).ok_or(SHORT)?;
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(SHORT)?;
        self.left = left;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, &'static str> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, &'static str> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, &'static str> {
        self.array().map(i64::from_be_bytes)
    }

    fn unsigned(&mut self) -> Result<usize, &'static str> {
        let mut value = 0usize;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number does not end")
    }

    /// `None` for null.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, &'static str> {
        if self.flexible {
            return Ok(self.unsigned()?.checked_sub(1));
        }
        let length = if wide { self.i32()? } else { self.i16()?.into() };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| "a negative length"),
        }
    }

    fn optional(&mut self) -> Result<Option<Name>, &'static str> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a text that is not UTF-8")?;
        Ok(Some(text.into()))
    }

    fn string(&mut self) -> Result<Name, &'static str> {
        self.optional()?.ok_or("a text is null")
    }

    fn bytes(&mut self) -> Result<Bytes, &'static str> {
        let length = self.length(true)?.ok_or("bytes are null")?;
        self.take(length).map(Bytes::copy_from_slice)
    }

    fn count(&mut self) -> Result<usize, &'static str> {
        self.length(true)?.ok_or("a list is null")
    }

    fn tags(&mut self) -> Result<(), &'static str> {
        if self.flexible {
            for _ in 0..self.unsigned()? {
                self.unsigned()?;
                let length = self.unsigned()?;
                self.take(length)?;
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.left.is_empty() { Ok(()) } else { Err("bytes are left over") }
    }

    fn finish(&mut self) -> Result<(), &'static str> {
        self.tags()?;
        self.end()
    }
}
