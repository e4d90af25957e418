//! The bytes of consumers in JoinGroup (subscriptions) and SyncGroup (assignments),
//! `ConsumerProtocol` 0 to 3.
//! `ConsumerProtocol` 0 to 3. A broker passes these on as they are; it looks inside only to say who
//! reads what. Newer versions add fields behind and are read as version 3.

use super::{InternalError, in_what, write::Writer};
use crate::read::{ReadError, Reader};
use bytes::{BufMut, Bytes};

const SUBSCRIPTION: &str = "consumer subscription";
const ASSIGNMENT: &str = "consumer assignment";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    pub topic: String,
    pub partitions: Vec<i32>,
}

/// The topics that a member wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub topics: Vec<String>,
    /// The assignor's own.
    pub user_data: Option<Bytes>,
    /// The partitions that it has, from version 1 (KIP-429).
    pub owned: Vec<TopicPartitions>,
    /// Since which generation, -1 when not known; from version 2 (KIP-792).
    pub generation: i32,
    /// Where it is, from version 3 (KIP-881).
    pub rack: Option<String>,
}

/// The partitions that a member got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub partitions: Vec<TopicPartitions>,
    /// The assignor's own.
    pub user_data: Option<Bytes>,
}

impl Subscription {
    /// Reads a member's metadata.
    pub fn decode(bytes: &Bytes) -> Result<Subscription, InternalError> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader, SUBSCRIPTION)?;
        read_subscription(&mut reader, version).map_err(in_what(SUBSCRIPTION))
    }

    /// A member's metadata, version 1 to 3.
    pub fn encode(&self, version: i16) -> Result<Bytes, InternalError> {
        if !(1..=3).contains(&version) {
            return Err(InternalError::Version {
                what: SUBSCRIPTION,
                version,
            });
        }
        let mut writer = Writer::new(SUBSCRIPTION, version);
        writer.length(self.topics.len())?;
        for topic in &self.topics {
            writer.string(topic)?;
        }
        writer.nullable_bytes(self.user_data.as_deref())?;
        write_partitions(&mut writer, &self.owned)?;
        if version >= 2 {
            writer.out.put_i32(self.generation);
        }
        if version >= 3 {
            writer.nullable_string(self.rack.as_deref())?;
        }
        Ok(writer.finish())
    }
}

impl Assignment {
    /// Reads a member's assignment. No bytes at all are no partitions: what a member gets that the
    /// leader forgot.
    pub fn decode(bytes: &Bytes) -> Result<Assignment, InternalError> {
        if bytes.is_empty() {
            return Ok(Assignment {
                partitions: Vec::new(),
                user_data: None,
            });
        }
        let mut reader = Reader::new(bytes);
        version(&mut reader, ASSIGNMENT)?;
        read_assignment(&mut reader).map_err(in_what(ASSIGNMENT))
    }

    /// A member's assignment, version 0 (all versions are the same bytes).
    pub fn encode(&self) -> Result<Bytes, InternalError> {
        let mut writer = Writer::new(ASSIGNMENT, 0);
        write_partitions(&mut writer, &self.partitions)?;
        writer.nullable_bytes(self.user_data.as_deref())?;
        Ok(writer.finish())
    }
}

fn version(reader: &mut Reader, what: &'static str) -> Result<i16, InternalError> {
    match reader.i16().map_err(in_what(what))? {
        version @ 0.. => Ok(version),
        version => Err(InternalError::Version { what, version }),
    }
}

fn read_subscription(reader: &mut Reader, version: i16) -> Result<Subscription, ReadError> {
    let count = reader.count(false, 2)?.unwrap_or(0);
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        topics.push(reader.text(false)?);
    }
    let user_data = reader.bytes(false)?;
    let owned = if version >= 1 {
        read_partitions(reader)?
    } else {
        Vec::new()
    };
    let generation = if version >= 2 { reader.i32()? } else { -1 };
    let rack = if version >= 3 {
        reader.nullable_text(false)?
    } else {
        None
    };
    Ok(Subscription {
        topics,
        user_data,
        owned,
        generation,
        rack,
    })
}

fn read_assignment(reader: &mut Reader) -> Result<Assignment, ReadError> {
    Ok(Assignment {
        partitions: read_partitions(reader)?,
        user_data: reader.bytes(false)?,
    })
}

fn read_partitions(reader: &mut Reader) -> Result<Vec<TopicPartitions>, ReadError> {
    let count = reader.count(false, 6)?.unwrap_or(0);
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let topic = reader.text(false)?;
        let count = reader.count(false, 4)?.unwrap_or(0);
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            partitions.push(reader.i32()?);
        }
        all.push(TopicPartitions { topic, partitions });
    }
    Ok(all)
}

fn write_partitions(writer: &mut Writer, all: &[TopicPartitions]) -> Result<(), InternalError> {
    writer.length(all.len())?;
    for one in all {
        writer.string(&one.topic)?;
        writer.length(one.partitions.len())?;
        for partition in &one.partitions {
            writer.out.put_i32(*partition);
        }
    }
    Ok(())
}
