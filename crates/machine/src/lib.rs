//! The one shape of everything that must survive a crash: a state that changes by durable records.
//!
//! Metadata, consumer groups, transactions and schemas are each a [`Machine`]. A machine decides
//! (`step`, `tick`) without touching its durable state; the driver in the broker appends the
//! records it returned, applies them by [`Machine::replay`], and lets replies and actions out once
//! they are durable. So whatever a client was told can be rebuilt from the log: the replay law,
//! which the `harness` feature tests by random events.
//!
//! Not here: any log, clock, thread or randomness. Time and fresh ids come in with the event.

#[cfg(feature = "harness")]
pub mod harness;
#[cfg(feature = "harness")]
pub mod replay_law;
pub mod timers;

pub use timers::Timers;

use bytes::Bytes;
use std::fmt::Debug;

/// Monotonic time in milliseconds since an arbitrary start: for timers, never written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// This moment plus `milliseconds`.
    pub fn after(self, milliseconds: u64) -> Mono {
        Mono(self.0.saturating_add(milliseconds))
    }
}

/// Wall time in milliseconds since the Unix epoch: for what is written down, never for timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// The time at which a machine is asked, given by its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Mono,
    /// For what is written down.
    pub wall: Wall,
}

/// Names the caller that waits for an answer; made by the driver, opaque to the machine, answered
/// at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// What a machine wants to happen, in this order: records appended in one atomic batch, and once
/// they are durable the replies given and the actions begun. Replies and actions without records
/// wait for every record before them all the same.
pub struct Effects<M: Machine + ?Sized> {
    /// The only changes of `Durable`.
    pub records: Vec<M::Record>,
    /// Answers, to the caller at hand or to parked ones.
    pub replies: Vec<(ReplyToken, M::Reply)>,
    /// Work for the outside world: at least once, idempotent.
    pub actions: Vec<M::Action>,
}

impl<M: Machine + ?Sized> Effects<M> {
    /// Nothing happens.
    pub fn none() -> Self {
        Effects {
            records: Vec::new(),
            replies: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Only an answer.
    pub fn reply(token: ReplyToken, reply: M::Reply) -> Self {
        Effects {
            records: Vec::new(),
            replies: vec![(token, reply)],
            actions: Vec::new(),
        }
    }
}

/// A state that changes by durable records only. See the crate's page for the contract; the driver
/// MUST call `replay` with exactly the records of a step, in order, before the next `step`, and
/// MUST NOT call it with records that were not appended.
pub trait Machine: 'static {
    /// The state that survives: rebuilt from records.
    type Durable: Default + Send;
    /// The state that does not: members that are joining, parked replies, timers.
    type Soft: Default + Send;
    /// A caller's request, or a report from the outside world.
    type Event: Send;
    /// One durable change.
    type Record: DurableRecord + Send;
    /// The answer to a caller.
    type Reply: Send;
    /// Work for the outside world.
    type Action: Send;

    /// Decides. May change `Soft`, never `Durable`.
    fn step(
        durable: &Self::Durable,
        soft: &mut Self::Soft,
        now: Now,
        event: Self::Event,
        token: ReplyToken,
    ) -> Effects<Self>;

    /// A deadline has passed.
    fn tick(durable: &Self::Durable, soft: &mut Self::Soft, now: Now) -> Effects<Self>;

    /// The only change of `Durable`, live and at recovery.
    fn replay(durable: &mut Self::Durable, record: &Self::Record);

    /// We now lead this log: take up again what was under way. Actions are re-issued here.
    fn led(durable: &Self::Durable, soft: &mut Self::Soft, now: Now) -> Effects<Self>;

    /// We no longer lead: every parked reply fails, `Soft` is dropped by the caller.
    fn resigned(soft: &mut Self::Soft) -> Vec<(ReplyToken, Self::Reply)>;

    /// The whole of `Durable` as records: replayed on a default `Durable` they give an equal one.
    fn snapshot(durable: &Self::Durable) -> Vec<Self::Record>;

    /// When `tick` wants to be called, if ever.
    fn deadline(soft: &Self::Soft) -> Option<Mono>;
}

/// A record's two halves as they stand in the log, as Kafka's records have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// What the record is about.
    pub key: Option<Bytes>,
    /// Its new value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A durable change that can be written and read back.
pub trait DurableRecord: Sized + Debug {
    /// The bytes to append.
    fn encode(&self) -> EncodedRecord;

    /// Reads back what `encode` wrote.
    fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, UnreadableRecord>;
}

/// A record that this build cannot read: the start must stop with this sentence rather than go on
/// with half a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {what} record (type {kind}, version {version}): {why}")]
pub struct UnreadableRecord {
    /// Whose record: "catalog", "group".
    pub what: &'static str,
    /// The record's type number, -1 when not even that could be read.
    pub kind: i32,
    /// The record's version number, -1 when not even that could be read.
    pub version: i32,
    /// What is wrong with it.
    pub why: String,
}
