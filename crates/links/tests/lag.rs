//! The one definition of lag, against a history that remembers everything.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::Seed;
use gnomon_links::lag::{CaughtUp, Lag, SourceEnds, of, sum};

#[test]
fn before_the_first_contact_there_is_no_lag() {
    let caught_up = CaughtUp::default();
    assert_eq!((caught_up.seconds(9), caught_up.last_ms(9)), (None, None));
    assert_eq!(of(None, 0, &caught_up, (0, 0), 9), None);
    assert_eq!(
        of(
            Some(SourceEnds {
                high_watermark: 5,
                last_stable: 5
            }),
            0,
            &caught_up,
            (0, 0),
            9
        ),
        None
    );
}

#[test]
fn seconds_count_from_the_moment_at_which_it_fell_behind() {
    let mut c = CaughtUp::new(10_000);
    c.observe(1_000, 10, 4);
    assert_eq!(
        c.seconds(3_000),
        Some(2.0),
        "never caught up: since the first contact"
    );
    c.observe_ours(4_000, 10);
    assert_eq!(
        (c.seconds(9_000), c.last_ms(9_000)),
        (Some(0.0), Some(9_000)),
        "caught up with all that is known"
    );
    c.observe(10_000, 12, 10);
    assert_eq!(c.seconds(10_000), Some(0.0), "until this moment it was");
    assert_eq!(c.seconds(10_500), Some(0.5));
    c.observe(11_000, 14, 12);
    assert_eq!(
        (c.seconds(11_000), c.last_ms(11_000)),
        (Some(1.0), Some(10_000)),
        "it reached 12 when 14 was known: behind since 10 s"
    );
    c.observe(12_000, 14, 14);
    assert_eq!(c.seconds(12_000), Some(0.0));
}

#[test]
fn records_bytes_and_both_ends() {
    let mut c = CaughtUp::default();
    c.observe(0, 100, 40);
    let ends = SourceEnds {
        high_watermark: 100,
        last_stable: 70,
    };
    assert_eq!(
        of(Some(ends), 40, &c, (10, 1_000), 2_000),
        Some(Lag {
            records: 60,
            records_stable: 30,
            bytes: Some(6_000),
            seconds: 2.0
        })
    );
    assert_eq!(
        of(Some(ends), 40, &c, (0, 0), 2_000).unwrap().bytes,
        None,
        "no mean, no estimate"
    );
    c.observe_ours(2_000, 101);
    let past = of(Some(ends), 101, &c, (0, 0), 2_000).unwrap();
    assert_eq!(
        past,
        Lag {
            records: 0,
            records_stable: 0,
            bytes: Some(0),
            seconds: 0.0
        },
        "past a stale end is caught up"
    );
}

/// A source may name any end. The estimate is at its limit then, and never small again.
#[test]
fn an_estimate_of_bytes_grows_with_the_records_up_to_the_largest_number() {
    let mut c = CaughtUp::default();
    c.observe(0, i64::MAX, 0);
    let bytes = |records, copied| {
        let ends = SourceEnds {
            high_watermark: records,
            last_stable: records,
        };
        of(Some(ends), 0, &c, copied, 0).unwrap().bytes.unwrap()
    };
    assert_eq!(bytes(i64::MAX, (1, 1_000)), u64::MAX);
    assert_eq!(bytes(i64::MAX, (1, u64::MAX)), u64::MAX);
    assert_eq!(bytes(3, (2, 3)), 4, "the mean is not rounded before");
    for n in 0..2_000 {
        let seed = &mut Seed::new(n);
        let mut any = |bits| (seed.below(1 << 31) << 31 | seed.below(1 << 31)) >> seed.below(bits);
        let copied = (any(60).max(1), any(60));
        let (a, b) = ((any(60) >> 1) as i64, (any(60) >> 1) as i64);
        let (less, more) = (a.min(b), a.max(b));
        assert!(
            bytes(less, copied) <= bytes(more, copied),
            "seed {n}: {less} and {more} records after {copied:?}"
        );
    }
}

