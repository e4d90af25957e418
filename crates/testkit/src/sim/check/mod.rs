//! The invariants, each a function that is given what clients were told before and what they are
//! told now. Their numbers are those of
//! `docs/architecture.md`.
//!
//! Pure: a check changes nothing, and says what is wrong in a sentence with the numbers. Who calls
//! them, and when, is `model.rs`'s.

pub mod groups;
pub mod links;
pub mod records;
pub mod shadows;
#[cfg(test)]
mod tests;
pub mod txns;

use std::fmt;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name in the list: `L1`, `R4`.
    pub invariant: &'static str,
    /// The observation.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// The result of a check.
pub type Check = Result<(), Violation>;

/// Fails with a sentence unless `holds`.
pub(super) fn unless(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            what: what(),
        })
    }
}
