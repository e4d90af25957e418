//! Story 5: the source is gone, and a shadow becomes its site's own. Whatever is killed on the way,
//! it ends there; consumers and producers go on, and no offset has two meanings under one epoch.
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

#[path = "wire/mod.rs"]
mod wire;

use proto_tests::client::{Client, Consumer, Consuming, Producer, Producing, Record, Seen, Start};
use proto_tests::history::History;
use proto_tests::kafka::Kafka;
use proto_tests::load::{self, Load, Writing};
use proto_tests::pair::{Pair, link_file};
use proto_tests::proxy::Proxy;
use proto_tests::site::Site;
use proto_tests::toolchain::{Tool, have};
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{checker, java, librdkafka};
use std::sync::Arc;
use std::time::Duration;

/// The new epoch is a multiple of this.
const EPOCH_STRIDE: i32 = 65_536;

/// Where a site is killed: failpoints of `gnomon-replication`, each before its step. Set to
/// `return` they end the process on the spot.
const STEPS: [&str; 6] = [
    "failover_stop",
    "failover_cut",
    "failover_epoch",
    "failover_abort",
    "failover_offsets",
    "failover_done",
];

fn values(records: &[Seen]) -> Vec<String> {
    records
        .iter()
        .map(|record| record.value.clone().unwrap_or_default())
        .collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn write_refused(bootstrap: &str, topic: &str) -> i32 {
    let how = Producing::new(bootstrap)
        .plain("all")
        .timeout(Duration::from_secs(10));
    let mut producer = librdkafka::client().producer(&how).expect("a producer");
    producer
        .send(&[Record::to(topic, 0, "not here")])
        .remove(0)
        .map_or_else(
            |failure| failure.code,
            |ack| panic!("written at {}", ack.offset),
        )
}

/// The topic is writable, the next write gets the next offset, and what was there is there.
fn assert_taken_over(site: &Site, topic: &str, before: &[Seen]) {
    let end = load::end_of(&site.kafka, topic, 0);
    assert_eq!(
        load::write(&site.kafka, topic, 1_000_000, 1),
        [end],
        "the next write of {topic} gets the next offset"
    );
    let after = load::read_topic(&site.kafka, topic, 1);
    let kept: Vec<Seen> = after
        .iter()
        .filter(|record| record.offset < end)
        .cloned()
        .collect();
    checker::assert_equal(before, &kept);
    let (_, epochs) = wire::metadata(&site.kafka, topic).expect("metadata");
    assert!(
        epochs[0] >= EPOCH_STRIDE && epochs[0] / EPOCH_STRIDE * EPOCH_STRIDE <= epochs[0],
        "epoch {epochs:?}"
    );
}

#[test]
fn story_failover_of_one_topic_then_of_all() {
    let mut pair = Pair::start();
    let history = Arc::new(History::new());
    for topic in ["a_orders", "a_other", "b_own"] {
        pair.create(topic, 1);
    }
    let writing = |topic: &str, bootstrap: &str| Writing {
        producer: format!("writes-{topic}"),
        bootstrap: bootstrap.into(),
        topic: topic.into(),
        partitions: 1,
        burst: 5,
        pause: Duration::from_millis(5),
    };
    let on_b = Load::start(&history, writing("b_own", &pair.b.kafka));
    pair.write("a_orders", 0, 30);
    pair.write("a_other", 0, 30);
    pair.level("a_orders", 1);
    pair.level("a_other", 1);
    pair.a.kill();

    // It says what would be lost, asks, and takes no answer for no.
    let asked = pair.b.gnomon(&[
        "link",
        "failover",
        "from-a",
        "--topic",
        "a_orders",
        "--admin",
        &pair.b.admin,
    ]);
    assert!(
        !asked.succeeded()
            && asked.out.contains("a_orders")
            && asked.out.to_lowercase().contains("lost"),
        "{asked:?}"
    );
    let dry = pair
        .b
        .gnomon(&[
            "link",
            "failover",
            "from-a",
            "--topic",
            "a_orders",
            "--dry-run",
            "--admin",
            &pair.b.admin,
        ])
        .expect("--dry-run");
    assert!(dry.contains("a_orders"), "{dry}");
    assert_eq!(
        write_refused(&pair.b.kafka, "a_orders"),
        44,
        "still a shadow"
    );
    let unknown = pair.b.failover("from-a", &["b_own"]);
    assert!(
        !unknown.succeeded() && format!("{}{}", unknown.out, unknown.err).contains("b_own"),
        "{unknown:?}"
    );

    let before = load::read_topic(&pair.b.kafka, "a_orders", 1);
    assert_eq!(before.len(), 30);
    pair.b.failover("from-a", &["a_orders"]).expect("failover");
    assert_taken_over(&pair.b, "a_orders", &before);
    assert_eq!(
        write_refused(&pair.b.kafka, "a_other"),
        44,
        "the others stay shadows"
    );
    let status = pair.b.status("from-a").expect("status");
    assert_eq!(
        (
            status.topic_state("a_orders"),
            status.topic_state("a_other")
        ),
        ("FAILED_OVER".into(), "ACTIVE".into())
    );
    // Once more is no error.
    pair.b
        .failover("from-a", &["a_orders"])
        .expect("failover again");

    let before = load::read_topic(&pair.b.kafka, "a_other", 1);
    pair.b.failover("from-a", &[]).expect("failover --all");
    assert_taken_over(&pair.b, "a_other", &before);
    assert_eq!(
        pair.b.status("from-a").expect("status").state(),
        "FAILED_OVER"
    );
    // The name is free now, and stays so: neither a restart nor the file revives the link.
    load::create(&pair.b.kafka, "a_made_on_b", 1);
    on_b.stop();
    checker::assert_kept(&history, &load::read_topic(&pair.b.kafka, "b_own", 1));
    pair.b.restart();
    assert_eq!(
        pair.b.status("from-a").expect("status").state(),
        "FAILED_OVER"
    );
    load::write(&pair.b.kafka, "a_orders", 2_000_000, 1);

    // Site a comes back: its topics are writable there, and both sites say where they parted.
    pair.a.start();
    load::write(&pair.a.kafka, "a_orders", 3_000_000, 1);
    let wanted = "TAKEN OVER by b at 30, epoch 65536";
    for (site, link) in [(&pair.a, "from-b"), (&pair.b, "from-a")] {
        until(&format!("{wanted:?} on {}", site.name), PATIENCE, || {
            let text = site.status_text(link);
            holds(
                text.lines()
                    .any(|line| line.contains("a_orders") && line.contains(wanted)),
                || text,
            )
        });
    }
    // The other direction never noticed.
    load::write(&pair.b.kafka, "b_own", 5_000_000, 3);
    pair.level("b_own", 1);
}

/// Kills a real `serve` at each step, starts it again with the source still dead, and wants the
/// same end.
fn killed_at(step: &str, topics: usize) {
    let mut pair = Pair::start();
    let names: Vec<String> = (0..topics).map(|nth| format!("a_t{nth:02}")).collect();
    for name in &names {
        pair.create(name, 1);
    }
    std::thread::scope(|scope| {
        for share in names.chunks(topics.div_ceil(4)) {
            let pair = &pair;
            scope.spawn(move || share.iter().for_each(|name| pair.write(name, 0, 10)));
        }
    });
    for name in &names {
        pair.level(name, 1);
    }
    pair.a.kill();
    let before: Vec<Vec<Seen>> = names
        .iter()
        .map(|name| load::read_topic(&pair.b.kafka, name, 1))
        .collect();
    pair.b.stop();
    // The first steps come topic by topic: it ends in the midst of them. The last come once a
    // command.
    let off = if matches!(step, "failover_offsets" | "failover_done") {
        String::new()
    } else {
        format!("{}*off->", topics / 2)
    };
    pair.b.start_with(&format!("{step}={off}return"));
    let told = pair.b.failover("from-a", &[]);
    assert!(
        pair.b.running().wait(PATIENCE).is_some(),
        "it was to end at {step}: {told:?}"
    );
    assert!(
        !told.succeeded(),
        "killed at {step}, the command cannot have succeeded: {told:?}"
    );
    pair.b.kill();

    pair.b.start();
    // What was begun goes on by itself.
    until(
        &format!("failed over after a kill at {step}"),
        PATIENCE,
        || {
            let status = pair.b.status("from-a")?;
            holds(
                names
                    .iter()
                    .all(|name| status.topic_state(name) == "FAILED_OVER"),
                || format!("{:#}", status.0),
            )
        },
    );
    pair.b
        .failover("from-a", &[])
        .expect("asked again, it is done");
    for (name, before) in names.iter().zip(&before) {
        assert_taken_over(&pair.b, name, before);
    }
    // And once more from disk.
    pair.b.crash();
    assert_eq!(load::end_of(&pair.b.kafka, &names[0], 0), 11);
}

#[test]
fn story_failover_killed_before_stop() {
    killed_at(STEPS[0], 2);
}

#[test]
fn story_failover_killed_before_cut() {
    killed_at(STEPS[1], 2);
}

#[test]
fn story_failover_killed_before_epoch() {
    killed_at(STEPS[2], 2);
}

#[test]
fn story_failover_killed_before_abort() {
    killed_at(STEPS[3], 2);
}

#[test]
fn story_failover_killed_before_offsets() {
    killed_at(STEPS[4], 2);
}

#[test]
fn story_failover_killed_before_done() {
    killed_at(STEPS[5], 2);
}

#[test]
fn story_failover_killed_over_fifty_topics() {
    killed_at("failover_epoch", 50);
}

/// The source is a killed Apache Kafka with an open transaction: readers of committed records go on
/// after it.
#[test]
fn story_failover_from_apache_kafka_with_an_open_transaction() {
    if !have(&[Tool::Java]) {
        return;
    }
    let mut source = Kafka::start();
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "b", 2);
    site.link(link_file(root.path(), "from-k", &source.bootstrap, "k_"));
    site.start();
    load::create(&source.bootstrap, "k_tx", 1);
    let how = |id: &str| Producing {
        transactional_id: Some(id.into()),
        ..Producing::new(&source.bootstrap)
    };
    let whole = |id: &str, from: usize| {
        let mut producer = java::client().transactional(&how(id)).expect("a producer");
        producer.begin().expect("begin");
        producer.send_all(
            &(from..from + 3)
                .map(|n| Record::to("k_tx", 0, n.to_string()))
                .collect::<Vec<_>>(),
        );
        producer
    };
    whole("first", 0).commit().expect("commit");
    whole("second", 100).abort().expect("abort");
    let open = whole("third", 200);
    load::write(&source.bootstrap, "k_tx", 3, 3);
    load::level(&source.bootstrap, &site.kafka, "k_tx", 1, || {
        site.status_text("from-k")
    });
    source.kill();
    drop(open);

    let committed = Consuming::assigned(&site.kafka, "k_tx", 0, Start::Beginning).read_committed();
    let mut consumers: Vec<Box<dyn Consumer>> = vec![
        java::client().consumer(&committed).expect("a consumer"),
        librdkafka::client()
            .consumer(&committed)
            .expect("a consumer"),
    ];
    for consumer in &mut consumers {
        assert_eq!(values(&consumer.read(3, PATIENCE)), numbers(0..3));
        assert!(
            consumer.read_for(Duration::from_millis(700)).is_empty(),
            "the open transaction holds up what is behind it"
        );
    }
    let told = site.failover("from-k", &["k_tx"]).expect("failover");
    assert!(
        told.contains("transaction"),
        "the report names what is open: {told}"
    );
    load::write(&site.kafka, "k_tx", 6, 3);
    for consumer in &mut consumers {
        assert_eq!(
            values(&consumer.read(6, PATIENCE)),
            numbers(3..9),
            "nothing of the open or the aborted one, and nothing is stuck"
        );
    }
}

