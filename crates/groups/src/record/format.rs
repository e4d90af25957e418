//! Records to bytes and back: Kafka's own by [`gnomon_protocol::internal`], ours here.
//!
//! Ours are the origin of a topic's offsets (key version 0x4701: group, topic; value version 0:
//! kind, link), and the one value of Kafka's that the other place does not write: version 1 of an
//! offset, with an expiry instead of a leader epoch. Unknown types and versions are errors: a start
//! must stop rather than go on with half a state.

use super::{Committed, GroupValue, MemberValue, Origin, Record};
use crate::Name;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use gnomon_machine::{EncodedRecord, UnreadableRecord};
use gnomon_protocol::internal::{GroupMember, GroupMetadata, Key, OffsetCommit};

const ORIGIN_KEY: i16 = 0x4701;
const ORIGIN_VALUE: i16 = 0;
const OFFSET_WITH_EXPIRY: i16 = 1;

/// Why no encoder here can fail.
const FITS: &str = "names and texts longer than 32,767 bytes are refused when they come in";

pub(super) fn encode(record: &Record) -> EncodedRecord {
    let (key, value) = match record {
        Record::Group { group, value } => (
            Key::Group {
                group: group.to_string(),
            }
            .encode()
            .expect(FITS),
            value.as_ref().map(group_value),
        ),
        Record::Offset {
            group,
            topic,
            partition,
            value,
        } => {
            let key = Key::Offset {
                group: group.to_string(),
                topic: topic.to_string(),
                partition: *partition,
            };
            (key.encode().expect(FITS), value.as_ref().map(offset_value))
        }
        Record::Origin {
            group,
            topic,
            value,
        } => (origin_key(group, topic), value.as_ref().map(origin_value)),
    };
    EncodedRecord {
        key: Some(key),
        value,
    }
}

pub(super) fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Record, UnreadableRecord> {
    let key = key.map(Bytes::copy_from_slice).unwrap_or_default();
    let value = value.map(Bytes::copy_from_slice);
    let kind = first_i16(&key);
    let version = value.as_ref().map_or(-1, first_i16);
    let fail = |why: String| UnreadableRecord {
        what: "group",
        kind: kind.into(),
        version: version.into(),
        why,
    };
    if kind == ORIGIN_KEY {
        return read_origin(key, value).ok_or_else(|| fail("its fields do not fit".to_owned()));
    }
    match Key::decode(&key).map_err(|error| fail(error.to_string()))? {
        Key::Offset {
            group,
            topic,
            partition,
        } => {
            let value = value
                .map(|value| OffsetCommit::decode(&value))
                .transpose()
                .map_err(|error| fail(error.to_string()))?;
            Ok(Record::Offset {
                group: group.into(),
                topic: topic.into(),
                partition,
                value: value.map(committed),
            })
        }
        Key::Group { group } => {
            let value = value
                .map(|value| GroupMetadata::decode(&value))
                .transpose()
                .map_err(|error| fail(error.to_string()))?;
            Ok(Record::Group {
                group: group.into(),
                value: value.map(group_metadata),
            })
        }
        Key::Other { .. } => Err(fail("an unknown type".to_owned())),
    }
}

fn offset_value(value: &Committed) -> Bytes {
    let Some(expires_at_ms) = value.expires_at_ms else {
        let commit = OffsetCommit::new(
            value.offset,
            value.leader_epoch,
            value.metadata.to_string(),
            value.committed_at_ms,
        );
        return OffsetCommit {
            topic_id: value.topic_id,
            ..commit
        }
        .encode()
        .expect(FITS);
    };
    let mut out = BytesMut::new();
    out.put_i16(OFFSET_WITH_EXPIRY);
    out.put_i64(value.offset);
    put_string(&mut out, &value.metadata);
    out.put_i64(value.committed_at_ms);
    out.put_i64(expires_at_ms);
    out.freeze()
}

fn committed(read: OffsetCommit) -> Committed {
    Committed {
        offset: read.offset,
        leader_epoch: read.leader_epoch,
        metadata: read.metadata.into(),
        committed_at_ms: read.commit_timestamp,
        expires_at_ms: Some(read.expire_timestamp).filter(|at| *at >= 0),
        topic_id: read.topic_id,
    }
}

fn group_value(value: &GroupValue) -> Bytes {
    let text = |name: &Option<Name>| name.as_ref().map(|name| name.to_string());
    let member = |member: &MemberValue| GroupMember {
        member_id: member.member_id.to_string(),
        instance_id: text(&member.instance_id),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    };
    let metadata = GroupMetadata {
        protocol_type: value.protocol_type.to_string(),
        generation: value.generation,
        protocol: text(&value.protocol),
        leader: text(&value.leader),
        state_timestamp: value.since_ms,
        members: value.members.iter().map(member).collect(),
    };
    metadata.encode().expect(FITS)
}

fn group_metadata(read: GroupMetadata) -> GroupValue {
    let member = |member: GroupMember| MemberValue {
        member_id: member.member_id.into(),
        instance_id: member.instance_id.map(Name::from),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        subscription: member.subscription,
        assignment: member.assignment,
    };
    GroupValue {
        protocol_type: read.protocol_type.into(),
        generation: read.generation,
        protocol: read.protocol.map(Name::from),
        leader: read.leader.map(Name::from),
        since_ms: read.state_timestamp,
        members: read.members.into_iter().map(member).collect(),
    }
}

fn origin_key(group: &str, topic: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(ORIGIN_KEY);
    put_string(&mut out, group);
    put_string(&mut out, topic);
    out.freeze()
}

/// Kind 1 is local, with no link; kind 2 is a link.
fn origin_value(value: &Origin) -> Bytes {
    let (kind, link) = match value {
        Origin::Local => (1, ""),
        Origin::Link(link) => (2, &**link),
    };
    let mut out = BytesMut::new();
    out.put_i16(ORIGIN_VALUE);
    out.put_u8(kind);
    put_string(&mut out, link);
    out.freeze()
}

fn read_origin(mut key: Bytes, value: Option<Bytes>) -> Option<Record> {
    key.try_get_i16().ok()?;
    let (group, topic) = (get_string(&mut key)?, get_string(&mut key)?);
    let mut origin = None;
    if let Some(mut value) = value {
        if value.try_get_i16().ok()? != ORIGIN_VALUE {
            return None;
        }
        let (kind, link) = (value.try_get_u8().ok()?, get_string(&mut value)?);
        origin = match kind {
            1 => Some(Origin::Local),
            2 => Some(Origin::Link(link)),
            _ => return None,
        };
    }
    Some(Record::Origin {
        group,
        topic,
        value: origin,
    })
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect(FITS));
    out.put_slice(text.as_bytes());
}

fn get_string(from: &mut Bytes) -> Option<Name> {
    let length = usize::try_from(from.try_get_i16().ok()?).ok()?;
    if length > from.len() {
        return None;
    }
    std::str::from_utf8(&from.split_to(length))
        .ok()
        .map(Name::from)
}

fn first_i16(bytes: &Bytes) -> i16 {
    bytes
        .first_chunk()
        .map_or(-1, |first| i16::from_be_bytes(*first))
}
