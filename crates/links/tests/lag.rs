//! The one definition of lag, against a history that remembers everything.

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
    let mut c = CaughtUp::default();
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

/// The definition, word for word: now minus the last moment at which our end was at or past the
/// source end known then.
#[test]
fn it_is_the_definition() {
    for n in 0..2_000 {
        let seed = &mut Seed::new(n);
        let (mut caught_up, mut source, mut ours, mut now) =
            (CaughtUp::default(), 0_i64, 0_i64, 1_000 + seed.below(9));
        // From which moment on which ends were known.
        let mut history: Vec<(u64, i64, i64)> = Vec::new();
        for _ in 0..20 {
            if seed.chance(50) {
                source += seed.below(4) as i64;
                caught_up.observe(now, source, ours);
                history.push((now, source, ours));
            } else {
                ours += seed.below(3) as i64;
                caught_up.observe_ours(now, ours);
                if !history.is_empty() {
                    history.push((now, source, ours));
                }
            }
            now += seed.below(5);
            let until = history.iter().skip(1).map(|(at, ..)| *at).chain([now]);
            let spans: Vec<_> = history
                .iter()
                .zip(until)
                .filter(|((_, source, ours), _)| ours >= source)
                .map(|(_, until)| until)
                .collect();
            let last = spans
                .last()
                .copied()
                .or(history.first().map(|(at, ..)| *at));
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
        }
    }
}
