//! Story 1, 2 and 4: what is written on one site is read on the other, byte for byte, and written
//! nowhere else.
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

#[path = "wire/mod.rs"]
mod wire;

use proto_tests::client::{CODECS, Client, Consuming, Producer, Producing, Record, Start};
use proto_tests::kafka::Kafka;
use proto_tests::pair::{Pair, link_file};
use proto_tests::process::{self, Process};
use proto_tests::site::{Site, gnomon};
use proto_tests::toolchain::{Tool, have};
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{checker, franz, java, kcat, librdkafka, load, place};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// "Within a second": the discovery's interval is one, and the machine has two cores for eight
/// processes.
const A_SECOND: Duration = Duration::from_millis(2_500);

/// Bytes as they lie in the log, leader epoch in the header included.
fn assert_same_bytes(pair: &Pair, topic: &str, partitions: i32) {
    for partition in 0..partitions {
        let (one, other) = (
            wire::batches(&pair.a.kafka, topic, partition),
            wire::batches(&pair.b.kafka, topic, partition),
        );
        assert_eq!(one.len(), other.len(), "batches of {topic}-{partition}");
        for (nth, (one, other)) in one.iter().zip(&other).enumerate() {
            assert!(
                one == other,
                "batch {nth} of {topic}-{partition}:\n{one:02x?}\n{other:02x?}"
            );
        }
    }
}

fn topics(site: &Site) -> String {
    kcat::list(&site.kafka, None).expect("kcat -L")
}

#[test]
fn story_copy_by_kcat_within_a_second() {
    if !have(&[Tool::Kcat]) {
        return;
    }
    let pair = Pair::start();
    for (owner, topic) in [(&pair.a, "a_orders"), (&pair.b, "b_orders")] {
        let shadow = if topic == "a_orders" {
            &pair.b
        } else {
            &pair.a
        };
        kcat::produce(&owner.kafka, topic, "k1\tone\nk2\ttwo\nk3\tthree\n", &[]).expect("kcat -P");
        let written = Instant::now();
        let there = kcat::consume(&owner.kafka, topic, &[]).expect("kcat -C at the owner");
        assert_eq!(there.lines().count(), 3, "{there}");
        until(&format!("{topic} on {}", shadow.name), PATIENCE, || {
            let copied = kcat::consume(&shadow.kafka, topic, &[]);
            holds(copied.out == there, || {
                format!("{copied:?}, wanted {there}")
            })
        });
        assert!(
            written.elapsed() < A_SECOND,
            "{:?} until it was there",
            written.elapsed()
        );
        // What comes later comes at once: the topic is known by now.
        kcat::produce(&owner.kafka, topic, "k4\tfour\n", &[]).expect("kcat -P");
        pair.assert_same(topic, 1);
        assert_same_bytes(&pair, topic, 1);
        // A prefix of the log has a hash too, also equal, and another one.
        let (some, same, all) = (
            owner.hash(topic, 0, Some(3)),
            shadow.hash(topic, 0, Some(3)),
            owner.hash(topic, 0, None),
        );
        assert!(
            some.is_ok() && some == same && some != all,
            "{some:?} {same:?} {all:?}"
        );
    }
}

/// Keys, headers that repeat, tombstones, old timestamps; three partitions.
fn assorted(topic: &str, count: usize) -> Vec<Record> {
    (0..count)
        .map(|n| {
            let record = Record::to(
                topic,
                (n % 3) as i32,
                format!("value {n} {}", "y".repeat(n % 40)),
            )
            .key(format!("key {}", n % 10));
            match n % 4 {
                0 => record.tombstone(),
                1 => record
                    .header("h", Some("1"))
                    .header("h", Some("2"))
                    .header("none", None),
                2 => record.at(1_600_000_000_000 + n as i64),
                _ => record,
            }
        })
        .collect()
}