/// A producer of b that is older than the failover: each of its acks on the topic taken over is a
/// new offset. Also one whose sequences stand where those of a's producers stood.
#[test]
fn story_failover_old_producers_get_new_offsets() {
    if !have(&[Tool::Java]) {
        return;
    }
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.create("b_own", 1);
    let clients: [&dyn Client; 2] = [java::client(), librdkafka::client()];
    let mut old: Vec<Box<dyn Producer>> = clients
        .iter()
        .map(|client| {
            client
                .producer(&Producing::new(&pair.b.kafka))
                .expect("a producer")
        })
        .collect();
    let batch = |topic: &str, from: usize| {
        (from..from + 10)
            .map(|n| Record::to(topic, 0, n.to_string()))
            .collect::<Vec<_>>()
    };
    for (nth, producer) in old.iter_mut().enumerate() {
        producer.send_all(&batch("b_own", 100 * nth));
    }
    for client in clients {
        let mut producer = client
            .producer(&Producing::new(&pair.a.kafka))
            .expect("a producer");
        for round in 0..3 {
            producer.send_all(&batch("a_orders", 10 * round));
        }
    }
    pair.level("a_orders", 1);
    pair.a.kill();
    pair.b.failover("from-a", &["a_orders"]).expect("failover");
    let mut end = load::end_of(&pair.b.kafka, "a_orders", 0);
    assert_eq!(end, 60);
    for round in 0..3 {
        for producer in &mut old {
            let offsets: Vec<i64> = producer
                .send_all(&batch("a_orders", 1_000 + 10 * round))
                .iter()
                .map(|ack| ack.offset)
                .collect();
            assert_eq!(
                offsets,
                (end..end + 10).collect::<Vec<_>>(),
                "every ack is a new offset"
            );
            end += 10;
        }
    }
    assert_eq!(
        load::read_topic(&pair.b.kafka, "a_orders", 1).len() as i64,
        end
    );
}

