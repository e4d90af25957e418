//! One partition, with Kafka's meaning: who may write it, sequences, transactions, watermarks, and
//! replies that wait for them.
//!
//! Above it nobody sees a log, below it nobody sees a producer. It knows no requests, no topics
//! beyond a name for messages, and no clock.
//!
//! - [`Handle`] is a partition, with a contract for each of its callers: [`PartitionAppender`],
//!   [`PartitionReader`], [`PartitionCopier`] and [`PartitionControl`].
//! - [`Flusher`] is the group commit that all partitions of a process share.
//! - The decisions are pure and in files of their own: see the README.
#![forbid(unsafe_code)]

mod acks;
mod admit;
mod admit_at;
mod ahead;
mod append;
mod by_time;
mod control;
mod copy;
mod durable;
mod epochs;
mod error;
mod failover;
mod flushable;
mod flusher;
mod follow;
mod handle;
mod id;
pub mod inspect;
mod log_state;
mod look;
mod offsets;
mod position;
pub mod presence;
mod producer;
mod producer_snapshot;
mod reader;
mod rebuild;
mod refused;
mod reopen;
mod reserved;
mod role;
mod settings;
mod state;
#[cfg(test)]
mod test_headers;
mod trim;
mod txn_index;
mod txns;
mod waiters;

pub use acks::Lost;
pub use admit_at::SourceBounds;
pub use ahead::{QueryId, QuerySubject, SourceAnswer, SourceEpochEnd, SourceQuery};
pub use append::Appended;
pub use by_time::{ByTime, TimedOffset};
pub use control::Cut;
pub use copy::CopiedTo;
pub use epochs::EpochEnd;
pub use error::{
    AppendAtError, AppendError, CloseError, EpochMismatch, FollowError, OpenError, ReadError,
    ReopenError, TrimError,
};
pub use flusher::{Blocking, Flusher, THREADS_MAX};
pub use handle::{Handle, PartitionAppender, PartitionControl, PartitionCopier, PartitionReader};
pub use id::{PartitionId, PartitionName};
pub use log_state::OpenTxn;
pub use look::{Begun, LightWork, LookedAt, Unreadable};
pub use offsets::Offsets;
pub use position::{Position, PositionState};
pub use producer::{LastMarker, Producer, Remembered, SequenceError};
pub use reader::{Isolation, Read};
pub use reserved::ReservedLogs;
pub use role::{Fence, FenceRefusal, LinkLabel, Origin, Replica, Role, RoleRefusal, Writers};
pub use settings::{Env, RecordValidation, Settings, TimestampType, Troubles};
pub use txn_index::Aborted;
pub use waiters::Waiter;
