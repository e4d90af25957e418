//! The driver of machines: runs any [`gnomon_machine::Machine`] over its log, and is the one place
//! where "answered when durable" happens.
//!
//! - [`Driver`] rebuilds a machine from its log and runs it, leading or following.
//! - [`Journal`] is the log as a driver needs it; [`PartitionJournal`] is one partition of an
//!   internal topic.
//! - [`Shards`] runs one machine for each partition of an internal topic, and routes by key.
//! - [`supervise`] starts tasks whose panic must not go unnoticed.
//! - [`Clock`] is the only place that reads a clock.
//!
//! Not here: what any machine decides, and where its log lies.
#![forbid(unsafe_code)]

mod clock;
mod driver;
mod journal;
mod leadership;
mod outstanding;
mod owner;
mod partition_journal;
mod replay;
mod retry_delay;
mod shards;
mod snapshot;
mod submit;
pub mod supervise;

pub use clock::{Clock, WallClock};
pub use driver::{Driver, RebuildError};
pub use journal::{Journal, JournalError, LogPosition, ReadLog, Visit};
pub use leadership::Leadership;
pub use owner::Owner;
pub use partition_journal::{ClosedForGood, PartitionJournal, Reopen, visit_batch};
pub use replay::read_durable;
pub use retry_delay::RetryDelay;
pub use shards::{Shard, ShardError, ShardLogs, Shards};
pub use submit::{NoReply, Submit};
