//! Connections: accepting them, splitting them into frames, answering in order.

pub mod answer;
pub mod connection;
pub mod listener;
pub mod network;
mod receive;
mod send;
