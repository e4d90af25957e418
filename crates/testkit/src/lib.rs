//! Sites inside a test: start them, stop them, take their power away, look at what is left.
//!
//! A [`Site`] is a whole broker with a runtime of its own, on the disk that it is given, listening
//! on a free port of the loopback address. It ends with the test. For black-box tests of the binary
//! see `proto-tests`.
#![forbid(unsafe_code)]

mod history;
pub mod sim;
mod site;

pub use gnomon_storage::MemDisk;
pub use history::{Acked, History, Violation};
pub use site::Site;
