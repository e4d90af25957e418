//! Simulation: the broker's own code, two sites and their links, on one thread with paused time, an
//! in-memory disk and network, all by one seed.
//!
//! [`simulate`] runs rounds of trouble and calm and holds every answer that a client gets against
//! the invariants of `docs/architecture.md` ([`check`]). The same seed gives the same story, line
//! by line; a seed that fails is its own reproduction. Not here: what a fault means (`faults.rs`,
//! `net`, `mount.rs`), who works (`work`), what is known (`model.rs`).

mod admin;
mod batch;
mod calm;
pub mod check;
mod faults;
pub mod log;
pub mod model;
mod mount;
pub mod net;
mod process;
mod rng;
mod run;
mod trace;
mod txns;
mod wire;
mod work;
mod world;

pub use batch::simulate_many;
pub use rng::Rng;
pub use run::{Plan, RunReport, simulate};

use work::goes_on;
