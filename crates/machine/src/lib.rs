//! A state that changes by durable records only: [`Machine`].
//!
//! Metadata and each shard of the consumer groups are machines. A machine decides (`step`, `tick`)
//! without changing its durable state. The driver appends the records that it returned, applies
//! them with [`Machine::replay`], and lets replies and actions out once the records are durable.
//!
//! Invariant, the replay law: everything that a client was told can be rebuilt from the log. The
//! feature `harness` tests it by random events.
//!
//! Not here: logs, clocks, threads, randomness. Time and fresh ids come in with the event.
#![forbid(unsafe_code)]

#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "harness")]
pub mod replay_law;
pub mod timers;

pub use timers::Timers;

use bytes::Bytes;
use std::fmt::Debug;

/// Monotonic time in milliseconds since an arbitrary start: for timers, never written to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// This moment plus `milliseconds`.
    pub fn after(self, milliseconds: u64) -> Mono {
        Mono(self.0.saturating_add(milliseconds))
    }
}

/// Wall time in milliseconds since the Unix epoch: for records, never for timers, because it can be
/// set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// The time of a step, given by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    /// For records.
    pub wall: Wall,
}

/// Identifies the caller that waits for a reply. The driver makes it, the machine only keeps it;
/// each is answered at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// The outcome of a step, in this order: the records are appended in one atomic batch; once they
/// are durable the replies are given and the actions begun. Replies and actions without records
/// wait for every record before them all the same, because they may rest on it.
pub struct Effects<M: Machine + ?Sized> {
    /// The only changes of `Durable`.
    pub records: Vec<M::Record>,
    /// Replies to the caller of this step and to parked ones.
    pub replies: Vec<(ReplyToken, M::Reply)>,
    /// Work that the machine cannot do itself. It is done at least once, so it must be idempotent.
    pub actions: Vec<M::Action>,
}

impl<M: Machine + ?Sized> Effects<M> {
    pub fn none() -> Self {
        Effects {
            records: Vec::new(),
            replies: Vec::new(),
            actions: Vec::new(),
        }
    }

    pub fn reply(token: ReplyToken, reply: M::Reply) -> Self {
        Effects {
            records: Vec::new(),
            replies: vec![(token, reply)],
            actions: Vec::new(),
        }
    }
}

/// A state that changes by durable records only. The driver MUST call `replay` with exactly the
/// records of a step, in order, before the next `step`, and MUST NOT call it with records that were
/// not appended.
pub trait Machine: 'static {
    /// The state that a restart rebuilds from the records.
    type Durable: Default + Send;
    /// The state that a restart loses: joining members, parked replies, timers.
    type Soft: Default + Send;
    /// A request of a caller, or a report of work that was done outside.
    type Event: Send;
    type Record: DurableRecord + Send;
    /// The answer to a caller.
    type Reply: Send;
    /// Work for the outside world.
    type Action: Send;

    /// Decides about an event. May change `Soft`, never `Durable`.
    fn step(
        durable: &Self::Durable,
        soft: &mut Self::Soft,
        now: Now,
        event: Self::Event,
        token: ReplyToken,
    ) -> Effects<Self>;

    /// Decides about deadlines that have passed, and takes them out. May change `Soft`, never
    /// `Durable`.
    fn tick(durable: &Self::Durable, soft: &mut Self::Soft, now: Now) -> Effects<Self>;

    /// The only function that changes `Durable`, live and at recovery.
    fn replay(durable: &mut Self::Durable, record: &Self::Record);

    /// This process leads the log from now on: continues work that was under way. Actions that may
    /// not have been done are returned again.
    fn led(durable: &Self::Durable, soft: &mut Self::Soft, now: Now) -> Effects<Self>;

    /// This process no longer leads: refuses every parked request. The caller drops `Soft`.
    fn resigned(soft: &mut Self::Soft) -> Vec<(ReplyToken, Self::Reply)>;

    /// The whole of `Durable` as records: replayed on a default `Durable`, they give an equal one.
    fn snapshot(durable: &Self::Durable) -> Vec<Self::Record>;

    /// The time of the next `tick`, if any.
    fn deadline(soft: &Self::Soft) -> Option<Mono>;
}

/// The key and value of a record, as they are in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// Identifies the thing that the record changes; compaction keeps the last record of a key.
    pub key: Option<Bytes>,
    /// Its new value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A durable change that can be written and read.
pub trait DurableRecord: Sized + Debug {
    fn encode(&self) -> EncodedRecord;

    /// Reads the bytes that `encode` wrote.
    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, UnreadableRecord>;
}

/// A record that this version cannot read. The start must stop with this sentence, because going on
/// would lose a part of the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {what} record (type {kind}, version {version}): {why}")]
pub struct UnreadableRecord {
    /// The machine: "catalog", "group".
    pub what: &'static str,
    /// The record's type number, -1 when not even that could be read.
    pub kind: i32,
    /// The record's version number, -1 when not even that could be read.
    pub version: i32,
    pub why: String,
}
