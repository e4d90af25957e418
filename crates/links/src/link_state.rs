//! The states of a link, and the one table of its legal moves. A link that has failed over whole
//! never comes back: a file does not revive it.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LinkState {
    /// It discovers, copies and syncs.
    Active,
    /// It stands still by request; its topics stay read-only.
    Paused,
    /// Ended whole: discovery has stopped, it claims no name any more. Shown to `rpk` as PAUSED.
    FailedOver,
}

/// Every legal move of a link.
pub const MOVES: &[(LinkState, LinkState)] = &[
    (LinkState::Active, LinkState::Paused),
    (LinkState::Paused, LinkState::Active),
    (LinkState::Active, LinkState::FailedOver),
    (LinkState::Paused, LinkState::FailedOver),
];

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a link that is {from} cannot become {to}")]
pub struct IllegalMove {
    /// The state it is in.
    pub from: LinkState,
    /// The state that was asked for.
    pub to: LinkState,
}

/// Whether a link may go from one state to another. Staying is not a move.
pub fn step(from: LinkState, to: LinkState) -> Result<(), IllegalMove> {
    if MOVES.contains(&(from, to)) {
        Ok(())
    } else {
        Err(IllegalMove { from, to })
    }
}

impl LinkState {
    pub const ALL: [LinkState; 3] = [LinkState::Active, LinkState::Paused, LinkState::FailedOver];

    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            LinkState::Active => "ACTIVE",
            LinkState::Paused => "PAUSED",
            LinkState::FailedOver => "FAILED_OVER",
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_back_from_failed_over() {
        for to in LinkState::ALL {
            assert!(step(LinkState::FailedOver, to).is_err());
        }
        assert_eq!(
            step(LinkState::FailedOver, LinkState::Active)
                .unwrap_err()
                .to_string(),
            "a link that is FAILED_OVER cannot become ACTIVE"
        );
        assert!(step(LinkState::Active, LinkState::Paused).is_ok());
    }
}