/// Restarts a three times without a write between: its epochs move, its data does not.
fn restart_thrice(pair: &mut Pair) {
    for _ in 0..3 {
        pair.a.restart();
    }
}

/// Waits until a group's commit on a is known on b.
fn commit_synced(pair: &Pair, group: &str, topic: &str, offset: i64) {
    let mut asks = librdkafka::client()
        .consumer(&Consuming::member(&pair.b.kafka, group, &[]))
        .expect("a consumer");
    until(&format!("{group} at {offset} on b"), PATIENCE, || {
        let there = asks
            .committed(topic, 0)
            .map_err(|failure| failure.to_string())?;
        holds(there == Some(offset), || format!("{there:?}"))
    });
}

/// A consumer that is started again on b, with its commits synced: exactly there, before and after
/// the failover.
fn moves_restarted(client: &dyn Client) {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    restart_thrice(&mut pair);
    let member = |bootstrap: &str| Consuming::member(bootstrap, "a_readers", &["a_orders"]);
    let mut consumer = client.consumer(&member(&pair.a.kafka)).expect("a consumer");
    assert_eq!(values(&consumer.read(20, PATIENCE)), numbers(0..20));
    consumer.commit().expect("commit");
    drop(consumer);
    pair.write("a_orders", 20, 10);
    pair.level("a_orders", 1);
    commit_synced(&pair, "a_readers", "a_orders", 20);
    pair.a.kill();

    let mut consumer = client.consumer(&member(&pair.b.kafka)).expect("a consumer");
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(20..30),
        "exactly behind its commit"
    );
    consumer.commit().expect("commit on a shadow");
    pair.b.failover("from-a", &["a_orders"]).expect("failover");
    load::write(&pair.b.kafka, "a_orders", 30, 10);
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(30..40),
        "the failover went by unseen"
    );
    consumer.commit().expect("commit");
    drop(consumer);
    load::write(&pair.b.kafka, "a_orders", 40, 10);
    let mut consumer = client.consumer(&member(&pair.b.kafka)).expect("a consumer");
    assert_eq!(values(&consumer.read(10, PATIENCE)), numbers(40..50));
}