#[test]
fn sums() {
    let lag = |records, bytes, seconds| {
        Some(Lag {
            records,
            records_stable: records,
            bytes,
            seconds,
        })
    };
    assert_eq!(sum([]), lag(0, Some(0), 0.0));
    assert_eq!(
        sum([lag(1, Some(10), 0.5), lag(2, Some(5), 3.0)]),
        lag(3, Some(15), 3.0)
    );
    assert_eq!(
        sum([lag(1, None, 0.5), lag(2, Some(5), 3.0)]),
        lag(3, None, 3.0)
    );
    assert_eq!(
        sum([lag(1, None, 0.5), None]),
        None,
        "a part that is unknown leaves the sum unknown"
    );
}

#[test]
fn a_silent_source_has_a_lag_in_seconds_that_grows() {
    let mut c = CaughtUp::new(3_500);
    let ends = SourceEnds {
        high_watermark: 10,
        last_stable: 10,
    };
    c.observe(1_000, 10, 10);
    assert_eq!((c.seconds(4_500), c.silent_ms(4_500)), (Some(0.0), None));
    assert_eq!(
        (c.seconds(4_501), c.silent_ms(4_501)),
        (Some(3.501), Some(3_501)),
        "level as far as is known, and nothing is known since"
    );
    let lag = of(Some(ends), 10, &c, (1, 1), 61_000).unwrap();
    assert_eq!((lag.records, lag.seconds), (0, 60.0));
    c.heard(62_000);
    assert_eq!((c.seconds(62_000), c.silent_ms(62_000)), (Some(0.0), None));
}

/// An answer of many megabytes: while it arrives, lag counts from the answer before.
#[test]
fn an_answer_that_is_still_arriving_counts_as_lag_before_and_after_it_is_whole() {
    let mut c = CaughtUp::new(3_500);
    c.observe(1_000, 10, 10);
    assert_eq!(c.seconds(20_000), Some(19.0));
    c.observe(21_000, 5_000, 10);
    assert_eq!(c.seconds(21_000), Some(20.0), "not from its arrival");
    c.observe_ours(22_000, 5_000);
    assert_eq!(c.seconds(22_000), Some(0.0));
}

/// The definition, word for word: now minus the last moment of which it is known that our end was
/// at or past the source's end.
#[test]
fn it_is_the_definition() {
    const SILENCE_MS: u64 = 6;
    for n in 0..2_000 {
        let seed = &mut Seed::new(n);
        let (mut caught_up, mut source, mut ours) = (CaughtUp::new(SILENCE_MS), 0_i64, 0_i64);
        let (mut now, mut heard) = (1_000 + seed.below(9), 0);
        // Each time that the source was heard, with its end, and ours until it was heard again.
        let mut history: Vec<(u64, i64, i64)> = Vec::new();
        for _ in 0..20 {
            if seed.chance(30) {
                source += seed.below(4) as i64;
                caught_up.observe(now, source, ours);
                heard = now;
                history.push((heard, source, ours));
            } else if seed.chance(30) {
                caught_up.heard(now);
                if let Some((_, _, known)) = history.last().copied() {
                    heard = now;
                    history.push((heard, source, known));
                }
            } else {
                ours += seed.below(3) as i64;
                caught_up.observe_ours(now, ours);
                if let Some((_, _, known)) = history.last_mut() {
                    *known = ours;
                }
            }
            now += seed.below(9);
            let until = history.iter().skip(1).map(|(at, ..)| *at).chain([now]);
            let known_level = history
                .iter()
                .zip(until)
                .filter(|((_, source, ours), _)| ours >= source)
                .map(|((heard, ..), until)| match until - heard <= SILENCE_MS {
                    true => until,
                    false => *heard,
                });
            let last = known_level.chain(history.first().map(|(at, ..)| *at)).max();
            assert_eq!(
                caught_up.last_ms(now),
                last,
                "seed {n} at {now}: {history:?}"
            );
            assert_eq!(
                caught_up.seconds(now),
                last.map(|last| (now - last) as f64 / 1_000.0),
                "seed {n} at {now}: {history:?}"
            );
            let silent = now - heard;
            assert_eq!(
                caught_up.silent_ms(now),
                (!history.is_empty() && silent > SILENCE_MS).then_some(silent),
                "seed {n} at {now}: {history:?}"
            );
        }
    }
}
