//! What users need of the message crate's plumbing, so that only this crate depends on it.

pub use kafka_protocol::protocol::{
    Decodable, Encodable, Message, Request, StrBytes,
    buf::{ByteBuf, ByteBufMut},
};
