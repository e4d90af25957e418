//! One file a command.

pub mod consume;
mod lines;
pub mod link;
pub mod log;
mod log_check;
mod log_dump;
pub mod produce;
pub mod topic;
