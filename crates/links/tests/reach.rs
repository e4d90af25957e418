//! When a link goes down and comes back: told once each, with how long it was down.

use gnomon_links::reach::{Reach, ReachNews};

const SILENCE_MS: u64 = 5_500;

#[test]
fn a_link_goes_down_once_and_comes_back_once() {
    let mut reach = Reach::new(1_000);
    assert_eq!(reach.answered(2_000), None, "it was not down");
    reach.failed("connection refused");
    assert_eq!(
        reach.look(7_500, SILENCE_MS),
        None,
        "one failure is no news"
    );
    assert_eq!(
        reach.look(7_501, SILENCE_MS),
        Some(ReachNews::Down {
            seconds: 5.501,
            why: "connection refused".into()
        })
    );
    reach.failed("timed out");
    assert_eq!(reach.look(60_000, SILENCE_MS), None, "told once");
    assert_eq!(reach.silent_seconds(62_000), 60.0);
    assert_eq!(
        reach.answered(62_000),
        Some(ReachNews::Up { seconds: 60.0 })
    );
    assert_eq!(reach.answered(62_001), None, "told once");
    assert_eq!(
        reach.look(70_000, SILENCE_MS),
        Some(ReachNews::Down {
            seconds: 7.999,
            why: "no answer comes".into()
        }),
        "an old reason is not told again"
    );
}

#[test]
fn a_source_that_never_answered_goes_down_too() {
    let mut reach = Reach::new(10_000);
    assert_eq!(reach.look(15_500, SILENCE_MS), None);
    assert!(reach.look(15_501, SILENCE_MS).is_some());
    assert_eq!(reach.silent_seconds(20_000), 10.0);
}
