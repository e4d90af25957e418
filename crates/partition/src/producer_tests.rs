//! Sequences, batch by batch.

use super::*;
use crate::test_headers::data;

fn after(batches: &[(i16, i32, i32)]) -> Producers {
    let mut producers = Producers::default();
    let mut offset = 100;
    for (epoch, sequence, records) in batches {
        producers.apply(&data(offset, *records, 7, *epoch, *sequence), Some(1_000));
        offset += i64::from(*records);
    }
    producers
}

fn check(
    producers: &Producers,
    epoch: i16,
    sequence: i32,
    records: i32,
) -> Result<Sequence, SequenceError> {
    producers.check(&data(0, records, 7, epoch, sequence), 0, None)
}

#[test]
fn in_order_and_out_of_order() {
    let producers = after(&[(0, 0, 10), (0, 10, 5)]);
    assert_eq!(check(&producers, 0, 15, 1), Ok(Sequence::New));
    for found in [14, 16, 0, i32::MAX] {
        assert_eq!(
            check(&producers, 0, found, 1),
            Err(SequenceError::OutOfOrder {
                producer_id: 7,
                epoch: 0,
                expected: 15,
                found
            })
        );
    }
    assert_eq!(
        check(&Producers::default(), 3, 77, 1),
        Ok(Sequence::New),
        "unknown producers begin anywhere (KIP-360)"
    );
}

#[test]
fn five_batches_are_remembered() {
    let producers = after(&[
        (0, 0, 1),
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 1),
        (0, 4, 1),
        (0, 5, 2),
    ]);
    for sequence in 1..5 {
        let Ok(Sequence::Repeat(repeat)) = check(&producers, 0, sequence, 1) else {
            panic!("sequence {sequence} is a repeat")
        };
        assert_eq!(repeat.base_offset, 100 + i64::from(sequence));
    }
    assert!(check(&producers, 0, 0, 1).is_err(), "older than the window");
    assert!(
        check(&producers, 0, 5, 1).is_err(),
        "same first sequence, other length: no exact repeat"
    );
    assert!(
        matches!(check(&producers, 0, 5, 2), Ok(Sequence::Repeat(r)) if r.base_offset == 105 && r.last_offset == 106)
    );
}

#[test]
fn sequences_wrap() {
    let producers = after(&[(0, i32::MAX - 1, 2)]);
    assert_eq!(check(&producers, 0, 0, 4), Ok(Sequence::New));
    let producers = after(&[(0, i32::MAX, 3)]);
    assert_eq!(producers.get(7).unwrap().batches[0].last_sequence, 1);
    assert_eq!(check(&producers, 0, 2, 1), Ok(Sequence::New));
    assert!(matches!(
        check(&producers, 0, i32::MAX, 3),
        Ok(Sequence::Repeat(_))
    ));
}

#[test]
fn epochs_fence_and_begin_at_zero() {
    let producers = after(&[(4, 0, 10)]);
    assert_eq!(
        check(&producers, 3, 10, 1),
        Err(SequenceError::StaleEpoch {
            producer_id: 7,
            current: 4,
            found: 3
        })
    );
    assert_eq!(check(&producers, 5, 0, 1), Ok(Sequence::New));
    assert_eq!(
        check(&producers, 5, 10, 1),
        Err(SequenceError::OutOfOrder {
            producer_id: 7,
            epoch: 5,
            expected: 0,
            found: 10
        })
    );
}

#[test]
fn a_marker_with_a_higher_epoch_restarts_the_sequence() {
    let mut producers = after(&[(4, 0, 10)]);
    producers.mark(&data(110, 1, 7, 5, -1), 12, Some(2_000));
    assert_eq!(check(&producers, 5, 0, 1), Ok(Sequence::New));
    assert!(check(&producers, 5, 10, 1).is_err());
    assert!(matches!(
        check(&producers, 4, 10, 1),
        Err(SequenceError::StaleEpoch { .. })
    ));
    let producer = producers.get(7).unwrap();
    assert_eq!(producer.coordinator_epoch, 12);
    let marker = producer.last_marker.unwrap();
    assert_eq!(
        (marker.offset, marker.epoch, marker.ended_epoch),
        (110, 5, 4)
    );
}

