//! Story 6: either site, killed with -9 under load at any moment and started again, has every
//! acknowledged record, once, in order; its links go on from their own log; its groups have what
//! they committed.
//!
//! `KILL_CYCLES` sets how many (100; 1,000 under `GNOMON_FAULTS=full`), `KILL_SEED` repeats a run's
//! moments.
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use proto_tests::client::{Client, Consuming, Producing, Record};
use proto_tests::history::{Fate, History, Sent};
use proto_tests::load::{self, Load, Writing};
use proto_tests::pair::Pair;
use proto_tests::site::Site;
use proto_tests::toolchain::{Tool, have};
use proto_tests::wait::{holds, until};
use proto_tests::{checker, java, librdkafka};
use rustix::process::Signal;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 3;

fn cycles() -> u64 {
    let usual = if std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full") {
        1_000
    } else {
        100
    };
    std::env::var("KILL_CYCLES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(usual)
}

fn writing(topic: &str, bootstrap: &str) -> Writing {
    Writing {
        producer: format!("writes-{topic}"),
        bootstrap: bootstrap.into(),
        topic: topic.into(),
        partitions: PARTITIONS,
        burst: 30,
        pause: Duration::from_millis(10),
    }
}

/// A group on one site that reads both topics, and writes down what it saw and what it was told
/// about its commits.
struct Reading {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Reading {
    fn start(history: &Arc<History>, site: &Site, group: &str) -> Reading {
        let stop = Arc::new(AtomicBool::new(false));
        let (history, told, kafka, name, group) = (
            history.clone(),
            stop.clone(),
            site.kafka.clone(),
            site.name.clone(),
            group.to_owned(),
        );
        let thread = std::thread::spawn(move || {
            let how = Consuming::member(&kafka, &group, &["a_load", "b_load"]);
            let mut consumer = librdkafka::client().consumer(&how).expect("a consumer");
            let mut count = 0;
            let mut positions = std::collections::BTreeMap::new();
            while !told.load(Ordering::Relaxed) {
                match consumer.poll(Duration::from_millis(100)) {
                    Ok(records) => {
                        history.saw(&format!("{group} on {name}"), &records);
                        count += records.len() as u64;
                        for record in &records {
                            positions.insert(
                                (record.topic.clone(), record.partition),
                                record.offset + 1,
                            );
                        }
                        // Only what this member has now is committed; what is told to be committed
                        // is remembered.
                        let mine = consumer.assignment();
                        if !records.is_empty()
                            && consumer.commit().is_ok()
                            && mine == consumer.assignment()
                        {
                            for (topic, partition) in mine {
                                if let Some(at) = positions.get(&(topic.clone(), partition)) {
                                    history.committed(&group, &topic, partition, *at);
                                }
                            }
                        }
                    }
                    Err(failure) => eprintln!("{group}: {failure}"),
                }
            }
            count
        });
        Reading {
            stop,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .map(|thread| thread.join().expect("the reader"))
            .unwrap_or_default()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn story_kill_either_site_under_load() {
    let mut pair = Pair::start();
    let history = Arc::new(History::new());
    pair.create("a_load", PARTITIONS);
    pair.create("b_load", PARTITIONS);
    let loads = [
        Load::start(&history, writing("a_load", &pair.a.kafka)),
        Load::start(&history, writing("b_load", &pair.b.kafka)),
    ];
    let readings = [
        Reading::start(&history, &pair.a, "a_reads"),
        Reading::start(&history, &pair.b, "b_reads"),
    ];
    let seed = std::env::var("KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("KILL_SEED={seed} KILL_CYCLES={}", cycles());
    let mut random = seed;
    let mut acked = 0;
    for cycle in 0..cycles() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(100 + (random >> 33) % 300));
        match cycle % 10 {
            9 => {
                pair.a.kill();
                pair.b.kill();
                pair.b.start();
                pair.a.start();
            }
            even if even % 2 == 0 => pair.a.crash(),
            _ => pair.b.crash(),
        }
        if cycle % 20 == 19 {
            let now = history.acked();
            assert!(
                now > acked,
                "between cycles {} and {cycle} nothing was acknowledged",
                cycle - 19
            );
            acked = now;
        }
    }
    loads.into_iter().for_each(Load::stop);
    let mut log = pair.assert_same("a_load", PARTITIONS);
    log.extend(pair.assert_same("b_load", PARTITIONS));
    checker::assert_kept(&history, &log);
    // Readers get to the end, however often their coordinator died.
    let ends: i64 = ["a_load", "b_load"]
        .iter()
        .flat_map(|topic| load::bounds(&pair.a.kafka, topic, PARTITIONS))
        .map(|(_, end)| end)
        .sum();
    for (site, group) in [(&pair.a, "a_reads"), (&pair.b, "b_reads")] {
        until(
            &format!("{group} at the end"),
            Duration::from_secs(90),
            || {
                let committed: i64 = history
                    .commits()
                    .iter()
                    .filter(|((of, ..), _)| of == group)
                    .map(|(_, offset)| offset)
                    .sum();
                let state = if have(&[Tool::Java]) {
                    java::client().admin(&site.kafka, "describe_group", json!({"group": group}))
                } else {
                    Ok(json!(null))
                };
                holds(committed == ends, || {
                    format!("{committed} of {ends}, the group: {state:?}")
                })
            },
        );
        assert!(site.data.exists());
    }
    let read: Vec<u64> = readings.map(Reading::stop).into();
    for ((group, topic, partition), offset) in history.commits() {
        let site = if group == "a_reads" { &pair.a } else { &pair.b };
        let mut asks = librdkafka::client()
            .consumer(&Consuming::member(&site.kafka, &group, &[]))
            .expect("a consumer");
        assert_eq!(
            asks.committed(&topic, partition).expect("committed"),
            Some(offset),
            "the last acknowledged commit of {group} on {topic}-{partition}"
        );
    }
    eprintln!("{} acknowledged, {read:?} read", history.acked());
    println!("faults: kill -9 cycles: {}", cycles());
}

/// Records acknowledged with acks=1 survive the death of the process too: only power loss may take
/// it.
#[test]
fn story_kill_keeps_what_acks_one_acknowledged() {
    let mut pair = Pair::start();
    pair.create("a_one", 1);
    let history = History::new();
    for round in 0..5 {
        let mut producer = librdkafka::client()
            .producer(
                &Producing::new(&pair.a.kafka)
                    .plain("1")
                    .timeout(Duration::from_secs(5)),
            )
            .expect("a producer");
        let mut tickets = Vec::new();
        let records: Vec<Record> = (0..200)
            .map(|sequence| {
                let value = format!("{round}-{sequence}");
                let sent = Sent {
                    producer: format!("round {round}"),
                    topic: "a_one".into(),
                    partition: 0,
                    sequence,
                    key: None,
                    value: value.clone(),
                };
                tickets.push(history.sending(sent));
                Record::to("a_one", 0, value)
            })
            .collect();
        for (ticket, result) in tickets.into_iter().zip(producer.send(&records)) {
            if let Ok(ack) = result {
                history.fate(ticket, Fate::Acked(ack.offset));
            }
        }
        pair.a.crash();
    }
    assert!(history.acked() >= 1_000);
    checker::assert_kept(&history, &pair.assert_same("a_one", 1));
}

/// SIGTERM under load is a clean stop: all that was acknowledged is there, and the start after it
/// finds nothing to repair.
#[test]
fn story_kill_gently() {
    let mut pair = Pair::start();
    let history = Arc::new(History::new());
    pair.create("a_load", PARTITIONS);
    let load = Load::start(&history, writing("a_load", &pair.a.kafka));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        assert!(pair.a.stop().success());
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "a clean stop took {:?}",
            start.elapsed()
        );
        pair.a.start();
    }
    load.stop();
    checker::assert_kept(&history, &pair.assert_same("a_load", PARTITIONS));
    // A second signal does not wait for the first.
    pair.a.running().signal(Signal::TERM);
    pair.a.running().signal(Signal::TERM);
    assert!(pair.a.running().wait(Duration::from_secs(10)).is_some());
}

/// A data directory serves one process: a second one says who holds it.
#[test]
fn story_kill_leaves_no_lock_behind() {
    let mut pair = Pair::start();
    pair.write("a_x", 0, 1);
    let second = pair.a.second_on_the_same_data();
    assert!(!second.succeeded(), "{second:?}");
    assert!(
        format!("{}{}", second.out, second.err).contains(&pair.a.running().pid().to_string()),
        "it names the process that holds it: {second:?}"
    );
    pair.a.crash();
    pair.write("a_x", 1, 1);
}
