//! Rules about the repository's own code: `cargo xtask` runs them, and the tests hold them.
#![forbid(unsafe_code)]

pub mod ratchets;
pub mod source;
