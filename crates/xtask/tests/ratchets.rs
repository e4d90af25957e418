//! The recorded figures of the code hold: none got worse, and every improvement is recorded.

#[test]
fn the_code_is_as_its_ratchets_record() {
    let differences = xtask::ratchets::differences().expect("every file of ours is parsed");
    assert!(
        differences.is_empty(),
        "figures of the code changed:\n{}",
        differences.join("\n")
    );
}
