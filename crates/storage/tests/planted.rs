//! The checker is checked: with a planted bug, a flush that does not sync, the random lives must fail. Needs feature `failpoints`; a process
//! of its own, since fail points are global.

mod common;

#[test]
fn a_skipped_fsync_is_caught() {
    fail::cfg("skip_fsync", "return").expect("a fail point");
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..50).filter(|seed| std::panic::catch_unwind(|| common::random::live(*seed, 80)).is_err()).count();
    let _ = std::panic::take_hook();
    fail::remove("skip_fsync");
    assert!(caught >= 40, "only {caught} of 50 lives noticed that nothing was ever synced");
}