#[test]
fn a_copied_producer_goes_on_at_any_higher_sequence_once() {
    let cut = 115;
    let mut producers = after(&[(0, 0, 10), (0, 10, 5)]);
    let at = |producers: &Producers, epoch, sequence, records| {
        producers.check(&data(0, records, 7, epoch, sequence), cut, None)
    };
    assert!(matches!(at(&producers, 0, 10, 5), Ok(Sequence::Repeat(r)) if r.base_offset == 110));
    assert_eq!(at(&producers, 0, 15, 1), Ok(Sequence::New));
    assert_eq!(at(&producers, 0, 40, 1), Ok(Sequence::New));
    assert_eq!(
        at(&producers, 1, 40, 1),
        Ok(Sequence::New),
        "the epoch's beginning may be lost as well"
    );
    assert!(
        at(&producers, 0, 5, 1).is_err(),
        "lower is an old repeat, not a lost tail"
    );
    producers.apply(&data(cut, 3, 7, 0, 40), Some(3_000));
    assert_eq!(at(&producers, 0, 43, 1), Ok(Sequence::New));
    assert!(
        at(&producers, 0, 50, 1).is_err(),
        "from its first batch here on, the ordinary rule holds"
    );
}

#[test]
fn a_gap_is_accepted_up_to_the_earliest_refused_batch() {
    const CUT: Offset = 115;
    const TOP: i32 = i32::MAX;
    // Sequences 0 to 14 of epoch 3 were copied.
    let copied = after(&[(3, 0, 10), (3, 10, 5)]);
    // The same, 15 sequences before they wrap.
    let near_the_top = after(&[(3, TOP - 29, 15)]);
    let unknown = Producers::default();
    // producers, epoch, earliest refused sequence, found sequence, expected one if not New
    let rows = [
        (&copied, 3, None, 40, None),
        (&copied, 3, Some(40), 40, None),
        (&copied, 3, Some(40), 39, None),
        (&copied, 3, Some(40), 41, Some(40)),
        (&copied, 3, Some(40), 15, None),
        (&copied, 3, Some(5), 15, None),
        (&copied, 3, Some(5), 20, Some(15)),
        (&copied, 4, Some(0), 0, None),
        (&copied, 4, Some(0), 10, Some(0)),
        (&copied, 4, Some(10), 20, Some(10)),
        (&copied, 4, None, 20, None),
        (&near_the_top, 3, Some(TOP - 1), 1, Some(TOP - 1)),
        (&near_the_top, 3, Some(1), TOP - 1, None),
        (&unknown, 3, None, 77, None),
        (&unknown, 3, Some(77), 77, None),
        (&unknown, 3, Some(77), 76, None),
        (&unknown, 3, Some(77), 78, Some(77)),
        (&unknown, 3, Some(TOP), 0, Some(TOP)),
        (&unknown, 3, Some(0), TOP, None),
    ];
    for (producers, epoch, refused, found, expected) in rows {
        let judged = producers.check(&data(0, 1, 7, epoch, found), CUT, refused);
        let wanted = expected.map_or(Ok(Sequence::New), |expected| {
            Err(SequenceError::OutOfOrder {
                producer_id: 7,
                epoch,
                expected,
                found,
            })
        });
        assert_eq!(
            judged, wanted,
            "epoch {epoch}, {refused:?} refused, {found}"
        );
    }
    let repeat = copied.check(&data(0, 5, 7, 3, 10), CUT, Some(5));
    assert!(matches!(repeat, Ok(Sequence::Repeat(_))), "as ever");
}

#[test]
fn idle_producers_expire_unless_in_a_transaction() {
    let mut producers = after(&[(0, 0, 1)]);
    producers.apply(&data(200, 1, 8, 0, 0), Some(1_000));
    assert_eq!(producers.expire(1_500, 1_000, |_| false), 0);
    assert_eq!(producers.expire(2_000, 1_000, |id| id == 8), 1);
    assert!(producers.get(7).is_none() && producers.get(8).is_some());
    producers.apply(&data(201, 1, 9, 0, 0), None);
    assert_eq!(
        producers.expire(90_000, 1_000, |_| false),
        1,
        "one that was read back counts from now"
    );
    assert_eq!(producers.expire(91_000, 1_000, |_| false), 1);
}
