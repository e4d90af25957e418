//! The disk under a running site fails, one call at a time, or is full, again and again: whatever
//! clients are told, what was acknowledged is there, and no restart is needed. (Only a metadata log
//! that is lost ends the process, with a sentence.)
//!
//! Not against Apache Kafka: it ends when its only log directory fails. `GNOMON_FAULTS=full` makes
//! more calls fail and fills the disk 100 times.
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use proto_tests::client::{Client, Consuming, Producing, Record};
use proto_tests::history::History;
use proto_tests::load::{self, Load, Writing};
use proto_tests::shim::{Kind, Shim};
use proto_tests::site::Site;
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{checker, librdkafka};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOPIC: &str = "load";
const GROUP: &str = "reads";
const PARTITIONS: i32 = 3;

/// The calls that fail, and how many in a row: a write whose beginning cannot be cut off again
/// among them.
const FAILING: [(&[Kind], u64); 5] = [
    (&[Kind::Write], 1),
    (&[Kind::Sync], 1),
    (&[Kind::Rename], 1),
    (&[Kind::Open], 1),
    (&[Kind::Write, Kind::Truncate], 2),
];

fn full_run() -> bool {
    std::env::var("GNOMON_FAULTS").is_ok_and(|runs| runs == "full")
}

fn start_load(history: &Arc<History>, kafka: &str) -> Load {
    let writing = Writing {
        producer: "writes".into(),
        bootstrap: kafka.into(),
        topic: TOPIC.into(),
        partitions: PARTITIONS,
        burst: 30,
        pause: Duration::from_millis(5),
    };
    Load::start(history, writing)
}

