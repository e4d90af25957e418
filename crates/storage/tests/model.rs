//! Random lives of a log by seed. `GNOMON_SEEDS=from..to` runs others than the usual ones; a failing seed prints its story.

mod common;

#[test]
fn a_log_agrees_with_a_vec_through_every_life() {
    let range = std::env::var("GNOMON_SEEDS").unwrap_or_else(|_| "0..250".into());
    let (from, to) = range.split_once("..").expect("GNOMON_SEEDS is from..to");
    for seed in from.parse::<u64>().expect("a number")..to.parse().expect("a number") {
        common::random::live(seed, 80);
    }
}
