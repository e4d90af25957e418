//! Clients that nobody here wrote against one broker: what each of them does all day, told once and
//! run by each.
//!
//! `PROTO_TESTS_PEER=kafka cargo test -p proto-tests --test clients` runs the same against Apache
//! Kafka: a scenario that fails there is wrong. What only Gnomon promises is marked, and not run
//! there.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use proto_tests::broker;
use proto_tests::client::{CODECS, Client, Consumer, Consuming, Producing, Record, Seen, Start};
use proto_tests::toolchain::{Tool, have};
use proto_tests::{franz, java, kcat, librdkafka, load, process, site};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(40);
const NONE: BTreeMap<&str, &str> = BTreeMap::new();

/// A topic that keeps everything: what is written here has timestamps of years ago, and retention
/// looks at every topic while the tests run.
fn create(client: &dyn Client, topic: &str, partitions: i32) {
    let configs = BTreeMap::from([("retention.ms", "-1")]);
    client
        .create_topic(&broker::bootstrap(), topic, partitions, &configs)
        .unwrap_or_else(|failure| panic!("create {topic}: {failure}"));
}

fn values(records: &[Seen]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record.value.as_deref().unwrap_or("-"))
        .collect()
}

fn creates_topics(client: &dyn Client, name: &str) {
    let bootstrap = broker::bootstrap();
    let topic = format!("{name}-made");
    let configs = BTreeMap::from([("retention.ms", "123456"), ("cleanup.policy", "delete")]);
    client
        .create_topic(&bootstrap, &topic, 3, &configs)
        .unwrap_or_else(|failure| panic!("create: {failure}"));
    let again = client
        .create_topic(&bootstrap, &topic, 3, &NONE)
        .expect_err("a topic is made once");
    assert_eq!(again.code, 36, "TOPIC_ALREADY_EXISTS: {again}");
    let refused = client
        .create_topic(&bootstrap, "no spaces here", 1, &NONE)
        .expect_err("not a legal name");
    assert_eq!(refused.code, 17, "INVALID_TOPIC_EXCEPTION: {refused}");
    let refused = client
        .create_topic(
            &bootstrap,
            &format!("{name}-odd"),
            1,
            &BTreeMap::from([("no.such.setting", "1")]),
        )
        .expect_err("unknown setting");
    assert_eq!(refused.code, 40, "INVALID_CONFIG: {refused}");
    // All three partitions are there to be written.
    let mut producer = client.producer(&Producing::new(&bootstrap)).unwrap();
    let records: Vec<Record> = (0..3)
        .map(|partition| Record::to(&topic, partition, format!("v{partition}")))
        .collect();
    assert_eq!(
        producer
            .send_all(&records)
            .iter()
            .map(|ack| (ack.partition, ack.offset))
            .collect::<Vec<_>>(),
        [(0, 0), (1, 0), (2, 0)]
    );
}

/// Keys, null keys, empty values, tombstones, headers that repeat or have no value, timestamps of
/// the past.
fn assorted(topic: &str, count: usize) -> Vec<Record> {
    (0..count)
        .map(|n| {
            let record = Record::to(
                topic,
                (n % 2) as i32,
                format!("value {n} {}", "x".repeat(n % 50)),
            )
            .at(1_700_000_000_000 + n as i64);
            match n % 5 {
                0 => record.key(format!("key {n}")),
                1 => record.key(format!("key {n}")).tombstone(),
                2 => record
                    .header("trace", Some("1"))
                    .header("trace", Some("2"))
                    .header("empty", Some("")),
                3 => Record {
                    value: Some(String::new()),
                    ..record
                },
                _ => record.key("").header("none", None),
            }
        })
        .collect()
}

fn assert_as_sent(sent: &[Record], seen: &[Seen]) {
    for partition in 0..2 {
        let sent: Vec<&Record> = sent
            .iter()
            .filter(|record| record.partition == Some(partition))
            .collect();
        let seen: Vec<&Seen> = seen
            .iter()
            .filter(|record| record.partition == partition)
            .collect();
        assert_eq!(sent.len(), seen.len(), "records of partition {partition}");
        for (offset, (sent, seen)) in (0..).zip(sent.iter().zip(&seen)) {
            assert_eq!(seen.offset, offset);
            assert_eq!(
                (&seen.key, &seen.value, &seen.headers, Some(seen.timestamp)),
                (&sent.key, &sent.value, &sent.headers, sent.timestamp),
                "{seen:?}"
            );
        }
    }
}

