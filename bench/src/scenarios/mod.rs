//! One file a scenario: what is started, what is put on it, what is printed.

pub mod pair_lag;
pub mod produce;
