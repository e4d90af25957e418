//! One file a command.

pub mod consume;
pub mod link;
pub mod log;
pub mod produce;
pub mod topic;