fn writes_and_reads(client: &dyn Client, name: &str, how: &str) {
    let bootstrap = broker::bootstrap();
    let topic = format!("{name}-written-{how}");
    create(client, &topic, 2);
    let producing = match how {
        "idempotent" => Producing::new(&bootstrap),
        "all" => Producing::new(&bootstrap).plain("all"),
        "one" => Producing::new(&bootstrap).plain("1"),
        _ => Producing::new(&bootstrap).plain("0"),
    };
    // With acks=0 a record that comes before its leader does is lost, and nobody is told.
    load::bounds(&bootstrap, &topic, 2);
    let sent = assorted(&topic, 200);
    let mut producer = client.producer(&producing).unwrap();
    let acks = producer.send_all(&sent);
    if how != "none" {
        for partition in 0..2 {
            let offsets: Vec<i64> = acks
                .iter()
                .filter(|ack| ack.partition == partition)
                .map(|ack| ack.offset)
                .collect();
            assert_eq!(
                offsets,
                (0..100).collect::<Vec<i64>>(),
                "offsets of partition {partition} have no gap"
            );
        }
    }
    let mut consumer = client
        .consumer(&Consuming::from_beginning(&bootstrap, &topic, 2))
        .unwrap();
    assert_as_sent(&sent, &consumer.read(200, PATIENCE));
    assert!(
        consumer.read_for(Duration::from_millis(500)).is_empty(),
        "nothing comes twice"
    );
    consumer.seek(&topic, 1, Start::At(95)).unwrap();
    assert_eq!(
        consumer
            .read(5, PATIENCE)
            .iter()
            .map(|record| record.offset)
            .collect::<Vec<_>>(),
        [95, 96, 97, 98, 99]
    );
}

fn every_codec(client: &dyn Client, name: &str) {
    let bootstrap = broker::bootstrap();
    let topic = format!("{name}-codecs");
    create(client, &topic, 2);
    let mut sent = Vec::new();
    for codec in CODECS {
        let mut producer = client
            .producer(&Producing::new(&bootstrap).codec(codec))
            .unwrap();
        let records = assorted(&topic, 100);
        producer.send_all(&records);
        sent.extend(records);
    }
    let mut consumer = client
        .consumer(&Consuming::from_beginning(&bootstrap, &topic, 2))
        .unwrap();
    assert_as_sent(&sent, &consumer.read(sent.len(), PATIENCE));
}

fn large_records(client: &dyn Client, name: &str) {
    let bootstrap = broker::bootstrap();
    let topic = format!("{name}-large");
    create(client, &topic, 1);
    let mut producer = client.producer(&Producing::new(&bootstrap)).unwrap();
    let sent: Vec<Record> = (0..5)
        .map(|n| Record::to(&topic, 0, format!("{n}").repeat(900_000)))
        .collect();
    for record in &sent {
        producer.send_all(std::slice::from_ref(record));
    }
    let mut consumer = client
        .consumer(&Consuming::from_beginning(&bootstrap, &topic, 1))
        .unwrap();
    let seen = consumer.read(5, PATIENCE);
    assert!(
        seen.iter()
            .zip(&sent)
            .all(|(seen, sent)| seen.value == sent.value)
    );
}

/// Polls both until their shares are as wanted.
fn settle(members: &mut [&mut dyn Consumer], wanted: &[usize], seen: &mut Vec<Seen>) {
    let start = Instant::now();
    loop {
        for member in members.iter_mut() {
            match member.poll(Duration::from_millis(200)) {
                Ok(records) => seen.extend(records),
                Err(failure) => eprintln!("while it settles: {failure}"),
            }
        }
        let shares: Vec<Vec<(String, i32)>> = members
            .iter_mut()
            .map(|member| member.assignment())
            .collect();
        let all: BTreeSet<&(String, i32)> = shares.iter().flatten().collect();
        let sizes: Vec<usize> = shares.iter().map(Vec::len).collect();
        if sizes == wanted && all.len() == sizes.iter().sum::<usize>() {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "shares {shares:?}, wanted {wanted:?}"
        );
    }
}

