//! Values of classic groups: versions 0 to 4 are read, 3 is written, which every Kafka since 2.3
//! reads.

use super::{InternalError, in_what, write::Writer};
use crate::read::{ReadError, Reader};
use bytes::{BufMut, Bytes};

const WHAT: &str = "group metadata";
const VERSION: i16 = 3;
const VERSION_MAX: i16 = 4;

/// A group as of its last completed rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `consumer`, `connect`, or empty.
    pub protocol_type: String,
    /// Rises with every rebalance.
    pub generation: i32,
    /// The chosen assignor; `None` without members.
    pub protocol: Option<String>,
    /// Member id of the leader; `None` without members.
    pub leader: Option<String>,
    /// When the group came into its state, milliseconds since the Unix epoch; -1 when not known.
    pub state_timestamp: i64,
    /// Its members, none when it is empty.
    pub members: Vec<GroupMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub member_id: String,
    /// The instance id of a static member (KIP-345).
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// The member's metadata for the chosen protocol.
    pub subscription: Bytes,
    /// The leader's assignment to it.
    pub assignment: Bytes,
}

impl GroupMetadata {
    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<GroupMetadata, InternalError> {
        let mut reader = Reader::new(value);
        let version = reader.i16().map_err(in_what(WHAT))?;
        if !(0..=VERSION_MAX).contains(&version) {
            return Err(InternalError::Version {
                what: WHAT,
                version,
            });
        }
        read(&mut reader, version).map_err(in_what(WHAT))
    }

    /// The record's value, version 3.
    pub fn encode(&self) -> Result<Bytes, InternalError> {
        let mut writer = Writer::new(WHAT, VERSION);
        writer.string(&self.protocol_type)?;
        writer.out.put_i32(self.generation);
        writer.nullable_string(self.protocol.as_deref())?;
        writer.nullable_string(self.leader.as_deref())?;
        writer.out.put_i64(self.state_timestamp);
        writer.length(self.members.len())?;
        for member in &self.members {
            writer.string(&member.member_id)?;
            writer.nullable_string(member.instance_id.as_deref())?;
            writer.string(&member.client_id)?;
            writer.string(&member.client_host)?;
            writer.out.put_i32(member.rebalance_timeout_ms);
            writer.out.put_i32(member.session_timeout_ms);
            writer.bytes(&member.subscription)?;
            writer.bytes(&member.assignment)?;
        }
        Ok(writer.finish())
    }
}

fn read(reader: &mut Reader, version: i16) -> Result<GroupMetadata, ReadError> {
    let flexible = version >= 4;
    let protocol_type = reader.text(flexible)?;
    let generation = reader.i32()?;
    let protocol = reader.nullable_text(flexible)?;
    let leader = reader.nullable_text(flexible)?;
    let state_timestamp = if version >= 2 { reader.i64()? } else { -1 };
    // Three strings, a timeout and two byte fields at the least.
    let element_bytes_min = if flexible { 10 } else { 18 };
    let at = reader.at();
    let count = reader
        .count(flexible, element_bytes_min)?
        .ok_or(ReadError::Null { at })?;
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        members.push(read_member(reader, version, flexible)?);
    }
    if flexible {
        reader.skip_tags()?;
    }
    Ok(GroupMetadata {
        protocol_type,
        generation,
        protocol,
        leader,
        state_timestamp,
        members,
    })
}

fn read_member(
    reader: &mut Reader,
    version: i16,
    flexible: bool,
) -> Result<GroupMember, ReadError> {
    let member_id = reader.text(flexible)?;
    let instance_id = if version >= 3 {
        reader.nullable_text(flexible)?
    } else {
        None
    };
    let client_id = reader.text(flexible)?;
    let client_host = reader.text(flexible)?;
    let rebalance_timeout = if version >= 1 {
        Some(reader.i32()?)
    } else {
        None
    };
    let session_timeout_ms = reader.i32()?;
    let subscription = reader.bytes(flexible)?.unwrap_or_default();
    let assignment = reader.bytes(flexible)?.unwrap_or_default();
    if flexible {
        reader.skip_tags()?;
    }
    // Version 0 had one timeout for both.
    let rebalance_timeout_ms = rebalance_timeout.unwrap_or(session_timeout_ms);
    Ok(GroupMember {
        member_id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}
