//! Runs the scripts: the classic protocol and offsets, each file one story.

use crate::words::Words;
use gnomon_machine::harness::run_scripts;

#[test]
fn classic() {
    run_scripts(
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/classic"),
        Words::default,
    );
}

#[test]
fn offsets() {
    run_scripts(
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/offsets"),
        Words::default,
    );
}
