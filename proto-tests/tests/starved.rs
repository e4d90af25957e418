//! A process that is denied what it needs for a while, file handles or time: it lives, what it
//! cannot do is refused with an error that clients try again, and when it has what it needs it goes
//! on as if nothing had been.

mod wire;

use kafka_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestKind, ResponseKind};
use proto_tests::client::Client;
use proto_tests::history::History;
use proto_tests::load::{Load, Writing};
use proto_tests::pair::Pair;
use proto_tests::site::Site;
use proto_tests::wait::{PATIENCE, holds, until};
use proto_tests::{checker, librdkafka};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use wire::Wire;

const KAFKA_STORAGE_ERROR: i16 = 56;

/// Handles that a site holds back for its logs, and takes back once there are some.
const HELD_BACK: usize = 12;

fn full() -> bool {
    std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full")
}

/// File handles that a process has open.
fn open_handles(site: &mut Site) -> usize {
    let pid = site.running().pid();
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the handles of a child")
        .count()
}

/// Lets a process have as many file handles as it has now and `more`; `None`: as many as this one
/// may have.
fn handles(site: &mut Site, more: Option<u64>) {
    let open = open_handles(site) as u64;
    let limit = more
        .map(|more| open + more)
        .or(getrlimit(Resource::Nofile).maximum);
    let pid = Pid::from_raw(site.running().pid().cast_signed()).expect("a process id");
    // The hard limit stays, or it could not be raised again.
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum,
        },
    )
    .expect("a limit");
}

/// Writes one record with acks=all; the error code.
fn produce(wire: &mut Wire, topic: &str, partition: i32) -> i16 {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(wire::batch((-1, -1, -1)).freeze()));
    let data = TopicProduceData::default()
        .with_name(wire::topic_name(topic))
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![data]);
    let answer = wire
        .call(ApiKey::Produce, 9, &RequestKind::Produce(request))
        .unwrap_or_else(|error| panic!("{topic}-{partition}: {error}"));
    let ResponseKind::Produce(answer) = answer else {
        panic!("not a produce response")
    };
    answer.responses[0].partition_responses[0].error_code
}

/// Asks a question that any broker answers.
fn is_served(socket: &mut TcpStream) -> bool {
    let ask = RequestKind::ApiVersions(ApiVersionsRequest::default());
    socket
        .write_all(&wire::frame(ApiKey::ApiVersions, 0, 7, &ask))
        .is_ok()
        && wire::read_frame(socket).is_ok()
}