/// The shadow's site is restarted while the source is dead: the positions that were synced are its
/// own, and the report says that it knows no newer ones.
#[test]
fn story_failover_after_a_restart_groups_go_on_from_what_was_synced() {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    let member = |bootstrap: &str| Consuming::member(bootstrap, "a_readers", &["a_orders"]);
    let client = librdkafka::client();
    let mut consumer = client.consumer(&member(&pair.a.kafka)).expect("a consumer");
    consumer.read(20, PATIENCE);
    consumer.commit().expect("commit");
    drop(consumer);
    pair.write("a_orders", 20, 10);
    pair.level("a_orders", 1);
    commit_synced(&pair, "a_readers", "a_orders", 20);
    let report = |pair: &Pair| {
        let asked = [
            "link",
            "failover",
            "from-a",
            "--all",
            "--dry-run",
            "--admin",
            &pair.b.admin,
        ];
        pair.b.gnomon(&asked).expect("--dry-run")
    };
    let known = report(&pair);
    assert!(
        known.contains("groups: none behind its position at the source, as read"),
        "{known}"
    );
    pair.a.kill();
    pair.b.crash();
    let unknown = report(&pair);
    assert!(
        unknown.contains("were not read since this site started"),
        "{unknown}"
    );
    assert_eq!(
        write_refused(&pair.b.kafka, "a_orders"),
        44,
        "a dry run changes nothing"
    );
    pair.b.failover("from-a", &[]).expect("failover");
    let mut consumer = client.consumer(&member(&pair.b.kafka)).expect("a consumer");
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(20..30),
        "exactly behind its commit"
    );
}

