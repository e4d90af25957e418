//! Random lives of a log by seed, with loss of power. `GNOMON_SEEDS=from..to` runs others than the
//! usual ones, `GNOMON_FAULTS=full` very many; a failing seed prints its story.

mod common;

#[test]
fn a_log_agrees_with_a_vec_through_every_life() {
    let usual = if common::damage::full() {
        "0..100000"
    } else {
        "0..250"
    };
    let range = std::env::var("GNOMON_SEEDS").unwrap_or_else(|_| usual.into());
    let (from, to) = range.split_once("..").expect("GNOMON_SEEDS is from..to");
    let power_losses: u64 = (from.parse::<u64>().expect("a number")..to.parse().expect("a number"))
        .map(|seed| common::random::live(seed, 80))
        .sum();
    println!("faults: lives of a log {range}, in which the power was lost {power_losses} times");
}
