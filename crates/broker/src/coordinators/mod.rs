//! The site's machines, each over an internal log of its own.

pub mod catalog;
pub mod groups;
pub mod producer_ids;