/// Behind: what it had not committed comes again, from the last commit that was synced.
fn moves_behind(client: &dyn Client) {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    let member = |bootstrap: &str| Consuming::member(bootstrap, "a_readers", &["a_orders"]);
    let mut consumer = client.consumer(&member(&pair.a.kafka)).expect("a consumer");
    consumer.read(20, PATIENCE);
    consumer.commit().expect("commit");
    pair.level("a_orders", 1);
    commit_synced(&pair, "a_readers", "a_orders", 20);
    pair.write("a_orders", 20, 10);
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(20..30),
        "read, and not committed"
    );
    pair.level("a_orders", 1);
    pair.a.kill();
    pair.b.failover("from-a", &["a_orders"]).expect("failover");
    let mut moved = client.consumer(&member(&pair.b.kafka)).expect("a consumer");
    assert_eq!(
        values(&moved.read(10, PATIENCE)),
        numbers(20..30),
        "again from the last synced commit"
    );
}

/// The same client, its address now leading to b: neither a record left out nor one twice; b
/// restarts in between, and it moves back.
fn moves_as_the_same_client(client: &dyn Client) {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    restart_thrice(&mut pair);
    pair.write("a_orders", 0, 10);
    let how = Consuming::assigned(&pair.a.kafka, "a_orders", 0, Start::Beginning).reset("none");
    let mut consumer = client.consumer(&how).expect("a consumer");
    assert_eq!(values(&consumer.read(10, PATIENCE)), numbers(0..10));
    pair.write("a_orders", 10, 10);
    pair.level("a_orders", 1);
    pair.a.kill();

    let proxy = Proxy::start(&pair.a.kafka, &pair.b.kafka);
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(10..20),
        "goes on on b"
    );
    pair.b.restart();
    drop(proxy);
    // Back to a, which wrote more under an epoch of its own.
    until("a on its old address", PATIENCE, || {
        std::net::TcpListener::bind(&pair.a.kafka)
            .map(drop)
            .map_err(|error| error.to_string())
    });
    pair.a.start();
    pair.write("a_orders", 20, 10);
    pair.level("a_orders", 1);
    pair.b.kill();
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(20..30),
        "and back on a"
    );
    pair.b.start();
    pair.level("a_orders", 1);

    // And over to b for good: the failover under way of the same client.
    pair.a.kill();
    let _proxy = Proxy::start(&pair.a.kafka, &pair.b.kafka);
    pair.b.failover("from-a", &["a_orders"]).expect("failover");
    load::write(&pair.b.kafka, "a_orders", 30, 10);
    assert_eq!(
        values(&consumer.read(10, PATIENCE)),
        numbers(30..40),
        "and on b, which is the owner now"
    );
}

/// When a consumer that was ahead first comes to b.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// Before the failover: it waits.
    TheShadow,
    /// When b has written past its position: only the epochs tell that what it read is gone.
    TheNewOwner,
}

