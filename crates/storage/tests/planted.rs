//! The planted skipped fsync must be caught; see `model.rs`.
