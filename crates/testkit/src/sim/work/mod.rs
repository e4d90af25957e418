//! The actors of a simulation: producers, readers, groups, and operators of both kinds. Each runs
//! until it is told to stop, and hands itself back.
//!
//! Nobody here judges an answer: what was told goes to the model.

pub mod committed;
pub mod landlord;
pub mod member;
pub mod operator;
pub mod producer;
pub mod reader;
pub mod watcher;

use super::world::World;
use tokio::time::Instant;

/// Whether somebody who works until `until` goes on.
pub(super) fn goes_on(world: &World, until: Instant) -> bool {
    Instant::now() < until && !world.is_over()
}
