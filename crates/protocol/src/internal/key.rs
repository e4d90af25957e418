//! Keys of `__consumer_offsets`: whose commit or which group a record is about. The version tells
//! the kinds apart.

use super::{InternalError, in_what, write::Writer};
use crate::read::{ReadError, Reader};
use bytes::{BufMut, Bytes};

const WHAT: &str = "key of __consumer_offsets";
const OFFSET_VERSION: i16 = 1;
const GROUP_VERSION: i16 = 2;

/// The subject of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A committed offset (versions 0 and 1, the same bytes).
    Offset {
        group: String,
        topic: String,
        partition: i32,
    },
    /// A classic group (version 2).
    Group { group: String },
    /// Records of newer group protocols (KIP-848 and on), which we do not keep.
    Other { version: i16 },
}

impl Key {
    /// Reads a record's key.
    pub fn decode(key: &Bytes) -> Result<Key, InternalError> {
        read(&mut Reader::new(key))
            .map_err(in_what(WHAT))?
            .ok_or_else(|| {
                let version = key
                    .first_chunk()
                    .map_or(-1, |bytes| i16::from_be_bytes(*bytes));
                InternalError::Version {
                    what: WHAT,
                    version,
                }
            })
    }

    /// The record's key.
    pub fn encode(&self) -> Result<Bytes, InternalError> {
        match self {
            Key::Offset {
                group,
                topic,
                partition,
            } => {
                let mut writer = Writer::new(WHAT, OFFSET_VERSION);
                writer.string(group)?;
                writer.string(topic)?;
                writer.out.put_i32(*partition);
                Ok(writer.finish())
            }
            Key::Group { group } => {
                let mut writer = Writer::new(WHAT, GROUP_VERSION);
                writer.string(group)?;
                Ok(writer.finish())
            }
            Key::Other { version } => Err(InternalError::Version {
                what: WHAT,
                version: *version,
            }),
        }
    }
}

fn read(reader: &mut Reader) -> Result<Option<Key>, ReadError> {
    match reader.i16()? {
        0 | OFFSET_VERSION => Ok(Some(Key::Offset {
            group: reader.text(false)?,
            topic: reader.text(false)?,
            partition: reader.i32()?,
        })),
        GROUP_VERSION => Ok(Some(Key::Group {
            group: reader.text(false)?,
        })),
        version if version > GROUP_VERSION => Ok(Some(Key::Other { version })),
        _negative => Ok(None),
    }
}