fn a_group_grows_and_shrinks(client: &dyn Client, name: &str) {
    let bootstrap = broker::bootstrap();
    let (topic, group) = (format!("{name}-shared"), format!("{name}-group"));
    create(client, &topic, 4);
    let mut producer = client.producer(&Producing::new(&bootstrap)).unwrap();
    let mut sent = 0;
    let mut send = |count: usize| {
        let records: Vec<Record> = (0..count)
            .map(|n| Record::to(&topic, (n % 4) as i32, format!("{}", sent + n)))
            .collect();
        producer.send_all(&records);
        sent += count;
        sent
    };
    send(40);
    let mut seen = Vec::new();
    let mut first = client
        .consumer(&Consuming::member(&bootstrap, &group, &[&topic]))
        .unwrap();
    settle(&mut [first.as_mut()], &[4], &mut seen);
    seen.extend(first.read(40 - seen.len(), PATIENCE));
    first.commit().unwrap();

    let mut second = client
        .consumer(&Consuming::member(&bootstrap, &group, &[&topic]))
        .unwrap();
    settle(&mut [first.as_mut(), second.as_mut()], &[2, 2], &mut seen);
    send(40);
    let start = Instant::now();
    let distinct = |seen: &[Seen]| {
        values(seen)
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
            .len()
    };
    while distinct(&seen) < 80 {
        assert!(start.elapsed() < PATIENCE, "{} of 80", distinct(&seen));
        seen.extend(first.poll(Duration::from_millis(100)).unwrap());
        seen.extend(second.poll(Duration::from_millis(100)).unwrap());
    }
    first.commit().unwrap();
    second.commit().unwrap();
    drop(second);

    settle(&mut [first.as_mut()], &[4], &mut seen);
    let total = send(40);
    while distinct(&seen) < total {
        assert!(
            start.elapsed() < 2 * PATIENCE,
            "{} of {total}",
            distinct(&seen)
        );
        seen.extend(first.poll(Duration::from_millis(100)).unwrap());
    }
    first.commit().unwrap();
    for partition in 0..4 {
        assert_eq!(
            first.committed(&topic, partition).unwrap(),
            Some(30),
            "partition {partition}"
        );
    }
    assert_eq!(
        seen.len(),
        total,
        "every record came once: nothing was uncommitted when the group changed"
    );
}

fn goes_on_from_its_commit(client: &dyn Client, name: &str) {
    let bootstrap = broker::bootstrap();
    let (topic, group) = (format!("{name}-resumed"), format!("{name}-resuming"));
    create(client, &topic, 1);
    let records: Vec<Record> = (0..20)
        .map(|n| Record::to(&topic, 0, format!("{n}")))
        .collect();
    let mut producer = client.producer(&Producing::new(&bootstrap)).unwrap();
    producer.send_all(&records[..10]);
    let member = Consuming::member(&bootstrap, &group, &[&topic]);
    let mut consumer = client.consumer(&member).unwrap();
    assert_eq!(consumer.read(10, PATIENCE).len(), 10);
    consumer.commit().unwrap();
    drop(consumer);
    producer.send_all(&records[10..]);
    let mut consumer = client.consumer(&member).unwrap();
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        (10..20).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(consumer.committed(&topic, 0).unwrap(), Some(10));
}

fn finds_offsets_by_time(client: &dyn Client, name: &str) {
    let bootstrap = broker::bootstrap();
    let topic = format!("{name}-times");
    create(client, &topic, 1);
    let base = 1_700_000_000_000;
    let mut producer = client
        .producer(&Producing::new(&bootstrap).codec("gzip"))
        .unwrap();
    // One batch: the answer is a record within it.
    let records: Vec<Record> = (0..10)
        .map(|n| Record::to(&topic, 0, format!("{n}")).at(base + 100 * n))
        .collect();
    producer.send_all(&records);
    let at = |timestamp| {
        client
            .offset_for_time(&bootstrap, &topic, 0, timestamp)
            .unwrap()
    };
    assert_eq!(
        [
            at(base),
            at(base + 1),
            at(base + 300),
            at(base + 899),
            at(base + 900)
        ],
        [0, 1, 3, 9, 9]
    );
    // "None": Java and librdkafka say so with -1, franz-go's administration with the end.
    assert!([-1, 10].contains(&at(base + 901)));
}

macro_rules! scenarios {
    ($module:ident, $tools:expr, $client:expr) => {
        mod $module {
            use super::*;

            #[test]
            fn topics() {
                if have($tools) {
                    creates_topics($client, stringify!($module));
                }
            }
            #[test]
            fn idempotent() {
                if have($tools) {
                    writes_and_reads($client, stringify!($module), "idempotent");
                }
            }
            #[test]
            fn acks_all() {
                if have($tools) {
                    writes_and_reads($client, stringify!($module), "all");
                }
            }
            #[test]
            fn acks_one() {
                if have($tools) {
                    writes_and_reads($client, stringify!($module), "one");
                }
            }
            #[test]
            fn acks_none() {
                if have($tools) {
                    writes_and_reads($client, stringify!($module), "none");
                }
            }
            #[test]
            fn codecs() {
                if have($tools) {
                    every_codec($client, stringify!($module));
                }
            }
            #[test]
            fn large() {
                if have($tools) {
                    large_records($client, stringify!($module));
                }
            }
            #[test]
            fn group() {
                if have($tools) {
                    a_group_grows_and_shrinks($client, stringify!($module));
                }
            }
            #[test]
            fn resume() {
                if have($tools) {
                    goes_on_from_its_commit($client, stringify!($module));
                }
            }
            #[test]
            fn times() {
                if have($tools) {
                    finds_offsets_by_time($client, stringify!($module));
                }
            }
        }
    };
}

