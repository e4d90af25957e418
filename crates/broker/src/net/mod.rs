//! Connections: accepting them, splitting them into frames, answering in order.

pub mod answer;
pub mod connection;
pub mod listener;
mod receive;
mod send;
