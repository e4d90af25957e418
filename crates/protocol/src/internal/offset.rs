//! Values of committed offsets: versions 0 to 4 are read; 3 is written, which every Kafka since 2.1
//! reads, or 4 if the topic's id is known.

use super::{InternalError, in_what, write::Writer};
use crate::{
    ids::{Offset, Uuid},
    read::{ReadError, Reader},
};
use bytes::{BufMut, Bytes};

const WHAT: &str = "committed offset";
const VERSION: i16 = 3;
const VERSION_WITH_ID: i16 = 4;
const TAG_TOPIC_ID: u32 = 0;

/// A group's commit for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Where the group goes on.
    pub offset: Offset,
    /// Epoch of the last record consumed, -1 when the client did not say (KIP-320).
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: String,
    /// When, in milliseconds since the Unix epoch.
    pub commit_timestamp: i64,
    /// Version 1 only: when it goes, else -1.
    pub expire_timestamp: i64,
    /// The topic that it was committed on: names can be used again. Version 4 only.
    pub topic_id: Option<Uuid>,
}

impl OffsetCommit {
    /// A commit without the fields of single versions.
    pub fn new(
        offset: Offset,
        leader_epoch: i32,
        metadata: String,
        commit_timestamp: i64,
    ) -> OffsetCommit {
        OffsetCommit {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp,
            expire_timestamp: -1,
            topic_id: None,
        }
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<OffsetCommit, InternalError> {
        let mut reader = Reader::new(value);
        let version = reader.i16().map_err(in_what(WHAT))?;
        if !(0..=VERSION_WITH_ID).contains(&version) {
            return Err(InternalError::Version {
                what: WHAT,
                version,
            });
        }
        read(&mut reader, version).map_err(in_what(WHAT))
    }

    /// The record's value: version 4 with a topic's id, else version 3.
    pub fn encode(&self) -> Result<Bytes, InternalError> {
        let mut writer = Writer::new(
            WHAT,
            if self.topic_id.is_some() {
                VERSION_WITH_ID
            } else {
                VERSION
            },
        );
        writer.out.put_i64(self.offset);
        writer.out.put_i32(self.leader_epoch);
        match self.topic_id {
            Some(_) => writer.compact_string(&self.metadata)?,
            None => writer.string(&self.metadata)?,
        }
        writer.out.put_i64(self.commit_timestamp);
        if let Some(id) = self.topic_id {
            // One tagged field.
            writer.varint(1);
            writer.varint(TAG_TOPIC_ID);
            writer.varint(id.as_bytes().len() as u32);
            writer.out.put_slice(id.as_bytes());
        }
        Ok(writer.finish())
    }
}

fn read(reader: &mut Reader, version: i16) -> Result<OffsetCommit, ReadError> {
    let flexible = version >= VERSION_WITH_ID;
    let offset = reader.i64()?;
    let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
    let metadata = reader.text(flexible)?;
    let commit_timestamp = reader.i64()?;
    let expire_timestamp = if version == 1 { reader.i64()? } else { -1 };
    let mut topic_id = None;
    if flexible {
        for _ in 0..reader.varint()? {
            let tag = reader.varint()?;
            let size = reader.varint()?;
            let mut field = reader.part(size as usize)?;
            if tag == TAG_TOPIC_ID {
                topic_id = Some(field.uuid()?);
            }
        }
    }
    Ok(OffsetCommit {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp,
        topic_id,
    })
}
