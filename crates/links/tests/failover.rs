//! The failover's table: whole, unambiguous, and every crash in it ends in the same place.

mod common;

use common::{Seed, commands, run_scripts};
use gnomon_links::failover::{
    EPOCH_STRIDE, EpochPolicy, EpochsExhausted, Next, Recorded, Reported, Step, TABLE, next,
    next_epoch, row_of, step_at,
};

const RECORDED: [Recorded; 4] = [
    Recorded::Nothing,
    Recorded::Fenced,
    Recorded::CutAndEpoch,
    Recorded::Done,
];

fn situations() -> impl Iterator<Item = (Recorded, Reported)> {
    RECORDED.into_iter().flat_map(|recorded| {
        (0..8).map(move |bits| {
            (
                recorded,
                Reported {
                    cuts: bits & 1 != 0,
                    markers: bits & 2 != 0,
                    offsets: bits & 4 != 0,
                },
            )
        })
    })
}

#[test]
fn every_situation_matches_exactly_one_row() {
    let mut used = vec![false; TABLE.len()];
    for (recorded, reported) in situations() {
        let rows: Vec<_> = TABLE
            .iter()
            .enumerate()
            .filter(|(_, row)| row.matches(recorded, reported))
            .collect();
        assert_eq!(
            rows.len(),
            1,
            "{recorded:?} {reported:?}: {:?}",
            rows.iter().map(|(_, r)| r.found).collect::<Vec<_>>()
        );
        used[rows[0].0] = true;
        assert_eq!(rows[0].1.found, row_of(recorded, reported).found);
    }
    assert!(
        used.iter().all(|used| *used),
        "a row that no situation matches"
    );
}

#[test]
fn steps_are_in_the_order_of_their_letters() {
    let letters: String = Step::ALL.into_iter().map(Step::letter).collect();
    assert_eq!(letters, "abcdefgg");
    let mut at = Some(Step::Fence);
    for step in Step::ALL {
        assert_eq!(at, Some(step));
        at = step.next();
    }
    assert_eq!(at, None);
}

#[test]
fn scripts() {
    run_scripts("failover", || {
        |block: &str| {
            let answers = commands(block)
                .into_iter()
                .map(|command| match command.name.as_str() {
                    "found" => {
                        let recorded = match command.words[0].as_str() {
                            "nothing" => Recorded::Nothing,
                            "fenced" => Recorded::Fenced,
                            "cut" => Recorded::CutAndEpoch,
                            "done" => Recorded::Done,
                            other => panic!("{other} is not recorded"),
                        };
                        let reported = Reported {
                            cuts: command.flag("cuts"),
                            markers: command.flag("markers"),
                            offsets: command.flag("offsets"),
                        };
                        let step = step_at(recorded, reported).map_or("-", Step::label);
                        let row = row_of(recorded, reported);
                        format!("{:?} (step {step}): {}", row.next, row.found)
                    }
                    "epoch" => {
                        let policy = if command.flag("plus-one") {
                            EpochPolicy::PlusOne
                        } else {
                            EpochPolicy::NextStride
                        };
                        match next_epoch(command.number("above", -1).unwrap(), policy) {
                            Ok(epoch) => epoch.to_string(),
                            Err(error) => error.to_string(),
                        }
                    }
                    other => panic!("{other} is not a command"),
                });
            answers.collect::<Vec<_>>().join("\n")
        }
    });
}

/// A driver that crashes at random: what is recorded stays, what was reported is forgotten, actions
/// may be carried out again and again.
#[test]
fn every_crash_ends_in_the_same_place() {
    for n in 0..2_000 {
        let seed = &mut Seed::new(n);
        let (mut recorded, mut reported) = (Recorded::Fenced, Reported::default());
        let mut log = vec![recorded];
        for _ in 0..200 {
            if seed.chance(20) {
                reported = Reported::default();
            }
            match next(recorded, reported) {
                Next::Nothing => break,
                Next::Cut => reported.cuts = seed.chance(80),
                Next::AbortOpen => reported.markers = seed.chance(80),
                Next::ApplyOffsets => reported.offsets = seed.chance(80),
                // A crash before the record is durable leaves all as it was.
                Next::RecordCut if seed.chance(80) => recorded = Recorded::CutAndEpoch,
                Next::RecordDone if seed.chance(80) => recorded = Recorded::Done,
                Next::RecordCut | Next::RecordDone => reported = Reported::default(),
            }
            if *log.last().unwrap() != recorded {
                log.push(recorded);
            }
        }
        assert_eq!(
            log,
            [Recorded::Fenced, Recorded::CutAndEpoch, Recorded::Done],
            "seed {n}"
        );
    }
}

#[test]
fn an_epoch_is_the_next_multiple_above() {
    for n in 0..5_000 {
        let highest = Seed::new(n).below(i32::MAX as u64 - 2 * EPOCH_STRIDE as u64) as i32 - 1;
        let epoch = next_epoch(highest, EpochPolicy::default()).unwrap();
        assert!(
            epoch > highest
                && epoch > 0
                && epoch % EPOCH_STRIDE == 0
                && epoch - highest.max(0) <= EPOCH_STRIDE,
            "{highest}"
        );
    }
    assert_eq!(
        next_epoch(i32::MAX, EpochPolicy::default()),
        Err(EpochsExhausted { highest: i32::MAX })
    );
}