#[test]
fn story_copy_every_codec_both_ways_at_once() {
    let pair = Pair::start();
    let mut clients: Vec<&dyn Client> = vec![librdkafka::client()];
    if have(&[Tool::Java]) {
        clients.push(java::client());
    }
    if have(&[Tool::Go]) {
        clients.push(franz::client());
    }
    pair.create("a_all", 3);
    pair.create("b_all", 3);
    let sent = std::thread::scope(|scope| {
        let writers = [(&pair.a, "a_all"), (&pair.b, "b_all")].map(|(site, topic)| {
            let clients = &clients;
            scope.spawn(move || {
                let mut count = 0;
                for client in clients {
                    for codec in CODECS {
                        let records = assorted(topic, 90);
                        client
                            .producer(&Producing::new(&site.kafka).codec(codec))
                            .expect("a producer")
                            .send_all(&records);
                        count += records.len();
                    }
                }
                count
            })
        });
        writers.map(|writer| writer.join().expect("a writer"))
    });
    for (topic, sent) in ["a_all", "b_all"].into_iter().zip(sent) {
        assert_eq!(pair.assert_same(topic, 3).len(), sent);
        assert_same_bytes(&pair, topic, 3);
    }
}

#[test]
fn story_copy_refuses_writes_to_a_shadow() {
    let pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 3);
    pair.level("a_orders", 1);
    let record = [Record::to("a_orders", 0, "not here")];
    let patient = Producing::new(&pair.b.kafka).timeout(Duration::from_secs(60));
    let mut clients: Vec<&dyn Client> = vec![librdkafka::client()];
    if have(&[Tool::Java]) {
        clients.push(java::client());
    }
    if have(&[Tool::Go]) {
        clients.push(franz::client());
    }
    for client in clients {
        for how in [
            patient.clone(),
            patient.clone().plain("all"),
            patient.clone().plain("1"),
        ] {
            let start = Instant::now();
            let refused = client
                .producer(&how)
                .expect("a producer")
                .send(&record)
                .remove(0)
                .expect_err("a shadow is read-only");
            assert_eq!(
                refused.code,
                44,
                "POLICY_VIOLATION for {}: {refused}",
                client.name()
            );
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{} tried for {:?}",
                client.name(),
                start.elapsed()
            );
            if client.name() == "java" {
                for word in ["from-a", "a", "failover"] {
                    assert!(
                        refused.message.contains(word),
                        "{word} is not in: {refused}"
                    );
                }
            }
        }
    }
    if have(&[Tool::Kcat]) {
        let start = Instant::now();
        let refused = kcat::produce(&pair.b.kafka, "a_orders", "k\tnot here\n", &[]);
        assert!(
            format!("{}{}", refused.out, refused.err).contains("Policy violation"),
            "{refused:?}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "kcat tried for {:?}",
            start.elapsed()
        );
    }
    assert_eq!(pair.assert_same("a_orders", 1).len(), 3);
}

#[test]
fn story_copy_leaves_a_claimed_name_to_its_owner() {
    if !have(&[Tool::Kcat, Tool::Java]) {
        return;
    }
    let pair = Pair::start();
    pair.in_contact();
    // By a client's metadata request: nothing is made, and the producer gives up by its own
    // timeout.
    let refused = kcat::produce(
        &pair.b.kafka,
        "a_new",
        "k\tnot here\n",
        &[
            "-X",
            "message.timeout.ms=3000",
            "-X",
            "topic.metadata.propagation.max.ms=1000",
        ],
    );
    assert!(
        format!("{}{}", refused.out, refused.err)
            .to_lowercase()
            .contains("unknown"),
        "{refused:?}"
    );
    // By an administrator: refused, with a sentence.
    let refused = java::client()
        .create_topic(&pair.b.kafka, "a_new", 1, &BTreeMap::new())
        .expect_err("the name belongs to the link");
    assert_eq!(refused.code, 44, "{refused}");
    assert!(refused.message.contains("from-a"), "{refused}");
    for site in [&pair.a, &pair.b] {
        assert!(
            !topics(site).contains("a_new"),
            "nothing was made on {}: {}",
            site.name,
            topics(site)
        );
    }
    // A consumer that comes before its topic waits for it, and makes nothing either.
    let mut early = librdkafka::client()
        .consumer(&Consuming::member(&pair.b.kafka, "b_early", &["a_new"]))
        .expect("a consumer");
    assert!(early.read_for(Duration::from_millis(700)).is_empty());
    kcat::produce(&pair.a.kafka, "a_new", "k\tfirst\n", &[]).expect("the owner may");
    assert_eq!(early.read(1, PATIENCE)[0].value.as_deref(), Some("first"));
    pair.assert_same("a_new", 1);
}