scenarios!(clients_java, &[Tool::Java], java::client());
scenarios!(clients_franz_go, &[Tool::Go], franz::client());
scenarios!(clients_librdkafka, &[], librdkafka::client());

/// Records that one of them wrote are read alike by all of them, every codec by every pair.
#[test]
fn clients_read_what_others_wrote() {
    if !have(&[Tool::Java, Tool::Go]) {
        return;
    }
    let bootstrap = broker::bootstrap();
    let all: [&dyn Client; 3] = [java::client(), franz::client(), librdkafka::client()];
    let mut sent = Vec::new();
    create(librdkafka::client(), "everyone", 2);
    for client in all {
        for codec in CODECS {
            let records = assorted("everyone", 20);
            client
                .producer(&Producing::new(&bootstrap).codec(codec))
                .unwrap()
                .send_all(&records);
            sent.extend(records);
        }
    }
    for client in all {
        let mut consumer = client
            .consumer(&Consuming::from_beginning(&bootstrap, "everyone", 2))
            .unwrap();
        assert_as_sent(&sent, &consumer.read(sent.len(), PATIENCE));
    }
}

#[test]
fn clients_kcat() {
    if !have(&[Tool::Kcat]) {
        return;
    }
    let bootstrap = broker::bootstrap();
    // The topic is made by the producer's own metadata request.
    for (nth, codec) in ["none", "gzip", "snappy", "lz4", "zstd"]
        .into_iter()
        .enumerate()
    {
        kcat::produce(
            &bootstrap,
            "kcat-orders",
            &format!("k{nth}\tv{nth}\n"),
            &["-z", codec],
        )
        .expect("kcat -P");
    }
    kcat::produce(
        &bootstrap,
        "kcat-orders",
        "k5\tv5\n",
        &["-X", "enable.idempotence=true"],
    )
    .expect("kcat -P, idempotent");
    let read = kcat::consume(&bootstrap, "kcat-orders", &[]).expect("kcat -C");
    let lines: Vec<Vec<&str>> = read.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 6, "{read}");
    for (nth, line) in lines.iter().enumerate() {
        assert_eq!(
            (line[0], line[1], line[3], line[4]),
            (
                "0",
                &*nth.to_string(),
                &*format!("k{nth}"),
                &*format!("v{nth}")
            ),
            "{read}"
        );
    }
    let listed = kcat::list(&bootstrap, Some("kcat-orders")).expect("kcat -L");
    assert!(
        listed.contains("topic \"kcat-orders\" with 1 partitions") && listed.contains(&bootstrap),
        "{listed}"
    );
    let third: i64 = lines[3][2].parse().expect("a timestamp");
    let found = kcat::query(&bootstrap, "kcat-orders", 0, third).expect("kcat -Q");
    assert!(found.contains("offset 3"), "{found}");

    let grouped = kcat::group(&bootstrap, "kcat-group", &["kcat-orders"], 4).expect("kcat -G");
    assert_eq!(grouped.lines().count(), 4, "{grouped}");
    let rest = kcat::group(&bootstrap, "kcat-group", &["kcat-orders"], 2).expect("kcat -G again");
    assert!(
        rest.contains("k4 v4") && rest.contains("k5 v5"),
        "goes on from its commit: {rest}"
    );
}

