//! Shadow links as functions and tables: what a link is, which names it selects, what to do about
//! what the source shows, and in which order a link ends.
//!
//! Invariant: everything here is a pure function of its arguments. What a link *is* at a moment
//! stands in the metadata machine (`gnomon-catalog`); what it *does* stands in
//! `gnomon-replication`. No clock, no file, no socket, no task here; time comes in as milliseconds.
#![forbid(unsafe_code)]

pub mod config;
pub mod contact;
pub mod failover;
pub mod filter;
pub mod lag;
pub mod link_state;
pub mod loss;
pub mod name;
pub mod ownership;
pub mod peer;
pub mod plan_configs;
pub mod plan_offsets;
pub mod plan_topics;
pub mod reach;
pub mod render;
pub mod status;
pub mod task_state;
pub mod topic_state;
pub mod verdict;

pub use config::{
    ClientOptions, ConfigError, GroupSync, LinkConfig, Start, TopicSync, parse_link_file,
};
pub use filter::{FilterType, NameFilter, PatternType, selects, selects_group};
pub use link_state::LinkState;
pub use name::LinkName;
pub use status::{LinkStatus, PartitionStatus, TaskStatus, TopicStatus};
pub use task_state::{Task, TaskState};
pub use topic_state::TopicState;
pub use verdict::Verdict;
