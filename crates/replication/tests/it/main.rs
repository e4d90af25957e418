//! Links against a scripted source, with the real metadata machine, real partitions on a disk in
//! memory, and paused time.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod broken;
mod catch_up;
mod contact;
mod disk;
mod divergence;
mod failover;
mod gap;
mod groups;
mod live;
mod loss;
mod queries;
mod settings;
mod site;
mod source_restart;
mod steps;
