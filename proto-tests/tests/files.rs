//! The files on the disk, as operators see them: `gnomon log dump` beside Apache Kafka's own tool,
//! and damage from the flipped byte to the client's error, the check and the metric.

mod wire;

use proto_tests::client::{CODECS, Client, Producer, Producing, Record};
use proto_tests::process;
use proto_tests::site::{Site, http_get};
use proto_tests::toolchain::{Tool, have};
use proto_tests::{java, librdkafka};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CORRUPT_MESSAGE: i16 = 2;

fn site(root: &Path, tag: u16) -> Site {
    let mut site = Site::new(root, "files", tag);
    site.start();
    site
}

fn create(site: &Site, topic: &str, configs: &[(&str, &str)]) {
    let configs: BTreeMap<&str, &str> = configs.iter().copied().collect();
    librdkafka::client()
        .create_topic(&site.kafka, topic, 1, &configs)
        .unwrap_or_else(|failure| panic!("create {topic}: {failure}"));
}

fn producer(how: &Producing) -> Box<dyn Producer> {
    librdkafka::client()
        .producer(how)
        .unwrap_or_else(|failure| panic!("open: {failure}"))
}

/// Records of their own batches, so that each has a place of its own in the file.
fn write_one_by_one(site: &Site, topic: &str, count: usize, bytes: usize) {
    let mut producer = producer(&Producing::new(&site.kafka));
    for nth in 0..count {
        producer.send_all(&[Record::to(topic, 0, format!("{nth:0bytes$}"))]);
    }
}

/// `gnomon log check DIR PARTITION`: its exit code and what it printed.
fn check(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let data = site.data.display().to_string();
    let outcome = site.gnomon(&[&["log", "check", &data], arguments].concat());
    (
        outcome.status.and_then(|status| status.code()),
        format!("{}{}", outcome.out, outcome.err),
    )
}

fn folder(site: &Site, partition: &str) -> PathBuf {
    let (_, printed) = check(site, &[partition, "--format", "json"]);
    let report: serde_json::Value =
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    report["partitions"][0]["folder"]
        .as_str()
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("a folder: {printed}"))
}

/// The files of a folder with that extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let listed =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = listed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

fn dump(site: &Site, file: &Path, arguments: &[&str]) -> String {
    site.gnomon(
        &[
            &["log", "dump", file.to_str().expect("a path of text")],
            arguments,
        ]
        .concat(),
    )
    .expect("log dump")
}

fn kafka_dump(file: &Path, arguments: &[&str]) -> String {
    let mut command = java::java("256m");
    command
        .args(["org.apache.kafka.tools.DumpLogSegments", "--files"])
        .arg(file)
        .args(arguments);
    let outcome = process::run(command, None, Duration::from_secs(60));
    // Of records it says that -1 is followed by a segment's first offset, also of its own segments.
    let found: Vec<&str> = outcome
        .err
        .lines()
        .filter(|line| !line.starts_with("Non-consecutive offsets") && !line.starts_with("  -1 is"))
        .collect();
    assert!(
        found.is_empty(),
        "it finds something wrong with {}: {found:?}",
        file.display()
    );
    outcome.expect("DumpLogSegments")
}

