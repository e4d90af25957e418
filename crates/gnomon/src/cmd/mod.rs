//! One file a command.

pub mod consume;
pub mod link;
pub mod log;
mod log_check;
mod log_dump;
pub mod produce;
pub mod topic;
