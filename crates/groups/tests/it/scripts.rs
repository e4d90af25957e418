//! Runs the scripts of `testdata/`: the classic protocol and offsets. Each file is one story.

use crate::words::GroupWords;
use gnomon_machine::harness::run_scripts;

#[test]
fn the_classic_protocol_does_what_its_stories_say() {
    run_scripts(
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/classic"),
        GroupWords::default,
    );
}

#[test]
fn offsets_do_what_their_stories_say() {
    run_scripts(
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/offsets"),
        GroupWords::default,
    );
}
