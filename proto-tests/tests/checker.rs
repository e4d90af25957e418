//! The checker is checked: each fault that it exists to find is planted in a log that was right,
//! and must be found.

use proto_tests::checker::{Fault, check, differences};
use proto_tests::client::Seen;
use proto_tests::history::{Fate, History, Sent};

/// Two producers, two partitions, ten records each; the last one of each was never answered, the
/// one before it was refused.
fn story() -> (History, Vec<Seen>) {
    let history = History::new();
    let mut log = Vec::new();
    for partition in 0..2 {
        let mut offset = 0;
        for sequence in 0..10 {
            for producer in ["p", "q"] {
                let sent = Sent {
                    producer: producer.into(),
                    topic: "t".into(),
                    partition,
                    sequence,
                    key: Some(producer.into()),
                    value: format!("{producer}-{partition}-{sequence}"),
                };
                let ticket = history.sending(sent.clone());
                let record = Seen {
                    topic: "t".into(),
                    partition,
                    offset,
                    timestamp: 7,
                    key: sent.key,
                    value: Some(sent.value),
                    headers: Vec::new(),
                };
                match sequence {
                    8 => history.fate(ticket, Fate::Refused),
                    9 => {}
                    _ => {
                        history.fate(ticket, Fate::Acked(offset));
                        history.saw("reader", std::slice::from_ref(&record));
                        log.push(record);
                        offset += 1;
                    }
                }
            }
        }
    }
    (history, log)
}

/// Whether one of the faults of a spoilt log pleases.
fn found(spoil: impl FnOnce(&History, &mut Vec<Seen>), pleases: impl Fn(&Fault) -> bool) -> bool {
    let (history, mut log) = story();
    spoil(&history, &mut log);
    check(&history, &log).iter().any(pleases)
}

#[test]
fn a_log_that_keeps_every_promise_passes() {
    let (history, log) = story();
    assert_eq!(check(&history, &log), []);
}

#[test]
fn a_record_without_an_answer_may_be_there_once() {
    let (history, mut log) = story();
    let last = log.last().cloned().unwrap();
    log.push(Seen {
        offset: last.offset + 1,
        key: Some("p".into()),
        value: Some("p-1-9".into()),
        ..last
    });
    assert_eq!(check(&history, &log), []);
}

#[test]
fn a_lost_record_is_found() {
    assert!(found(
        |_, log| drop(log.remove(5)),
        |fault| matches!(fault, Fault::Lost { .. })
    ));
    // At the end too, where nothing comes after it.
    assert!(found(
        |_, log| drop(log.pop()),
        |fault| matches!(fault, Fault::Lost { .. })
    ));
}

#[test]
fn a_duplicated_record_is_found() {
    let spoil = |_: &History, log: &mut Vec<Seen>| {
        let last = log.last().cloned().unwrap();
        log.push(Seen {
            offset: last.offset + 1,
            ..last
        });
    };
    assert!(found(spoil, |fault| matches!(
        fault,
        Fault::Duplicated { .. }
    )));
}

#[test]
fn swapped_records_are_found() {
    let spoil = |_: &History, log: &mut Vec<Seen>| {
        // Records 2 and 4 are of one producer; their contents change places, their offsets stay.
        let (two, four) = (log[2].clone(), log[4].clone());
        log[2] = Seen {
            offset: two.offset,
            ..four.clone()
        };
        log[4] = Seen {
            offset: four.offset,
            ..two
        };
    };
    assert!(found(spoil, |fault| matches!(fault, Fault::Swapped { .. })));
    assert!(found(spoil, |fault| matches!(
        fault,
        Fault::Misplaced { .. }
    )));
}

#[test]
fn an_altered_record_is_found() {
    assert!(found(
        |_, log| log[3].value = Some("p-0-1 with a flipped bit".into()),
        |fault| matches!(fault, Fault::Unknown { .. })
    ));
    assert!(found(
        |_, log| log[3].key = None,
        |fault| matches!(fault, Fault::Altered { .. })
    ));
    assert!(found(
        |_, log| log[3].timestamp += 1,
        |fault| matches!(fault, Fault::OffsetReused { .. })
    ));
    assert!(found(
        |_, log| log[3].headers.push(("h".into(), None)),
        |fault| matches!(fault, Fault::OffsetReused { .. })
    ));
}

#[test]
fn a_reused_offset_is_found() {
    let spoil = |history: &History, _: &mut Vec<Seen>| {
        let sent = Sent {
            producer: "r".into(),
            topic: "t".into(),
            partition: 0,
            sequence: 0,
            key: None,
            value: "another".into(),
        };
        let ticket = history.sending(sent);
        history.fate(ticket, Fate::Acked(3));
    };
    assert!(found(spoil, |fault| matches!(
        fault,
        Fault::OffsetReused { .. }
    )));
}

#[test]
fn an_unordered_log_is_found() {
    assert!(found(
        |_, log| log.swap(2, 3),
        |fault| matches!(fault, Fault::NotAscending { .. })
    ));
}

#[test]
fn a_refused_record_that_is_there_is_found() {
    let spoil = |_: &History, log: &mut Vec<Seen>| {
        let last = log.last().cloned().unwrap();
        log.push(Seen {
            offset: last.offset + 1,
            value: Some("q-1-8".into()),
            ..last
        });
    };
    assert!(found(spoil, |fault| matches!(
        fault,
        Fault::RefusedButThere { .. }
    )));
}

#[test]
fn two_logs_are_compared_record_by_record() {
    let (_, log) = story();
    assert!(differences(&log, &log.clone()).is_empty());
    let mut copy = log.clone();
    copy[4].timestamp += 1;
    assert_eq!(differences(&log, &copy).len(), 1);
    copy.remove(9);
    assert_eq!(differences(&log, &copy).len(), 2);
    assert_eq!(differences(&copy, &log).len(), 2);
}
