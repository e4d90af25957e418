//! Tests of the group machine: stories, consumers that follow the protocol, the replay law and its
//! prefixes, bytes, limits.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod consumers;
mod formats;
mod law;
mod limits;
mod prefixes;
mod protocols;
mod retention;
mod scripts;
mod site;
mod words;