/// Ahead of what b has: it read on a what never came to b. While b waits for its source it waits
/// too; after the failover its position is truncation, and it goes on at the cut. `Err` says what
/// went wrong.
fn moves_ahead(client: &dyn Client, meets: Meets, failpoints: &str) -> Result<(), String> {
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    pair.level("a_orders", 1);
    pair.b.stop();
    // Another epoch at a, of which b never hears.
    pair.a.restart();
    pair.write("a_orders", 20, 10);
    let truncating = client.name() == "java";
    // Java goes to the point of truncation by itself when it has a reset policy; librdkafka tells,
    // and is told where to go on.
    let how = Consuming::assigned(&pair.a.kafka, "a_orders", 0, Start::Beginning)
        .reset(if truncating { "earliest" } else { "none" });
    let mut consumer = client.consumer(&how).expect("a consumer");
    assert_eq!(values(&consumer.read(30, PATIENCE)), numbers(0..30));
    pair.a.kill();
    pair.b.start_with(failpoints);
    let ours: Vec<String> = numbers(100..150);
    let take_over = || {
        pair.b.failover("from-a", &["a_orders"]).expect("failover");
        load::write(&pair.b.kafka, "a_orders", 100, 50);
    };
    let proxy = || Proxy::start(&pair.a.kafka, &pair.b.kafka);
    let _proxy = match meets {
        Meets::TheShadow => {
            let proxy = proxy();
            match quiet(consumer.as_mut(), Duration::from_secs(3)) {
                Ok(seen) if seen.is_empty() => {}
                other => {
                    return Err(format!(
                        "ahead of a shadow whose source is dead it was to wait: {other:?}"
                    ));
                }
            }
            take_over();
            proxy
        }
        Meets::TheNewOwner => {
            take_over();
            proxy()
        }
    };
    let mut seen = Vec::new();
    let start = std::time::Instant::now();
    while seen.len() < ours.len() && start.elapsed() < PATIENCE / 2 {
        match consumer.poll(Duration::from_millis(200)) {
            Ok(records) => seen.extend(values(&records)),
            Err(failure) if truncating => return Err(format!("{failure}")),
            Err(told) => {
                eprintln!("{}: {told}", client.name());
                consumer
                    .seek("a_orders", 0, Start::At(20))
                    .map_err(|failure| format!("seek to the cut: {failure}"))?;
            }
        }
    }
    if seen == ours {
        Ok(())
    } else {
        Err(format!(
            "{} of b's 50 records, from {:?}",
            seen.len(),
            seen.first()
        ))
    }
}

fn quiet(consumer: &mut dyn Consumer, wait: Duration) -> Result<Vec<Seen>, String> {
    let start = std::time::Instant::now();
    let mut all = Vec::new();
    while start.elapsed() < wait {
        all.extend(
            consumer
                .poll(Duration::from_millis(100))
                .map_err(|failure| failure.to_string())?,
        );
    }
    Ok(all)
}

#[test]
fn story_failover_java_moves() {
    if have(&[Tool::Java]) {
        moves_restarted(java::client());
    }
}

#[test]
fn story_failover_librdkafka_moves() {
    moves_restarted(librdkafka::client());
}

#[test]
fn story_failover_java_moves_behind() {
    if have(&[Tool::Java]) {
        moves_behind(java::client());
    }
}

#[test]
fn story_failover_librdkafka_moves_behind() {
    moves_behind(librdkafka::client());
}

#[test]
fn story_failover_java_is_led_to_b() {
    if have(&[Tool::Java]) {
        moves_as_the_same_client(java::client());
    }
}

#[test]
fn story_failover_librdkafka_is_led_to_b() {
    moves_as_the_same_client(librdkafka::client());
}

#[test]
fn story_failover_java_ahead_of_the_cut() {
    if have(&[Tool::Java]) {
        moves_ahead(java::client(), Meets::TheShadow, "")
            .expect("it waits, then the cut, as truncation");
        moves_ahead(java::client(), Meets::TheNewOwner, "").expect("the cut, as truncation");
    }
}