/// Connections and partitions need handles. What is open is served; new connections wait until
/// there are handles; logs take turns with the handles that they have, and a partition that cannot
/// be opened all the same answers with an error that clients try again.
#[test]
fn starved_of_file_handles() {
    const PARTITIONS: i32 = 30;
    const MORE: u64 = 8;
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "handles", 14);
    site.start();
    // The records have an old timestamp: retention, which begins a segment, is not what is looked
    // at here.
    let keeps = BTreeMap::from([("retention.ms", "-1")]);
    for (topic, partitions) in [("used", 1), ("fresh", PARTITIONS)] {
        librdkafka::client()
            .create_topic(&site.kafka, topic, partitions, &keeps)
            .unwrap_or_else(|failure| panic!("create {topic}: {failure}"));
    }
    let mut honest = Wire::connect(&site.kafka);
    assert_eq!(produce(&mut honest, "used", 0), 0);
    let rounds = if full() { 50 } else { 3 };
    for round in 0..rounds {
        handles(&mut site, Some(MORE));
        let mut sockets: Vec<TcpStream> = (0..4 * MORE)
            .map(|_| TcpStream::connect(&site.kafka).expect("the kernel takes it"))
            .collect();
        sockets.iter().for_each(|socket| {
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .expect("an option")
        });
        let served = sockets
            .iter_mut()
            .filter_map(|socket| is_served(socket).then_some(()))
            .count();
        assert!(
            served < sockets.len(),
            "round {round}: {served} connections with {MORE} handles"
        );
        // There is none left for a partition's files: they take turns with those of other logs.
        let codes: Vec<i16> = (0..PARTITIONS)
            .map(|partition| produce(&mut honest, "fresh", partition))
            .collect();
        assert!(
            codes
                .iter()
                .all(|code| [0, KAFKA_STORAGE_ERROR].contains(code)),
            "round {round}: {codes:?}"
        );
        assert!(
            codes.contains(&0),
            "round {round}: no partition's files found a place: {codes:?}"
        );
        assert_eq!(
            produce(&mut honest, "used", 0),
            0,
            "round {round}: what is open is written"
        );
        assert!(site.alive(), "round {round}");

        handles(&mut site, None);
        // Those that waited are served now.
        sockets
            .iter()
            .for_each(|socket| socket.set_read_timeout(Some(PATIENCE)).expect("an option"));
        assert!(
            is_served(sockets.last_mut().expect("a socket")),
            "round {round}: a connection that had to wait"
        );
        let (open, connections) = (open_handles(&mut site), sockets.len());
        drop(sockets);
        until("connections are closed", PATIENCE, || {
            let now = open_handles(&mut site);
            holds(now + connections <= open + HELD_BACK, || {
                format!("{now} handles, {open} before")
            })
        });
    }
    // Partitions that were refused their files take writes once there are handles; at the latest
    // after a restart.
    let takes = |site: &Site| {
        let mut wire = Wire::connect(&site.kafka);
        let refused: Vec<i32> = (0..PARTITIONS)
            .filter(|partition| produce(&mut wire, "fresh", *partition) != 0)
            .collect();
        holds(refused.is_empty(), || format!("refused: {refused:?}"))
    };
    if takes(&site).is_err() {
        site.restart();
    }
    until("every partition takes writes", PATIENCE, || takes(&site));
    let data = site.data.display().to_string();
    site.gnomon(&["log", "check", &data])
        .expect("nothing is damaged");
    println!("faults: times without file handles: {rounds}");
}

/// How long the `nth` pause is: short ones mostly, up to a minute in the whole run.
fn pause(nth: u64) -> Duration {
    let share = (nth * 7_919 % 1_000) as f64 / 1_000.0;
    Duration::from_secs_f64(if full() {
        1.0 + 59.0 * share.powi(4)
    } else {
        1.0 + share
    })
}

/// A site stands still and goes on, as a process does whose machine is suspended: nothing is lost
/// or doubled, links are level again.
#[test]
fn starved_of_time_by_pauses() {
    const TOPICS: [&str; 2] = ["a_paused", "b_paused"];
    let pair = &mut Pair::start();
    let history = Arc::new(History::new());
    TOPICS.iter().for_each(|topic| pair.create(topic, 2));
    let writing = |topic: &str, bootstrap: &str| Writing {
        producer: format!("writes-{topic}"),
        bootstrap: bootstrap.into(),
        topic: topic.into(),
        partitions: 2,
        burst: 20,
        pause: Duration::from_millis(20),
    };
    let loads = [
        Load::start(&history, writing("a_paused", &pair.a.kafka)),
        Load::start(&history, writing("b_paused", &pair.b.kafka)),
    ];
    let pauses = if full() { 200 } else { 4 };
    let mut acked = 0;
    for nth in 0..pauses {
        let site = if nth % 2 == 0 {
            &mut pair.a
        } else {
            &mut pair.b
        };
        site.running().signal(Signal::STOP);
        std::thread::sleep(pause(nth));
        site.running().signal(Signal::CONT);
        until("writes go on", PATIENCE, || {
            holds(history.acked() > acked + 100, || {
                format!("{} acknowledged", history.acked() - acked)
            })
        });
        acked = history.acked();
        assert!(pair.a.alive() && pair.b.alive(), "pause {nth}");
    }
    loads.into_iter().for_each(Load::stop);
    let log: Vec<_> = TOPICS
        .iter()
        .flat_map(|topic| pair.assert_same(topic, 2))
        .collect();
    checker::assert_kept(&history, &log);
    librdkafka::client()
        .create_topic(&pair.a.kafka, "a_after", 1, &Default::default())
        .expect("a topic");
    println!("faults: pauses: {pauses}");
}
