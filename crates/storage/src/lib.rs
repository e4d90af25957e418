//! One log on disk: segments in Kafka's format, their indexes, recovery, retention. Knows bytes and
//! offsets only.
//!
//! ```text
//!  start <= ... <= flushed <= end          readers see [start, bound), the bound is the caller's
//! ```
//!
//! Invariants: what [`Log::flushed`] covers survives a power loss; a failed write or sync closes
//! the log to writing until it is reopened (a full disk refuses the write and no more); damage
//! below the flushed offset is kept and answered, never cut. Not here: topic names, producers,
//! transactions, Kafka error codes, clocks, tokio.
#![deny(unsafe_code)]

mod age;
mod append;
mod check;
mod checkpoint;
mod checkpoint_write;
mod checkpoints;
mod create;
pub mod disk;
pub mod dump;
mod durability;
mod error;
mod flush;
mod flush_point;
mod health;
mod index;
mod log;
mod looked;
mod newest;
mod open;
mod options;
mod range;
mod reader;
pub mod recover;
mod reserve;
mod resync;
mod retain;
pub mod retention;
pub mod roll;
mod scan;
mod segment;
mod shared;
mod time_index;
mod truncate;
mod verified;
mod verify;
mod walk;

pub use self::{
    check::{Checked, WrongFile, check},
    checkpoint::{Checkpoint, CheckpointExtra, read_checkpoint},
    checkpoint_write::CheckpointWrite,
    disk::{
        Boot, Disk, DiskFile, Fault, FileSystem, LockGuard, Mapped, MemDisk, OpenMode, RealDisk,
        Space,
    },
    error::{LogError, ReadError},
    flush::FlushPoint,
    health::{FoundDamage, Health},
    log::{Log, SegmentInfo},
    looked::Newest,
    open::{Opened, Reopening},
    options::{LogOptions, RetentionLimits},
    range::FileRange,
    reader::{Headers, LogReader},
    recover::{Cut, Recovery},
};