/// Java sees what it needs of a topic: settings with their source, offsets, groups.
#[test]
fn clients_java_administers() {
    if !have(&[Tool::Java]) {
        return;
    }
    use serde_json::json;
    let (bootstrap, java) = (broker::bootstrap(), java::client());
    java.create_topic(
        &bootstrap,
        "administered",
        2,
        &BTreeMap::from([("retention.ms", "123456")]),
    )
    .unwrap();
    let ask = |op: &str, arguments| {
        java.admin(&bootstrap, op, arguments)
            .unwrap_or_else(|failure| panic!("{op}: {failure}"))
    };
    let topic = ask("describe_topic", json!({"topic": "administered"}));
    assert_eq!(topic["partitions"].as_array().unwrap().len(), 2);
    assert_eq!(topic["partitions"][0]["address"], json!(bootstrap));
    let configs = ask(
        "describe_configs",
        json!({"type": "topic", "name": "administered"}),
    );
    assert_eq!(configs["retention.ms"]["value"], "123456");
    assert_eq!(configs["retention.ms"]["source"], "DYNAMIC_TOPIC_CONFIG");
    assert_eq!(configs["cleanup.policy"]["value"], "delete");
    assert_eq!(configs["cleanup.policy"]["source"], "DEFAULT_CONFIG");
    let cluster = ask("describe_cluster", json!({}));
    assert_eq!(cluster["nodes"].as_array().unwrap().len(), 1);

    let mut consumer = java
        .consumer(&Consuming::member(
            &bootstrap,
            "administered-group",
            &["administered"],
        ))
        .unwrap();
    let mut seen = Vec::new();
    settle(&mut [consumer.as_mut()], &[2], &mut seen);
    let group = ask("describe_group", json!({"group": "administered-group"}));
    assert_eq!(
        (&group["state"], &group["members"]),
        (&json!("Stable"), &json!(1))
    );
    assert!(
        ask("list_groups", json!({}))
            .as_array()
            .unwrap()
            .contains(&json!("administered-group"))
    );
    drop(consumer);
    ask(
        "commit_offsets",
        json!({"group": "administered-group", "offsets": [["administered", 1, 0]]}),
    );
    let offsets = ask("group_offsets", json!({"group": "administered-group"}));
    assert!(
        offsets
            .as_array()
            .unwrap()
            .iter()
            .any(|each| each[0] == "administered" && each[1] == 1 && each[2] == 0),
        "{offsets}"
    );
    ask("delete_topic", json!({"topic": "administered"}));
    proto_tests::wait::until("the topic is gone", PATIENCE, || {
        let names = ask("list_topics", json!({}));
        proto_tests::wait::holds(
            !names.as_array().unwrap().contains(&json!("administered")),
            || names.to_string(),
        )
    });
}

/// Our own command line is a client too, and works with any broker. Its help is text that a user
/// can work from.
#[test]
fn clients_gnomon_command_line() {
    let bootstrap = broker::bootstrap();
    let gnomon = |arguments: &[&str], input: Option<&str>| {
        let mut command = Command::new(site::gnomon());
        command.args(arguments).env("GNOMON_BOOTSTRAP", &bootstrap);
        process::run(command, input.map(str::as_bytes), PATIENCE)
    };
    let topic = "clients-typed";
    gnomon(
        &[
            "topic",
            "create",
            topic,
            "--partitions",
            "2",
            "--config",
            "retention.ms=123456",
        ],
        None,
    )
    .expect("topic create");
    let again = gnomon(&["topic", "create", topic], None);
    assert!(!again.succeeded() && again.err.contains(topic), "{again:?}");
    assert!(
        gnomon(&["topic", "list"], None)
            .expect("topic list")
            .contains(topic)
    );
    gnomon(
        &["produce", topic, "--partition", "1", "--key-separator", ":"],
        Some("k1:v1\nk2:v2\n"),
    )
    .expect("produce");
    let read = gnomon(&["consume", topic, "--partition", "1"], None).expect("consume");
    let lines: Vec<Vec<&str>> = read
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(
        lines
            .iter()
            .map(|line| (line[0], line[2], line[3]))
            .collect::<Vec<_>>(),
        [("0", "k1", "v1"), ("1", "k2", "v2")],
        "{read}"
    );
    let described = gnomon(&["topic", "describe", topic], None).expect("topic describe");
    assert!(
        described.contains("retention.ms=123456") && described.contains("high watermark 2"),
        "{described}"
    );
    gnomon(&["topic", "delete", topic], None).expect("topic delete");
    for command in [
        &["serve"][..],
        &["pair"],
        &["link"],
        &["link", "failover"],
        &["topic"],
        &["produce"],
        &["consume"],
        &["log", "hash"],
    ] {
        let help = gnomon(&[command, &["--help"]].concat(), None).expect("--help");
        assert!(help.lines().count() > 5, "{command:?}: {help}");
    }
}

/// Gnomon has no transaction coordinator yet, and says so at once instead of letting a client wait.
#[test]
fn clients_hear_at_once_that_there_are_no_transactions() {
    if broker::is_kafka() || !have(&[Tool::Java]) {
        return;
    }
    let how = Producing {
        transactional_id: Some("tx".into()),
        ..Producing::new(&broker::bootstrap())
    };
    let refused = java::client()
        .transactional(&how)
        .map(drop)
        .expect_err("there is no coordinator");
    // Not the time-out that it would be if the client kept asking for a coordinator.
    assert!(
        refused.to_string().contains("TransactionalIdAuthorization"),
        "{refused}"
    );
}
