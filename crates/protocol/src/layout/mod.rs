//! A guard in front of the message crate: walks a message by its layout before anything is decoded.
//!
//! The message crate reserves room for as many elements as an array announces, so a five-byte
//! Metadata request could make it ask for 300 GB and abort the process. The walk knows where every
//! array of every message is and refuses a count that the bytes left cannot hold, lengths beyond
//! the end, and more elements in all than the caller's limit, allocating nothing itself. What
//! passes costs the decoder memory in proportion to its bytes. What is left to the decoder: UTF-8,
//! null where it must not be, tags of newer versions.
//!
//! The same tables make valid messages by chance ([`crate::sample`]), for tests that then damage
//! them.

mod group_response;
mod request;
mod response;

use crate::{
    api::{self, Api},
    read::{ReadError, Reader},
};
use bytes::Bytes;

/// Elements of arrays and tagged fields that one request may have, in all.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 20;
/// The same for a response, which a source cluster with many partitions makes larger.
pub const RESPONSE_ELEMENTS_MAX: usize = 1 << 24;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Uuid,
    /// Compact in flexible versions, as bytes and arrays are.
    Str,
    /// Bytes, records included.
    Bin,
    Arr(&'static Kind),
    Rec(Fields),
}

/// A field of a message or of a structure inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) from: i16,
    pub(crate) to: i16,
    pub(crate) tag: Option<u32>,
    pub(crate) null: bool,
}

/// Fields in wire order, tagged ones after.
pub(crate) type Fields = &'static [Field];

const fn f(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        from: 0,
        to: i16::MAX,
        tag: None,
        null: false,
    }
}

impl Field {
    const fn from(mut self, version: i16) -> Field {
        self.from = version;
        self
    }

    const fn within(mut self, from: i16, to: i16) -> Field {
        self.from = from;
        self.to = to;
        self
    }

    const fn tag(mut self, from: i16, tag: u32) -> Field {
        self.from = from;
        self.tag = Some(tag);
        self
    }

    const fn nullable(mut self) -> Field {
        self.null = true;
        self
    }

    pub(crate) fn is_in(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

/// The layout of a message; `None` for an API that is not in the table.
pub(crate) fn fields(direction: Direction, key: i16) -> Option<(&'static Api, Fields)> {
    let fields = match direction {
        Direction::Request => request::request(key),
        Direction::Response => response::response(key),
    };
    Some((api::api(key)?, fields?))
}

/// Where a message is damaged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Damage {
    /// Kafka's name of the field.
    pub field: &'static str,
    /// The error in its bytes.
    pub why: ReadError,
}

/// Walks a message; returns how many bytes it has, which may be fewer than `body` has.
pub(crate) fn walk(
    fields: Fields,
    version: i16,
    flexible: bool,
    body: &Bytes,
    elements_max: usize,
) -> Result<usize, Damage> {
    let mut walk = Walk {
        version,
        flexible,
        field: "message",
        elements_left: elements_max,
        elements_max,
    };
    let mut reader = Reader::new(body);
    match walk.record(fields, &mut reader) {
        Ok(()) => Ok(reader.at()),
        Err(why) => Err(Damage {
            field: walk.field,
            why,
        }),
    }
}

struct Walk {
    version: i16,
    flexible: bool,
    /// The field that is being walked.
    field: &'static str,
    elements_left: usize,
    elements_max: usize,
}

impl Walk {
    fn record(&mut self, fields: Fields, reader: &mut Reader) -> Result<(), ReadError> {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|field| field.tag.is_none() && field.is_in(version))
        {
            self.field = field.name;
            self.value(field.kind, reader)?;
        }
        if self.flexible {
            self.tags(fields, reader)
        } else {
            Ok(())
        }
    }

    fn tags(&mut self, fields: Fields, reader: &mut Reader) -> Result<(), ReadError> {
        self.field = "tagged fields";
        let count = reader.varint()? as usize;
        self.spend(count)?;
        for _ in 0..count {
            let tag = reader.varint()?;
            let size = reader.varint()? as usize;
            let mut value = reader.part(size)?;
            let known = fields
                .iter()
                .find(|field| field.tag == Some(tag) && field.is_in(self.version));
            if let Some(field) = known {
                self.field = field.name;
                self.value(field.kind, &mut value)?;
                if value.left() > 0 {
                    return Err(ReadError::TagSize {
                        at: reader.at(),
                        left: value.left(),
                    });
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: Kind, reader: &mut Reader) -> Result<(), ReadError> {
        match kind {
            Kind::Bool | Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 | Kind::Uuid => {
                reader.skip(self.bytes_min(kind))
            }
            Kind::Str => {
                let length = reader.string_length(self.flexible)?;
                reader.skip(length.unwrap_or(0))
            }
            Kind::Bin => {
                let length = reader.length(self.flexible)?;
                reader.skip(length.unwrap_or(0))
            }
            Kind::Arr(element) => {
                let count = reader
                    .count(self.flexible, self.bytes_min(*element))?
                    .unwrap_or(0);
                self.spend(count)?;
                for _ in 0..count {
                    self.value(*element, reader)?;
                }
                Ok(())
            }
            Kind::Rec(fields) => self.record(fields, reader),
        }
    }

    /// The fewest bytes that a value takes.
    fn bytes_min(&self, kind: Kind) -> usize {
        match kind {
            Kind::Bool | Kind::I8 => 1,
            Kind::I16 => 2,
            Kind::I32 => 4,
            Kind::I64 => 8,
            Kind::Uuid => 16,
            Kind::Str if !self.flexible => 2,
            Kind::Bin | Kind::Arr(_) if !self.flexible => 4,
            Kind::Str | Kind::Bin | Kind::Arr(_) => 1,
            Kind::Rec(fields) => {
                let plain = fields
                    .iter()
                    .filter(|field| field.tag.is_none() && field.is_in(self.version));
                plain.map(|field| self.bytes_min(field.kind)).sum::<usize>()
                    + usize::from(self.flexible)
            }
        }
    }

    fn spend(&mut self, elements: usize) -> Result<(), ReadError> {
        self.elements_left =
            self.elements_left
                .checked_sub(elements)
                .ok_or(ReadError::Elements {
                    max: self.elements_max,
                })?;
        Ok(())
    }
}
