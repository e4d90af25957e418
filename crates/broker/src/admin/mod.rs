//! The operators' side: HTTP with JSON, and metrics.

mod guard;
pub mod http;
mod links;
mod metrics;
mod refused;
mod server;