#[test]
fn story_copy_status_and_metrics() {
    let pair = Pair::start();
    pair.create("a_orders", 3);
    pair.write("a_orders", 0, 10);
    pair.level("a_orders", 3);
    let status = until("a status that is level", PATIENCE, || {
        let status = pair.b.status("from-a")?;
        let partitions = status.partitions("a_orders");
        holds(
            partitions.len() == 3
                && partitions[0].source_high_watermark == Some(10)
                && partitions[0].lag == Some(0),
            || format!("{:#}", status.0),
        )?;
        Ok(status)
    });
    assert_eq!(status.state(), "ACTIVE");
    assert_eq!(status.topic_state("a_orders"), "ACTIVE");
    let first = &status.partitions("a_orders")[0];
    assert_eq!(
        (first.partition, first.high_watermark, first.lag_seconds),
        (0, 10, Some(0.0))
    );
    let text = pair.b.status_text("from-a");
    assert!(
        text.contains("from-a") && text.contains("ACTIVE") && text.contains("a_orders"),
        "{text}"
    );
    let unknown = pair
        .b
        .gnomon(&["link", "status", "nobody", "--admin", &pair.b.admin]);
    assert!(
        !unknown.succeeded() && unknown.err.contains("nobody"),
        "{unknown:?}"
    );
    let metrics = pair.b.metrics();
    for name in [
        "shadow_lag",
        "lag_seconds",
        "bytes_fetched_total",
        "records_written_total",
        "gaps",
        "gap_offsets",
        "shadow_topic_state",
    ] {
        let name = format!("gnomon_shadow_link_{name}");
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with(&name) && line.contains("from-a")),
            "{name} is not in\n{metrics}"
        );
    }
}

#[test]
fn story_copy_starts_with_either_site_down() {
    let mut pair = Pair::new();
    pair.b.start();
    // Long enough for a first try at a source that is not there.
    std::thread::sleep(Duration::from_millis(500));
    assert!(pair.b.alive());
    load::write(&pair.b.kafka, "b_early", 0, 5);
    let status = pair.b.status("from-a").expect("a status without a source");
    assert!(
        status.0["tasks"].to_string().contains("LINK_UNAVAILABLE"),
        "{:#}",
        status.0
    );
    pair.a.start();
    pair.assert_same("b_early", 1);
    load::write(&pair.a.kafka, "a_late", 0, 5);
    pair.assert_same("a_late", 1);
}

#[test]
fn story_copy_goes_on_when_both_were_restarted() {
    let mut pair = Pair::start();
    for (nth, topic) in ["a_x", "b_x"].into_iter().enumerate() {
        pair.create(topic, 2);
        pair.write(topic, nth, 20);
        pair.level(topic, 2);
    }
    assert!(pair.a.stop().success(), "SIGTERM is a clean stop");
    assert!(pair.b.stop().success(), "SIGTERM is a clean stop");
    pair.b.start();
    pair.a.start();
    for topic in ["a_x", "b_x"] {
        pair.write(topic, 100, 20);
        assert_eq!(pair.assert_same(topic, 2).len(), 40);
        assert_same_bytes(&pair, topic, 2);
    }
}

#[test]
fn story_copy_keeps_a_link_whose_file_changed() {
    let mut pair = Pair::start();
    pair.write("a_x", 0, 1);
    pair.level("a_x", 1);
    pair.b.stop();
    let file = link_file(pair.root(), "from-a", &pair.a.kafka, "a_x");
    pair.b.start();
    let status = pair.b.status("from-a").expect("the link");
    assert!(
        status.0["topic_filters"].to_string().contains("\"a_\""),
        "the link stands as it was made: {:#}",
        status.0
    );
    assert_ne!(
        status.0["file_differs"].as_array().map_or(0, Vec::len),
        0,
        "{} differs: {:#}",
        file.display(),
        status.0
    );
    pair.write("a_y", 0, 1);
    pair.assert_same("a_y", 1);
}

