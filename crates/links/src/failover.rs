//! How a shadow topic becomes this site's own: the steps, their order, what each leaves durable,
//! and what is to do after a crash.
//!
//! Three record lists, each for all topics of the command: (a) the fence; (c) with (d), cut and new
//! epochs; (g) done. What lies between is work on partitions that may be done twice, by the same
//! process or by any later incarnation, whose leader epochs are above the recorded ones. So what
//! was found durable, and what partitions have reported since, says what to do next: [`TABLE`].

use std::fmt;

/// A step of a failover, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// (a) FAILING_OVER and a new fence are durable: a late answer of the source can no longer be
    /// appended.
    Fence,
    /// (b) Replicators stopped, dirty partitions flushed.
    Stop,
    /// (c) The cut is recorded: per partition the end, and the source epoch there.
    Cut,
    /// (d) The new leader epoch is recorded, in one record list with the cut.
    Epoch,
    /// (e) Abort markers for every copied transaction that is open are durable.
    Abort,
    /// (f) Producer ids: ours carry our tag, so there is nothing to do; copied producers may go on
    /// at any higher sequence.
    ProducerIds,
    /// (g) The last fetched group offsets are written.
    Offsets,
    /// (g) FAILED_OVER is durable: the topic is writable.
    Done,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Step; 8] = [
        Step::Fence,
        Step::Stop,
        Step::Cut,
        Step::Epoch,
        Step::Abort,
        Step::ProducerIds,
        Step::Offsets,
        Step::Done,
    ];

    /// The word for status lines and failpoints (`failover_cut`).
    pub fn label(self) -> &'static str {
        match self {
            Step::Fence => "fence",
            Step::Stop => "stop",
            Step::Cut => "cut",
            Step::Epoch => "epoch",
            Step::Abort => "abort",
            Step::ProducerIds => "producer-ids",
            Step::Offsets => "offsets",
            Step::Done => "done",
        }
    }

    /// The letter in the design.
    pub fn letter(self) -> char {
        match self {
            Step::Fence => 'a',
            Step::Stop => 'b',
            Step::Cut => 'c',
            Step::Epoch => 'd',
            Step::Abort => 'e',
            Step::ProducerIds => 'f',
            Step::Offsets | Step::Done => 'g',
        }
    }

    pub fn next(self) -> Option<Step> {
        Step::ALL.into_iter().find(|step| *step > self)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// The new leader epoch is a multiple of this, so that the old owner's next elections cannot meet
/// it.
pub const EPOCH_STRIDE: i32 = 65_536;

/// How the new epoch is chosen. Anything but the default is a planted fault for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochPolicy {
    /// The next multiple of [`EPOCH_STRIDE`] above the highest epoch.
    #[default]
    NextStride,
    /// The highest epoch plus one. Wrong on purpose: the old owner's next election takes the same.
    PlusOne,
}

/// There is no epoch left above the highest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no leader epoch is left above {highest}: the next multiple of 65,536 does not fit 31 bits"
)]
pub struct EpochsExhausted {
    /// The highest epoch known.
    pub highest: i32,
}

/// The leader epoch of a partition after its failover. `highest` is the highest of every epoch
/// copied, seen from the source, or our own; -1 if none, which counts as 0, the first epoch that
/// any source will use.
pub fn next_epoch(highest: i32, policy: EpochPolicy) -> Result<i32, EpochsExhausted> {
    let highest = highest.max(0);
    match policy {
        EpochPolicy::NextStride => (highest / EPOCH_STRIDE + 1).checked_mul(EPOCH_STRIDE),
        EpochPolicy::PlusOne => highest.checked_add(1),
    }
    .ok_or(EpochsExhausted { highest })
}

/// The durable part of a topic's failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recorded {
    /// Nothing: the command was never taken.
    Nothing,
    /// Step (a).
    Fenced,
    /// Steps (c) and (d).
    CutAndEpoch,
    /// Step (g).
    Done,
}

