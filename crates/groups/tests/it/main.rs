//! Tests of the group machine: stories, the replay law, bytes, limits.

mod formats;
mod law;
mod limits;
mod scripts;
mod words;
