//! The harness against Apache Kafka: what tells of Gnomon's kills, moves and groups must tell the
//! truth of a broker that is known.

#[path = "wire/mod.rs"]
mod wire;

use proto_tests::client::{Client, Consuming, Producing, Record, Start};
use proto_tests::history::{Fate, History, Sent};
use proto_tests::kafka::Kafka;
use proto_tests::load::{self, Load, Writing};
use proto_tests::proxy::Proxy;
use proto_tests::toolchain::{Tool, have};
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{broker, checker, java, librdkafka, place};
use std::sync::Arc;
use std::time::Duration;

/// A kill -9 leaves the page cache: Apache Kafka keeps what it acknowledged, and the checker
/// agrees.
#[test]
fn harness_sees_apache_kafka_keep_its_promise_through_kills() {
    if !have(&[Tool::Java]) {
        return;
    }
    let mut kafka = Kafka::start();
    load::create(&kafka.bootstrap, "kept", 3);
    let history = Arc::new(History::new());
    let writing = Writing {
        producer: "writes".into(),
        bootstrap: kafka.bootstrap.clone(),
        topic: "kept".into(),
        partitions: 3,
        burst: 30,
        pause: Duration::from_millis(5),
    };
    let load = Load::start(&history, writing);
    let goes_on = |round: usize| {
        until("the load goes on", 2 * PATIENCE, || {
            holds(history.acked() > 300 * round, || {
                format!("{} acknowledged", history.acked())
            })
        });
    };
    for round in 1..=2 {
        goes_on(round);
        kafka.kill();
        kafka.restart();
    }
    goes_on(3);
    load.stop();
    let log = load::read_topic(&kafka.bootstrap, "kept", 3);
    checker::assert_kept(&history, &log);

    // The same log with one more promise than was kept: found.
    let sent = Sent {
        producer: "liar".into(),
        topic: "kept".into(),
        partition: 0,
        sequence: 0,
        key: None,
        value: "never sent".into(),
    };
    let ticket = history.sending(sent);
    history.fate(
        ticket,
        Fate::Acked(load::end_of(&kafka.bootstrap, "kept", 0)),
    );
    assert!(matches!(
        checker::check(&history, &log)[..],
        [checker::Fault::Lost { .. }]
    ));
}

/// The bytes that the raw reader takes off the wire are whole batches with good checksums and every
/// record in them.
#[test]
fn harness_reads_batches_byte_by_byte() {
    if !have(&[Tool::Java]) {
        return;
    }
    let bootstrap = broker::bootstrap();
    load::create(&bootstrap, "raw", 1);
    for codec in proto_tests::client::CODECS {
        let mut producer = librdkafka::client()
            .producer(&Producing::new(&bootstrap).codec(codec))
            .expect("a producer");
        producer.send_all(
            &(0..50)
                .map(|n| Record::to("raw", 0, format!("{n}")))
                .collect::<Vec<_>>(),
        );
    }
    let batches = wire::batches(&bootstrap, "raw", 0);
    let mut next = 0;
    for batch in &batches {
        assert_eq!(i64::from_be_bytes(batch[..8].try_into().unwrap()), next);
        assert_eq!(
            u32::from_be_bytes(batch[17..21].try_into().unwrap()),
            wire::crc32c(&batch[21..]),
            "CRC-32C"
        );
        next += i64::from(i32::from_be_bytes(batch[23..27].try_into().unwrap())) + 1;
    }
    assert_eq!(
        (next, load::read_topic(&bootstrap, "raw", 1).len()),
        (250, 250)
    );
    // What it asks about epochs and positions is answered as the protocol says.
    let (_, epochs) = wire::metadata(&bootstrap, "raw").expect("metadata");
    assert_eq!(
        wire::epoch_end(&bootstrap, "raw", 0, epochs[0]),
        (0, epochs[0], 250)
    );
    let fetched = wire::fetch(&bootstrap, "raw", 0, 250, (epochs[0], epochs[0]));
    assert_eq!(
        (
            fetched.error,
            fetched.high_watermark,
            fetched.records.len(),
            fetched.diverging
        ),
        (0, 250, 0, (-1, -1))
    );
    assert_eq!(
        wire::fetch(&bootstrap, "raw", 0, 251, (-1, -1)).error,
        1,
        "OFFSET_OUT_OF_RANGE"
    );
    assert_eq!(
        wire::fetch(&bootstrap, "raw", 0, 0, (epochs[0] + 1, -1)).error,
        75,
        "UNKNOWN_LEADER_EPOCH"
    );
}

/// A commit by nobody's member is what a member then starts from.
#[test]
fn harness_commits_for_a_group() {
    if !have(&[Tool::Java]) {
        return;
    }
    let bootstrap = broker::bootstrap();
    load::create(&bootstrap, "committed", 1);
    load::write(&bootstrap, "committed", 0, 20);
    let mut acknowledged = false;
    librdkafka::commit(&bootstrap, "harness", ("committed", 0, 15), || {
        acknowledged = true
    })
    .expect("commit");
    assert!(acknowledged);
    let clients: [&dyn Client; 2] = [librdkafka::client(), java::client()];
    for client in clients {
        let mut member = client
            .consumer(&Consuming::member(&bootstrap, "harness", &["committed"]))
            .expect("a consumer");
        assert_eq!(member.read(5, PATIENCE)[0].offset, 15);
    }
}

/// A consumer whose address leads elsewhere follows, and is cut off when it is told to be.
#[test]
fn harness_leads_a_client_through_a_proxy() {
    if !have(&[Tool::Java]) {
        return;
    }
    let bootstrap = broker::bootstrap();
    load::create(&bootstrap, "led", 1);
    load::write(&bootstrap, "led", 0, 5);
    let address = format!("{}:9092", place::address());
    let proxy = Proxy::start(&address, &bootstrap);
    let mut consumer = librdkafka::client()
        .consumer(&Consuming::assigned(&address, "led", 0, Start::Beginning))
        .expect("a consumer");
    assert_eq!(consumer.read(5, PATIENCE).len(), 5);
    proxy.lead_to(None);
    assert!(std::net::TcpStream::connect(&address).is_ok_and(|socket| {
        use std::io::Read;
        matches!((&socket).read(&mut [0; 1]), Ok(0) | Err(_))
    }));
    proxy.lead_to(Some(&bootstrap));
    assert_eq!(load::end_of(&address, "led", 0), 5);
}