/// Waits until so many more are acknowledged. False: the process has ended.
fn goes_on(site: &mut Site, history: &History, more: usize) -> bool {
    let wanted = history.acked() + more;
    let start = Instant::now();
    while history.acked() < wanted {
        if !site.alive() {
            return false;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "only {} of {wanted} acknowledged",
            history.acked()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Commits until it is acknowledged or the process has ended.
fn commit(site: &mut Site, offset: i64) -> bool {
    let start = Instant::now();
    loop {
        match librdkafka::commit(&site.kafka, GROUP, (TOPIC, 0, offset), || ()) {
            Ok(()) => return true,
            Err(_) if !site.alive() => return false,
            Err(failure) => assert!(start.elapsed() < PATIENCE, "never committed: {failure}"),
        }
    }
}

fn committed(site: &Site) -> Option<i64> {
    let mut asks = librdkafka::client()
        .consumer(&Consuming::member(&site.kafka, GROUP, &[]))
        .expect("a consumer");
    asks.committed(TOPIC, 0).expect("committed")
}

#[test]
fn story_disk_whichever_call_fails_under_load() {
    let root = tempfile::tempdir().expect("a folder");
    let shim = Shim::new(root.path());
    let mut site = Site::new(root.path(), "s", 1);
    site.environment(shim.environment(&site.data));
    site.start();
    // Segments that are soon full: they are followed by others, and by checkpoints.
    let small = BTreeMap::from([("segment.ms", "300")]);
    librdkafka::client()
        .create_topic(&site.kafka, TOPIC, PARTITIONS, &small)
        .expect("made");
    let history = Arc::new(History::new());
    let load = start_load(&history, &site.kafka);
    assert!(goes_on(&mut site, &history, 30));
    let nths: Vec<u64> = if full_run() {
        (0..25).collect()
    } else {
        vec![0, 2]
    };
    let (mut round, mut told, mut ended) = (0, None, 0);
    for (nth, (kinds, count)) in nths
        .iter()
        .flat_map(|nth| FAILING.map(|failing| (*nth, failing)))
    {
        for error in [Errno::IO, Errno::NOSPC] {
            round += 1;
            let (before, began) = (shim.failed(), Instant::now());
            shim.fail(kinds, nth, count, error);
            // What makes files, grows them, names them and cuts them.
            let _ = librdkafka::client().create_topic(
                &site.kafka,
                &format!("new-{round}"),
                1,
                &BTreeMap::new(),
            );
            if site.alive() && commit(&mut site, round) {
                told = Some(round);
            }
            if site.alive() {
                let mut producer = librdkafka::client()
                    .producer(&Producing::new(&site.kafka))
                    .expect("a producer");
                let _ = producer.send(&[Record::to(&format!("new-{round}"), 0, "first")]);
            }
            let went_on = site.alive() && goes_on(&mut site, &history, 60);
            shim.heal();
            if !went_on {
                let printed = site.running().printed();
                assert!(
                    printed.contains("__cluster_metadata was lost"),
                    "{kinds:?} {error:?}: ended for another reason:\n{printed}"
                );
                site.kill();
                site.start();
                ended += 1;
                assert!(goes_on(&mut site, &history, 60));
            }
            let (failed, acked) = (shim.failed() - before, history.acked());
            eprintln!(
                "{kinds:?} {nth} {}: {failed} failed, {acked} acknowledged, {:?}",
                error.raw_os_error(),
                began.elapsed()
            );
        }
    }
    load.stop();
    assert!(
        shim.failed() >= nths.len() as u64 * 6,
        "only {} calls were made to fail",
        shim.failed()
    );
    checker::assert_kept(&history, &load::read_topic(&site.kafka, TOPIC, PARTITIONS));
    assert_eq!(committed(&site), told);
    site.crash();
    checker::assert_kept(&history, &load::read_topic(&site.kafka, TOPIC, PARTITIONS));
    assert_eq!(committed(&site), told);
    println!(
        "faults: {} calls failed, {} records acknowledged, {ended} times the metadata log was lost",
        shim.failed(),
        history.acked()
    );
}

/// A sync that fails for as long as the test likes: closed to writing, read all the same, open
/// again by itself.
#[test]
fn story_disk_that_cannot_sync_is_read_and_heals() {
    let root = tempfile::tempdir().expect("a folder");
    let shim = Shim::new(root.path());
    let mut site = Site::new(root.path(), "s", 1);
    site.environment(shim.environment(&site.data));
    site.start();
    load::create(&site.kafka, TOPIC, 1);
    load::write(&site.kafka, TOPIC, 0, 10);
    shim.fail(&[Kind::Sync], 0, u64::MAX, Errno::IO);
    let how = Producing::new(&site.kafka).timeout(Duration::from_secs(3));
    let mut producer = librdkafka::client().producer(&how).expect("a producer");
    for result in producer.send(&[Record::to(TOPIC, 0, "10")]) {
        assert!(
            result.is_err(),
            "acknowledged and not on the disk: {result:?}"
        );
    }
    assert_eq!(
        load::read_topic(&site.kafka, TOPIC, 1).len(),
        10,
        "reads go on, and nobody sees what may be lost"
    );
    assert!(
        site.metrics().contains("gnomon_partitions_closed 1"),
        "{}",
        site.metrics()
    );
    shim.heal();
    until("open again", PATIENCE, || {
        holds(
            site.metrics().contains("gnomon_partitions_closed 0"),
            || site.metrics(),
        )
    });
    load::write(&site.kafka, TOPIC, 11, 5);
    assert!(site.alive());
}

/// The folder of a site's own file system, as other processes reach it.
fn from_outside(site: &mut Site) -> PathBuf {
    let data = site
        .data
        .strip_prefix("/")
        .expect("an absolute path")
        .to_path_buf();
    Path::new("/proc")
        .join(site.running().pid().to_string())
        .join("root")
        .join(data)
}

/// Takes all space but what `spare` bytes need.
fn fill(path: &Path, spare: usize) {
    let mut filler = File::create(path).expect("a filler");
    let mut chunk = 1 << 20;
    let mut written = 0;
    while chunk > 0 {
        match filler.write(&vec![7; chunk]) {
            Ok(bytes) => written += bytes,
            Err(_) => chunk /= 4,
        }
    }
    filler
        .set_len(written.saturating_sub(spare) as u64)
        .expect("cut");
}

#[test]
fn story_disk_full_and_healed_again_and_again() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root may mount a small file system");
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let mut site = Site::new(root.path(), "s", 1);
    site.on_a_disk_of(48 << 20);
    site.start();
    load::create(&site.kafka, TOPIC, PARTITIONS);
    let history = Arc::new(History::new());
    let load = start_load(&history, &site.kafka);
    assert!(goes_on(&mut site, &history, 30));
    assert!(commit(&mut site, 1));
    let filler = from_outside(&mut site).join("filler");
    let cycles = if full_run() { 100 } else { 5 };
    for cycle in 0..cycles {
        fill(&filler, (cycle % 4) * 5_000);
        // What is under way comes to its end, and then nothing is acknowledged any more.
        until("refused", PATIENCE, || {
            let before = history.acked();
            std::thread::sleep(Duration::from_millis(150));
            holds(history.acked() == before, || {
                format!("{} acknowledged", history.acked())
            })
        });
        let ends: i64 = load::bounds(&site.kafka, TOPIC, PARTITIONS)
            .iter()
            .map(|(_, end)| end)
            .sum();
        assert!(ends >= history.acked() as i64, "{ends} readable");
        if cycle == 0 {
            assert_eq!(
                load::read_topic(&site.kafka, TOPIC, PARTITIONS).len() as i64,
                ends,
                "reads go on"
            );
        }
        assert_eq!(
            committed(&site),
            Some(1 + cycle as i64),
            "group reads go on"
        );
        assert!(site.alive() && !site.metrics().contains("gnomon_partitions_closed 1"));
        std::fs::remove_file(&filler).expect("removed");
        assert!(goes_on(&mut site, &history, 30), "it heals by itself");
        assert!(commit(&mut site, 2 + cycle as i64));
    }
    load.stop();
    checker::assert_kept(&history, &load::read_topic(&site.kafka, TOPIC, PARTITIONS));
    assert!(site.stop().success());
    println!("faults: times the disk was full: {cycles}");
}
