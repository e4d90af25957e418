//! The states of a shadow topic, and the one table of legal moves.
//!
//! Promotion passes through FAILING_OVER too: its step (a) is the same fence, only the last word
//! differs. STALLED and SOURCE MISSING are reasons beside ACTIVE, not states; FENCED is a state of
//! an own topic, not of a shadow.

use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a shadow topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicState {
    /// It copies.
    Active,
    /// It stands still by request.
    Paused,
    /// It stands still for a reason that only an operator or the source can take away.
    Faulted,
    /// Step (a) of a failover is durable: nothing of the source can be appended any more, nobody
    /// can write yet.
    FailingOver,
    /// Writable here.
    FailedOver,
    /// A planned hand-over drains; it can still be called off.
    Promoting,
    /// Writable here, and nothing was lost.
    Promoted,
}

/// Every legal move of a shadow topic, with its occasion.
pub const MOVES: &[(TopicState, TopicState, &str)] = &[
    (TopicState::Active, TopicState::Paused, "paused by request"),
    (
        TopicState::Active,
        TopicState::Faulted,
        "divergence, gap, recreated or shrunk source topic",
    ),
    (
        TopicState::Active,
        TopicState::FailingOver,
        "failover, step (a)",
    ),
    (
        TopicState::Active,
        TopicState::Promoting,
        "promotion asked for",
    ),
    (TopicState::Paused, TopicState::Active, "resumed"),
    (
        TopicState::Paused,
        TopicState::Faulted,
        "the source topic was recreated or shrunk meanwhile",
    ),
    (
        TopicState::Paused,
        TopicState::FailingOver,
        "failover, step (a)",
    ),
    (TopicState::Faulted, TopicState::Active, "resumed"),
    (
        TopicState::Faulted,
        TopicState::FailingOver,
        "failover, step (a)",
    ),
    (
        TopicState::Promoting,
        TopicState::Active,
        "called off, or timed out, before step (a)",
    ),
    (TopicState::Promoting, TopicState::Faulted, "as from ACTIVE"),
    (
        TopicState::Promoting,
        TopicState::FailingOver,
        "step (a) of the promotion, or of a failover when the source dies on the way",
    ),
    (
        TopicState::FailingOver,
        TopicState::FailedOver,
        "failover, step (g)",
    ),
    (
        TopicState::FailingOver,
        TopicState::Promoted,
        "promotion, step (g)",
    ),
];

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shadow topic that is {from} cannot become {to}")]
pub struct IllegalMove {
    /// The state it is in.
    pub from: TopicState,
    /// The state that was asked for.
    pub to: TopicState,
}

/// Whether a shadow topic may go from one state to another. Staying is not a move: who may be
/// called twice asks first.
pub fn step(from: TopicState, to: TopicState) -> Result<(), IllegalMove> {
    if MOVES.iter().any(|(f, t, _)| (*f, *t) == (from, to)) {
        Ok(())
    } else {
        Err(IllegalMove { from, to })
    }
}

impl TopicState {
    pub const ALL: [TopicState; 7] = [
        TopicState::Active,
        TopicState::Paused,
        TopicState::Faulted,
        TopicState::FailingOver,
        TopicState::FailedOver,
        TopicState::Promoting,
        TopicState::Promoted,
    ];

    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            TopicState::Active => "ACTIVE",
            TopicState::Paused => "PAUSED",
            TopicState::Faulted => "FAULTED",
            TopicState::FailingOver => "FAILING_OVER",
            TopicState::FailedOver => "FAILED_OVER",
            TopicState::Promoting => "PROMOTING",
            TopicState::Promoted => "PROMOTED",
        }
    }

    /// Reads what [`TopicState::name`] wrote, in any case.
    pub fn from_name(name: &str) -> Option<TopicState> {
        TopicState::ALL
            .into_iter()
            .find(|state| state.name().eq_ignore_ascii_case(name))
    }

    /// Whether replicators run for it.
    pub fn copies(self) -> bool {
        matches!(self, TopicState::Active | TopicState::Promoting)
    }

    /// Whether the link is its only writer: read-only for clients, and its log start follows the
    /// source.
    pub fn is_shadow(self) -> bool {
        matches!(
            self,
            TopicState::Active | TopicState::Paused | TopicState::Faulted | TopicState::Promoting
        )
    }

    /// Whether it is this site's own now: clients write it, and the link does not claim its name
    /// any more.
    pub fn is_ours(self) -> bool {
        matches!(self, TopicState::FailedOver | TopicState::Promoted)
    }
}

impl fmt::Display for TopicState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