/// Deleted and made again at its owner, while a producer runs: what the shadow has is not the same
/// topic any more, and it says so.
#[test]
fn story_copy_faults_on_a_topic_that_was_made_again() {
    if !have(&[Tool::Java]) {
        return;
    }
    let pair = Pair::start();
    pair.create("a_again", 1);
    pair.write("a_again", 0, 50);
    pair.level("a_again", 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = librdkafka::client()
                .producer(&Producing::new(&pair.a.kafka).plain("all"))
                .expect("a producer");
            while !stop.load(Ordering::Relaxed) {
                // While the topic is away some of these fail.
                let _ = producer.send(&[Record::to("a_again", 0, "runs")]);
            }
        });
        let admin = |op: &str| {
            java::client().admin(
                &pair.a.kafka,
                op,
                serde_json::json!({"topic": "a_again", "partitions": 1, "configs": {}}),
            )
        };
        admin("delete_topic").expect("its owner may delete it");
        until("it is there again", PATIENCE, || {
            match admin("create_topic") {
                Ok(_) => Ok(()),
                // The producer's metadata request was first.
                Err(failure) if failure.code == 36 => Ok(()),
                Err(failure) => Err(failure.to_string()),
            }
        });
        let status = until("a fault", PATIENCE, || {
            let status = pair.b.status("from-a")?;
            holds(status.topic_state("a_again") == "FAULTED", || {
                format!("{:#}", status.0)
            })?;
            Ok(status)
        });
        stop.store(true, Ordering::Relaxed);
        let reason = status
            .topic("a_again")
            .map(|topic| topic["reason"].to_string())
            .unwrap_or_default();
        assert!(reason.len() > 10, "a reason: {reason}");
    });
    // What was copied before is still read.
    let kept = load::read_topic(&pair.b.kafka, "a_again", 1);
    assert!(
        kept.len() >= 50 && kept[49].value.as_deref() == Some("49"),
        "{} records",
        kept.len()
    );
    // The way out of this issue: delete it here, and the link creates it again.
    java::client()
        .admin(
            &pair.b.kafka,
            "delete_topic",
            serde_json::json!({"topic": "a_again"}),
        )
        .expect("a faulted shadow may be deleted");
    pair.assert_same("a_again", 1);
}

/// Apache Kafka is a source like any other; its transactions are copied as they are.
#[test]
fn story_copy_from_apache_kafka_with_transactions() {
    if !have(&[Tool::Java]) {
        return;
    }
    let source = Kafka::start();
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "b", 2);
    site.link(link_file(root.path(), "from-k", &source.bootstrap, "k_"));
    site.start();
    load::create(&source.bootstrap, "k_tx", 3);
    let how = Producing {
        transactional_id: Some("t".into()),
        ..Producing::new(&source.bootstrap)
    };
    let mut producer = java::client()
        .transactional(&how)
        .expect("a transactional producer");
    for (nth, codec) in CODECS.into_iter().enumerate() {
        producer.begin().expect("begin");
        producer.send_all(&assorted("k_tx", 30));
        if nth % 2 == 0 {
            producer.commit()
        } else {
            producer.abort()
        }
        .expect("end");
        java::client()
            .producer(&Producing::new(&source.bootstrap).codec(codec))
            .expect("a producer")
            .send_all(&assorted("k_tx", 30));
    }
    load::level(&source.bootstrap, &site.kafka, "k_tx", 3, || {
        site.status_text("from-k")
    });
    checker::assert_equal(
        &load::read_topic(&source.bootstrap, "k_tx", 3),
        &load::read_topic(&site.kafka, "k_tx", 3),
    );
    for partition in 0..3 {
        assert_eq!(
            wire::batches(&source.bootstrap, "k_tx", partition),
            wire::batches(&site.kafka, "k_tx", partition),
            "bytes of partition {partition}"
        );
        let committed = |bootstrap: &str| {
            let how = Consuming::assigned(bootstrap, "k_tx", partition, Start::Beginning)
                .read_committed();
            java::client()
                .consumer(&how)
                .expect("a consumer")
                .read(80, PATIENCE)
        };
        checker::assert_equal(&committed(&source.bootstrap), &committed(&site.kafka));
    }
}