fn flip(file: &Path, at: usize) {
    let mut bytes =
        fs::read(file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
    bytes[at] ^= 0x10;
    fs::write(file, bytes).unwrap_or_else(|error| panic!("write {}: {error}", file.display()));
}

/// Position of the batch that begins at that offset, by the dump.
fn position(dumped: &str, offset: i64) -> usize {
    let line = dumped
        .lines()
        .find(|line| line.starts_with(&format!("baseOffset: {offset} ")))
        .unwrap_or_else(|| panic!("{offset}: {dumped}"));
    let words: Vec<&str> = line.split(' ').collect();
    let at = words
        .iter()
        .position(|word| *word == "position:")
        .expect("a position");
    words[at + 1].parse().expect("a number")
}

#[test]
fn files_are_dumped_as_kafka_dumps_them() {
    if !have(&[Tool::Java]) {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = site(root.path(), 11);
    create(
        &site,
        "dumped",
        &[
            ("segment.bytes", "1048576"),
            ("index.interval.bytes", "1000"),
        ],
    );
    for codec in CODECS {
        let mut plain = producer(&Producing::new(&site.kafka).codec(codec).plain("1"));
        let record = |nth: usize| {
            Record::to("dumped", 0, format!("{codec} {nth}"))
                .key("key")
                .header("h", Some("v"))
                .header("empty", None)
        };
        plain.send_all(&(0..20).map(record).collect::<Vec<_>>());
        plain.send_all(&[
            Record::to("dumped", 0, "no key"),
            Record::to("dumped", 0, "").key("gone").tombstone(),
        ]);
        producer(&Producing::new(&site.kafka).codec(codec))
            .send_all(&(0..5).map(record).collect::<Vec<_>>());
    }
    create(
        &site,
        "timed",
        &[("message.timestamp.type", "LogAppendTime")],
    );
    write_one_by_one(&site, "timed", 3, 10);
    write_one_by_one(&site, "dumped", 30, 50_000);
    site.stop();
    let logs: Vec<PathBuf> = ["dumped-0", "timed-0"]
        .iter()
        .flat_map(|partition| files(&folder(&site, partition), "log"))
        .collect();
    assert!(logs.len() > 2, "{logs:?}");
    for log in &logs {
        assert_eq!(
            dump(&site, log, &[]),
            kafka_dump(log, &[]),
            "{}",
            log.display()
        );
        assert_eq!(
            dump(&site, log, &["--records"]),
            kafka_dump(log, &["--print-data-log"]),
            "{}",
            log.display()
        );
        for extension in ["index", "timeindex"] {
            let index = log.with_extension(extension);
            if index.exists() {
                assert_eq!(
                    dump(&site, &index, &[]),
                    kafka_dump(&index, &[]),
                    "{}",
                    index.display()
                );
            }
        }
    }
    let folder = folder(&site, "dumped-0");
    assert!(
        dump(&site, &folder.join("checkpoint"), &[]).contains("logStartOffset: 0 "),
        "a checkpoint"
    );
    let snapshots = files(&folder, "snapshot");
    assert!(
        dump(&site, &snapshots[0], &[]).contains("producerEpoch: 0 "),
        "a producer snapshot"
    );
    // Bytes that are no batch: Kafka's tool stops, ours says so and goes on.
    let first = &logs[0];
    let second = position(&dump(&site, first, &[]), 20);
    flip(first, second + 16);
    let dumped = dump(&site, first, &[]);
    assert!(
        dumped.contains(&format!("invalid bytes at position {second} of"))
            && dumped.contains("baseOffset: 22 "),
        "{dumped}"
    );
}

#[test]
fn files_damage_is_answered_counted_and_shown() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = site(root.path(), 12);
    create(&site, "kept", &[("segment.bytes", "1048576")]);
    create(&site, "never", &[]);
    write_one_by_one(&site, "kept", 40, 50_000);
    let (code, printed) = check(&site, &[]);
    assert_eq!(code, Some(0), "while it runs: {printed}");
    assert!(
        printed.contains("kept-0  offsets 0..40") && printed.contains("all clean"),
        "{printed}"
    );
    assert_eq!(check(&site, &["never-0"]).0, Some(0));
    let (code, printed) = check(&site, &["nowhere-0"]);
    assert!(
        code == Some(2) && printed.contains("there is no partition nowhere-0"),
        "{printed}"
    );

    site.stop();
    let folder = folder(&site, "kept-0");
    let log = files(&folder, "log").remove(0);
    let at = position(&dump(&site, &log, &[]), 7);
    flip(&log, at + 1_000);
    flip(&log.with_extension("index"), 3);
    let (code, printed) = check(&site, &["kept-0", "never-0"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("offsets 7..8 are damaged")
            && printed.contains(&format!("at position {at} of {}", log.display())),
        "{printed}"
    );
    assert!(
        printed.contains(".index is missing or not what was written")
            && printed.contains("2 partitions, 1 not clean"),
        "{printed}"
    );
    let (code, printed) = check(&site, &["--format", "json"]);
    let report: serde_json::Value =
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    let damaged: Vec<&serde_json::Value> = report["partitions"]
        .as_array()
        .expect("partitions")
        .iter()
        .filter(|partition| partition["clean"] == false)
        .collect();
    assert!(
        code == Some(1) && report["not_clean"] == 1 && damaged[0]["partition"] == "kept-0",
        "{printed}"
    );
    assert_eq!(
        (
            &damaged[0]["damaged"][0]["from"],
            &damaged[0]["damaged"][0]["to"]
        ),
        (&7.into(), &8.into())
    );

    site.start();
    for offset in [0, 6, 8, 39] {
        let fetched = wire::fetch(&site.kafka, "kept", 0, offset, (-1, -1));
        assert!(
            fetched.error == 0 && !fetched.records.is_empty(),
            "offset {offset}: error {}",
            fetched.error
        );
    }
    for _ in 0..2 {
        let fetched = wire::fetch(&site.kafka, "kept", 0, 7, (-1, -1));
        assert_eq!(
            (fetched.error, fetched.high_watermark),
            (CORRUPT_MESSAGE, 40)
        );
    }
    let metrics = http_get(&site.admin, "/metrics?partitions=true");
    for (name, value) in [
        ("gnomon_log_damaged_ranges", 1),
        ("gnomon_log_damaged_offsets", 1),
        ("gnomon_log_indexes_rebuilt", 1),
    ] {
        let line = format!("{name}{{topic=\"kept\",partition=\"0\"}} {value}");
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    assert!(
        site.running().printed().contains("log is damaged on disk"),
        "it is in the log"
    );
    // The index was put back in its place; what is lost stays lost.
    site.stop();
    let (code, printed) = check(&site, &["kept-0"]);
    assert!(
        code == Some(1)
            && printed.contains("offsets 7..8 are damaged")
            && !printed.contains(".index"),
        "{printed}"
    );
}

#[test]
fn files_of_a_killed_site_are_clean() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = site(root.path(), 13);
    create(&site, "killed", &[("segment.bytes", "1048576")]);
    for round in 0..5 {
        write_one_by_one(&site, "killed", 25 + round, 20_000);
        site.running().signal(Signal::KILL);
        site.kill();
        let (code, printed) = check(&site, &[]);
        assert_eq!(code, Some(0), "{printed}");
        site.start();
    }
}
