//! The operators' side: HTTP with JSON, and metrics.

pub mod http;
mod links;
mod metrics;