/// Retention at the source moves its log start; the shadow follows exactly, and no further.
#[test]
fn story_copy_follows_the_sources_retention() {
    let pair = Pair::start();
    let configs = BTreeMap::from([
        ("segment.bytes", "1048576"),
        ("retention.bytes", "2097152"),
        ("write.caching", "true"),
    ]);
    librdkafka::client()
        .create_topic(&pair.a.kafka, "a_short", 1, &configs)
        .expect("a topic");
    let mut producer = librdkafka::client()
        .producer(&Producing::new(&pair.a.kafka))
        .expect("a producer");
    for n in 0..80 {
        producer.send_all(&[Record::to("a_short", 0, format!("{n}").repeat(40_000))]);
    }
    pair.level("a_short", 1);
    let start = until(
        "the source's log start moves",
        Duration::from_secs(60),
        || {
            let (start, _) = load::bounds(&pair.a.kafka, "a_short", 1)[0];
            holds(start > 0, || "still 0".into())?;
            Ok(start)
        },
    );
    until("the shadow's log start follows", PATIENCE, || {
        let (there, here) = (
            load::bounds(&pair.a.kafka, "a_short", 1)[0],
            load::bounds(&pair.b.kafka, "a_short", 1)[0],
        );
        holds(there == here && here.0 >= start, || {
            format!("{there:?} and {here:?}")
        })
    });
    checker::assert_equal(
        &load::read_topic(&pair.a.kafka, "a_short", 1),
        &load::read_topic(&pair.b.kafka, "a_short", 1),
    );
    assert_same_bytes(&pair, "a_short", 1);
}

/// `gnomon pair` tells the story's first page, ends its children with itself, and names a port that
/// is taken.
#[test]
fn story_copy_pair_command() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (one, other) = (place::address(), place::address());
    let (kafka, admin) = (
        format!("{one}:9092,{other}:9092"),
        format!("{one}:9644,{other}:9644"),
    );
    let data = root.path().join("data");
    let command = || {
        let mut command = Command::new(gnomon());
        command
            .arg("pair")
            .arg("--data")
            .arg(&data)
            .args(["--kafka", &kafka, "--admin", &admin]);
        command
    };
    let mut pair = Process::start(command(), &root.path().join("pair.log"));
    let lines: Vec<String> = ["site a", "site b", "link from-a", "link from-b"]
        .into_iter()
        .map(|wanted| pair.wait_for_line(Duration::from_secs(40), |line| line.starts_with(wanted)))
        .collect();
    assert!(
        lines[0].contains(&format!("{one}:9092"))
            && lines[0].contains("owns a_*")
            && lines[0].contains("pid "),
        "{lines:?}"
    );
    assert!(
        lines[2].contains("(on b)") && lines[2].contains("a_*") && lines[2].contains("ACTIVE"),
        "{lines:?}"
    );
    let child = |line: &str| -> u32 {
        line.split("pid ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|pid| pid.parse().ok())
            .expect("a pid")
    };
    let children = [child(&lines[0]), child(&lines[1])];
    load::write(&format!("{one}:9092"), "a_pair", 0, 5);
    load::level(
        &format!("{one}:9092"),
        &format!("{other}:9092"),
        "a_pair",
        1,
        String::new,
    );

    // A second one on the same ports: an error that names the port, of whichever site found it
    // taken first.
    let mut again = Command::new(gnomon());
    again.args(["pair", "--ephemeral", "--kafka", &kafka, "--admin", &admin]);
    let refused = process::run(again, None, PATIENCE);
    let said = format!("{}{}", refused.out, refused.err);
    assert!(
        !refused.succeeded()
            && [&one, &other]
                .iter()
                .any(|host| said.contains(&format!("{host}:9"))),
        "{refused:?}"
    );

    // A dead child is not restarted; the command that does it is printed.
    process::run(
        {
            let mut kill = Command::new("kill");
            kill.args(["-9", &children[0].to_string()]);
            kill
        },
        None,
        PATIENCE,
    )
    .expect("kill");
    pair.wait_for_line(PATIENCE, |line| {
        line.contains("gnomon serve --config") && line.contains("gnomon.toml")
    });
    pair.signal(Signal::TERM);
    assert!(pair.wait(PATIENCE).is_some(), "it ends");
    let gone = |pid: u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    assert!(
        children.iter().all(|&pid| gone(pid)),
        "its children end with it"
    );
    assert!(data.join("a/gnomon.toml").exists() && data.join("b/from-a.yaml").exists());
}