/// How far the partitions of a topic are since we lead. After a start nothing has been reported, so
/// all three are false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Every partition has stopped, flushed, and told its end.
    pub cuts: bool,
    /// Every partition has its abort markers durable.
    pub markers: bool,
    /// The last group offsets are written.
    pub offsets: bool,
}

/// The next step of a topic's failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// Nothing: it is not failing over, or it is done.
    Nothing,
    /// Ask its partitions to stop, flush and tell their ends: steps (b) and (c).
    Cut,
    /// Record cut and epochs, with all topics of the command that are as far: (c) and (d).
    RecordCut,
    /// Ask its partitions to abort what is open: (e).
    AbortOpen,
    /// Ask for the last group offsets: (g).
    ApplyOffsets,
    /// Record FAILED_OVER, with all topics of the command that are as far: (g).
    RecordDone,
}

/// One situation. `None` stands for either.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub found: &'static str,
    /// The durable part.
    pub recorded: Recorded,
    /// Whether the cuts are in.
    pub cuts: Option<bool>,
    /// Whether the markers are.
    pub markers: Option<bool>,
    /// Whether the offsets are.
    pub offsets: Option<bool>,
    pub next: Next,
}

/// Every situation matches exactly one row.
pub static TABLE: [Row; 7] = [
    row(
        "the command was not durable: it was never taken, its caller asks again",
        Recorded::Nothing,
        None,
        None,
        None,
        Next::Nothing,
    ),
    row(
        "fenced, some ends unknown: stopping twice is harmless",
        Recorded::Fenced,
        Some(false),
        None,
        None,
        Next::Cut,
    ),
    row(
        "fenced, all ends known: nothing can have moved them since",
        Recorded::Fenced,
        Some(true),
        None,
        None,
        Next::RecordCut,
    ),
    row(
        "cut, markers not known durable: what is aborted already is not open",
        Recorded::CutAndEpoch,
        None,
        Some(false),
        None,
        Next::AbortOpen,
    ),
    row(
        "aborted, offsets not known written: the same offsets again",
        Recorded::CutAndEpoch,
        None,
        Some(true),
        Some(false),
        Next::ApplyOffsets,
    ),
    row(
        "all work done: the topic may be written",
        Recorded::CutAndEpoch,
        None,
        Some(true),
        Some(true),
        Next::RecordDone,
    ),
    row(
        "done: the topic is an ordinary one",
        Recorded::Done,
        None,
        None,
        None,
        Next::Nothing,
    ),
];

const fn row(
    found: &'static str,
    recorded: Recorded,
    cuts: Option<bool>,
    markers: Option<bool>,
    offsets: Option<bool>,
    next: Next,
) -> Row {
    Row {
        found,
        recorded,
        cuts,
        markers,
        offsets,
        next,
    }
}

impl Row {
    /// Whether a situation is this one.
    pub fn matches(&self, recorded: Recorded, reported: Reported) -> bool {
        self.recorded == recorded
            && self.cuts.is_none_or(|cuts| cuts == reported.cuts)
            && self
                .markers
                .is_none_or(|markers| markers == reported.markers)
            && self
                .offsets
                .is_none_or(|offsets| offsets == reported.offsets)
    }
}

/// The row of a situation.
pub fn row_of(recorded: Recorded, reported: Reported) -> &'static Row {
    TABLE
        .iter()
        .find(|row| row.matches(recorded, reported))
        .expect("the table covers every situation: see its test")
}

/// The next step in a situation.
pub fn next(recorded: Recorded, reported: Reported) -> Next {
    row_of(recorded, reported).next
}

/// The step that a topic in this situation is at, for its status; `None` before the first.
pub fn step_at(recorded: Recorded, reported: Reported) -> Option<Step> {
    match (recorded, next(recorded, reported)) {
        (Recorded::Nothing, _) => None,
        (_, Next::Cut) => Some(Step::Stop),
        (_, Next::RecordCut) => Some(Step::Cut),
        (_, Next::AbortOpen) => Some(Step::Abort),
        (_, Next::ApplyOffsets) => Some(Step::Offsets),
        (_, Next::RecordDone | Next::Nothing) => Some(Step::Done),
    }
}
