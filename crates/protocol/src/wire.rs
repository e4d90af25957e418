//! The message crate's plumbing that other crates need, so that only this crate depends on it.

pub use kafka_protocol::protocol::{
    Decodable, Encodable, Message, Request, StrBytes,
    buf::{ByteBuf, ByteBufMut},
};
