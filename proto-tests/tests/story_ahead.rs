//! Story: a position that a shadow does not have. While its source can be asked, a reader hears
//! what the source would tell it; while it cannot, and while the source only is ahead of the
//! shadow, the position is not here yet and the reader waits.

#[path = "wire/mod.rs"]
mod wire;

use proto_tests::client::{Client, Consuming, Start};
use proto_tests::load;
use proto_tests::pair::Pair;
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{checker, librdkafka};
use rustix::process::Signal;
use std::time::Duration;
use wire::Wire;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const OFFSET_NOT_AVAILABLE: i16 = 78;
/// A long poll that outlasts the way to the source, on this machine and busy.
const LONG_MS: i32 = 8_000;

fn leader_epoch(kafka: &str) -> i32 {
    wire::metadata(kafka, "a_orders").expect("metadata").1[0]
}

#[test]
fn story_ahead_the_source_is_asked() {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    pair.level("a_orders", 1);
    let epoch = leader_epoch(&pair.a.kafka);
    let mut b = Wire::connect(&pair.b.kafka);
    // A long poll is ended by the source's word.
    let told = b.fetch("a_orders", 0, 1_000_000_000, (-1, -1), LONG_MS);
    assert_eq!((told.error, told.high_watermark), (OFFSET_OUT_OF_RANGE, 20));
    let told = b.fetch("a_orders", 0, 25, (-1, epoch), LONG_MS);
    assert_eq!((told.error, told.diverging), (0, (epoch, 20)));
    assert_eq!(
        b.fetch("a_orders", 0, 20, (-1, epoch + 7), LONG_MS).error,
        OFFSET_OUT_OF_RANGE
    );
    assert_eq!(b.epoch_end("a_orders", 0, epoch), (0, epoch, 20));
    assert_eq!(b.epoch_end("a_orders", 0, epoch + 7), (0, -1, -1));
    // A client whose requests do not wait hears it on the same connection.
    let mut hasty = Wire::connect(&pair.b.kafka);
    assert_eq!(
        hasty.fetch("a_orders", 0, 1_000_000_000, (-1, -1), 0).error,
        OFFSET_NOT_AVAILABLE
    );
    until("the source's word", PATIENCE, || {
        let error = hasty.fetch("a_orders", 0, 1_000_000_000, (-1, -1), 0).error;
        holds(error == OFFSET_OUT_OF_RANGE, || format!("{error}"))
    });

    pair.a.kill();
    assert_eq!(
        b.fetch("a_orders", 0, 1_000_000_000, (-1, -1), 1_000).error,
        OFFSET_NOT_AVAILABLE
    );
    assert_eq!(
        b.fetch("a_orders", 0, 20, (-1, epoch + 7), 0).error,
        OFFSET_NOT_AVAILABLE
    );
    assert_eq!(b.epoch_end("a_orders", 0, epoch), (0, epoch, i64::MAX));
    assert_eq!(
        b.epoch_end("a_orders", 0, epoch + 7).0,
        OFFSET_NOT_AVAILABLE
    );
    let here = b.fetch("a_orders", 0, 0, (-1, -1), 0);
    assert!(
        here.error == 0 && !here.records.is_empty(),
        "what is here is read as ever"
    );
    pair.a.start();
    until("the source's word, when it is back", PATIENCE, || {
        let error = b.fetch("a_orders", 0, 1_000_000_000, (-1, -1), 100).error;
        holds(error == OFFSET_OUT_OF_RANGE, || format!("{error}"))
    });
}

/// A client of other people at a nonsense position: it resets as its policy says, and reads all
/// there is.
#[test]
fn story_ahead_librdkafka_resets() {
    let pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    pair.level("a_orders", 1);
    let how = Consuming::assigned(&pair.b.kafka, "a_orders", 0, Start::At(1_000_000_000))
        .reset("earliest");
    let mut consumer = librdkafka::client().consumer(&how).expect("a consumer");
    let seen = consumer.read(20, PATIENCE);
    checker::assert_equal(&load::read_topic(&pair.a.kafka, "a_orders", 1), &seen);
}

/// A consumer that has read more at the source than has come to the shadow: it waits, and reads on
/// with the next record.
#[test]
fn story_ahead_of_a_lagging_shadow() {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    pair.level("a_orders", 1);
    let epoch = leader_epoch(&pair.a.kafka);
    pair.b.stop();
    pair.write("a_orders", 20, 10);
    // The source neither sends nor answers while it is stopped.
    pair.a.running().signal(Signal::STOP);
    pair.b.start();
    let how = Consuming::assigned(&pair.b.kafka, "a_orders", 0, Start::At(30)).reset("none");
    let mut consumer = librdkafka::client().consumer(&how).expect("a consumer");
    assert!(
        consumer.read_for(Duration::from_secs(2)).is_empty(),
        "it waits"
    );
    let mut b = Wire::connect(&pair.b.kafka);
    assert_eq!(
        b.fetch("a_orders", 0, 30, (-1, epoch), 0).error,
        OFFSET_NOT_AVAILABLE
    );
    pair.a.running().signal(Signal::CONT);
    pair.level("a_orders", 1);
    pair.write("a_orders", 30, 10);
    let values: Vec<_> = consumer
        .read(10, PATIENCE)
        .into_iter()
        .map(|seen| seen.value.unwrap_or_default())
        .collect();
    assert_eq!(
        values,
        (30..40).map(|n| n.to_string()).collect::<Vec<_>>(),
        "no record left out, none twice"
    );
}