#[test]
fn story_failover_librdkafka_ahead_of_the_cut() {
    moves_ahead(librdkafka::client(), Meets::TheShadow, "")
        .expect("it waits, then the cut, as truncation");
    moves_ahead(librdkafka::client(), Meets::TheNewOwner, "").expect("the cut, as truncation");
}

/// The answers about a position that never came here, one by one: "not here yet" while the source
/// is dead, the cut after the failover.
#[test]
fn story_failover_positions_over_the_wire() {
    const OFFSET_NOT_AVAILABLE: i16 = 78;
    let mut pair = Pair::start();
    pair.create("a_orders", 1);
    pair.write("a_orders", 0, 20);
    restart_thrice(&mut pair);
    pair.write("a_orders", 20, 1);
    pair.level("a_orders", 1);
    let epoch = |site: &Site| wire::metadata(&site.kafka, "a_orders").expect("metadata").1[0];
    let copied = epoch(&pair.a);
    assert!(copied >= 3, "each start raises the epoch: {copied}");
    assert!(
        epoch(&pair.b) >= copied,
        "a shadow's epoch is never below its source's: {} and {copied}",
        epoch(&pair.b)
    );
    let before = epoch(&pair.b);
    pair.b.restart();
    assert_eq!(
        epoch(&pair.b),
        before,
        "a shadow's epoch follows its source alone"
    );
    pair.b.stop();
    pair.a.restart();
    pair.write("a_orders", 21, 10);
    let unseen = epoch(&pair.a);
    assert!(unseen > copied);
    pair.a.kill();
    pair.b.start();

    // Level with it: empty. Beyond it, in range of what it cannot know: not here yet.
    let fetched = wire::fetch(&pair.b.kafka, "a_orders", 0, 21, (-1, copied));
    assert_eq!(
        (fetched.error, fetched.records.len(), fetched.high_watermark),
        (0, 0, 21)
    );
    assert_eq!(
        wire::fetch(&pair.b.kafka, "a_orders", 0, 25, (-1, unseen)).error,
        OFFSET_NOT_AVAILABLE
    );
    assert_eq!(
        wire::epoch_end(&pair.b.kafka, "a_orders", 0, unseen).0,
        OFFSET_NOT_AVAILABLE
    );
    // Where the newest copied epoch ends at the source nobody can tell: an end that throws no
    // consumer back.
    assert_eq!(
        wire::epoch_end(&pair.b.kafka, "a_orders", 0, copied),
        (0, copied, i64::MAX)
    );

    pair.b.failover("from-a", &["a_orders"]).expect("failover");
    let taken = epoch(&pair.b);
    assert_eq!(
        taken, EPOCH_STRIDE,
        "the next multiple above every epoch seen"
    );
    load::write(&pair.b.kafka, "a_orders", 100, 50);
    let fetched = wire::fetch(&pair.b.kafka, "a_orders", 0, 25, (taken, unseen));
    assert_eq!(
        (fetched.error, fetched.diverging.1, fetched.records.len()),
        (0, 21, 0),
        "truncation, at the cut"
    );
    let (error, found, end) = wire::epoch_end(&pair.b.kafka, "a_orders", 0, unseen);
    assert!(
        error == 0 && found <= copied && end == 21,
        "{error} {found} {end}"
    );
    // The old epoch of a request is fenced, the new one is served.
    assert_eq!(
        wire::fetch(&pair.b.kafka, "a_orders", 0, 21, (copied, -1)).error,
        74
    );
    assert_eq!(
        wire::fetch(&pair.b.kafka, "a_orders", 0, 21, (taken, -1)).error,
        0
    );
}

/// The planted fault: an epoch that the old owner's next election meets. A consumer that read there
/// is not told of the truncation, and skips what b wrote in its place.
#[test]
fn story_failover_planted_epoch_is_found() {
    let skipped = moves_ahead(
        librdkafka::client(),
        Meets::TheNewOwner,
        "failover_epoch_plus_one=return",
    )
    .expect_err("the planted epoch must be found");
    assert!(
        skipped.contains("of b's 50 records"),
        "another fault than the planted one: {skipped}"
    );
}
