//! Frames that no client sends: the process lives, its memory stays, and it goes on serving those
//! who behave.
//!
//! The frames are sent through many short connections at once; each is followed by an honest
//! question on the same connection, so that what was read and answered is told from what ended the
//! connection. A failing run prints its seed; `HOSTILE_SEED` repeats it, `HOSTILE_FRAMES` asks for
//! more.
#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

mod frames;
#[path = "../wire/mod.rs"]
mod wire;
mod worst;

use frames::{APIS, Random, mutate, mutate_batch, nonsense, raw, request, versions};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestKind, ResponseKind};
use proto_tests::client::{Client, Producer, Producing, Record};
use proto_tests::site::Site;
use proto_tests::{broker, librdkafka, load};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wire::Wire;

/// Frames of one run in CI.
const FRAMES: u64 = 200_000;
/// Mutated frames of each key and version that changes state by being served: what they leave
/// behind is not growth by hostility.
const MUTATED_MIN: u64 = 120;
/// The growth that hostile frames may cost.
const GROWTH_KIB: u64 = 16 << 10;
const THREADS: u64 = 8;
/// The same under `GNOMON_FAULTS=full`.
const FRAMES_FULL: u64 = 10_000_000;
/// For `FRAMES`; a machine that two cores of many share is slow.
const PATIENCE: Duration = Duration::from_secs(240);
const TOPIC: &str = "hostile";

fn topic_on(address: &str) -> [u8; 16] {
    match librdkafka::client().create_topic(address, TOPIC, 1, &Default::default()) {
        Ok(()) => {}
        // Another test of this process was first.
        Err(failure) => assert_eq!(failure.code, 36, "create: {failure}"),
    }
    produce_one(address, TOPIC);
    wire::metadata(address, TOPIC)
        .expect("the topic is there")
        .0
}

fn produce_one(address: &str, topic: &str) {
    let mut producer: Box<dyn Producer> = librdkafka::client()
        .producer(&Producing::new(address))
        .expect("a producer");
    producer.send_all(&[Record::to(topic, 0, "honest")]);
}

/// The start of every mutation is right: each frame of the table is answered, by the version it
/// asked in, to the last byte.
#[test]
fn hostile_frames_are_valid_before_they_are_spoilt() {
    let address = broker::bootstrap();
    let id = topic_on(&address);
    let mut wrong = Vec::new();
    for (key, version) in versions() {
        if let Err(error) =
            Wire::connect(&address).call(key, version, &request(key, version, TOPIC, id))
        {
            wrong.push(error);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        versions().len(),
        wrong.join("\n")
    );
}

/// Exactly the table: no version more or less than Kafka 4.1 answers, Produce and JoinGroup from 0
/// for old librdkafka.
#[test]
fn hostile_versions_are_advertised() {
    let address = broker::bootstrap();
    let ask = RequestKind::ApiVersions(ApiVersionsRequest::default());
    let Ok(ResponseKind::ApiVersions(answer)) =
        Wire::connect(&address).call(ApiKey::ApiVersions, 0, &ask)
    else {
        panic!("no api versions")
    };
    for (key, versions) in APIS {
        let found = answer
            .api_keys
            .iter()
            .find(|api| api.api_key == *key as i16)
            .unwrap_or_else(|| panic!("{key:?} is not advertised"));
        let first = if *key == ApiKey::Produce {
            0
        } else {
            *versions.start()
        };
        assert_eq!(found.min_version, first, "{key:?}");
        if broker::is_kafka() {
            assert!(found.max_version >= *versions.end(), "{key:?}");
        } else {
            assert_eq!(found.max_version, *versions.end(), "{key:?}");
        }
    }
}

/// A version from the future is answered in version 0 with error 35 and the table, so that the
/// client can come down.
#[test]
fn hostile_api_versions_from_the_future() {
    let address = broker::bootstrap();
    let mut wire = Wire::connect(&address);
    wire.0
        .write_all(&raw(ApiKey::ApiVersions, 99, &[1, 1, 0]))
        .expect("write");
    let body = wire::read_frame(&mut wire.0).expect("an answer");
    let (correlation, answer) = wire::decode(ApiKey::ApiVersions, 0, body).expect("version 0");
    let ResponseKind::ApiVersions(answer) = answer else {
        panic!("not api versions")
    };
    assert_eq!((correlation, answer.error_code), (7, 35));
    assert!(
        answer
            .api_keys
            .iter()
            .any(|api| api.api_key == ApiKey::ApiVersions as i16)
    );
}

/// Requests sent without waiting are answered in their order.
#[test]
fn hostile_pipelining_keeps_the_order() {
    let address = broker::bootstrap();
    let mut wire = Wire::connect(&address);
    let mut burst = Vec::new();
    for correlation in 0..500 {
        let (key, version) = if correlation % 3 == 0 {
            (ApiKey::Metadata, 1)
        } else {
            (ApiKey::ApiVersions, 0)
        };
        burst.extend_from_slice(&wire::frame(
            key,
            version,
            correlation,
            &request(key, version, "nothing-here", [0; 16]),
        ));
    }
    let mut writer = wire.0.try_clone().expect("a socket");
    let written = std::thread::spawn(move || writer.write_all(&burst));
    for correlation in 0..500 {
        let body = wire::read_frame(&mut wire.0).expect("an answer");
        assert_eq!(
            i32::from_be_bytes(body[..4].try_into().expect("four bytes")),
            correlation
        );
    }
    written.join().expect("the writer").expect("written");
}

/// How a hostile frame was met.
#[derive(Default)]
struct Met {
    sent: AtomicU64,
    answered: AtomicU64,
    closed: AtomicU64,
    silent: AtomicU64,
}

/// One hostile frame with an honest question after it. `None`: the connection is no longer good.
fn send(
    mut socket: TcpStream,
    frame: &[u8],
    met: &Met,
    slow: &mut VecDeque<(Instant, TcpStream)>,
) -> Option<TcpStream> {
    met.sent.fetch_add(1, Ordering::Relaxed);
    let marker = 0x600D_F00D_u32.to_be_bytes();
    let mut both = frame.to_vec();
    // ApiVersions 0 with a correlation id that stands out.
    both.extend_from_slice(&[0, 0, 0, 10, 0, 18, 0, 0]);
    both.extend_from_slice(&marker);
    both.extend_from_slice(&[0xFF, 0xFF]);
    if socket.write_all(&both).is_err() {
        met.closed.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    loop {
        match wire::read_frame(&mut socket) {
            Ok(body) if body.starts_with(&marker) => {
                met.answered.fetch_add(1, Ordering::Relaxed);
                return Some(socket);
            }
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                // It waits for more bytes, or for time to pass. It keeps its connection for a
                // while, as a slow sender would.
                met.silent.fetch_add(1, Ordering::Relaxed);
                let _ = socket.shutdown(Shutdown::Write);
                slow.push_back((Instant::now(), socket));
                while slow.front().is_some_and(|(since, _)| {
                    slow.len() > 64 || since.elapsed() > Duration::from_secs(1)
                }) {
                    slow.pop_front();
                }
                return None;
            }
            Err(_) => {
                met.closed.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
    }
}

fn connect(address: &str) -> TcpStream {
    let mut tries = 0;
    loop {
        match TcpStream::connect(address) {
            Ok(socket) => {
                socket.set_nodelay(true).expect("an option");
                socket
                    .set_read_timeout(Some(Duration::from_millis(20)))
                    .expect("an option");
                return socket;
            }
            // Ports of closed connections come back by and by; a process that has ended refuses for
            // ever.
            Err(error) => {
                tries += 1;
                assert!(tries < 200, "connect {address}: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The `nth` frame of a thread: first every key and version in turn, `MUTATED_MIN` times over all
/// threads, then whatever the seed says.
fn hostile_frame(
    nth: u64,
    id: [u8; 16],
    valid: &[(ApiKey, i16, Vec<u8>)],
    random: &mut Random,
) -> Vec<u8> {
    let in_turn = MUTATED_MIN.div_ceil(THREADS) * valid.len() as u64;
    if nth < in_turn {
        return mutate(&valid[nth as usize % valid.len()].2, random);
    }
    match random.below(10) {
        0..=3 => {
            // What only reads can be asked without end.
            let reading: Vec<&(ApiKey, i16, Vec<u8>)> = valid
                .iter()
                .filter(|(key, ..)| {
                    matches!(
                        key,
                        ApiKey::Fetch
                            | ApiKey::ListOffsets
                            | ApiKey::OffsetFetch
                            | ApiKey::ApiVersions
                            | ApiKey::DescribeGroups
                            | ApiKey::DescribeCluster
                    ) || matches!(
                        key,
                        ApiKey::OffsetForLeaderEpoch
                            | ApiKey::Heartbeat
                            | ApiKey::ListGroups
                            | ApiKey::FindCoordinator
                    )
                })
                .collect();
            mutate(&reading[random.below(reading.len())].2, random)
        }
        4 => mutate_batch(3 + random.below(11) as i16, TOPIC, id, random),
        5 => {
            // Valid, and cut off: the rest never comes.
            let whole = &valid[random.below(valid.len())].2;
            whole[..random.below(whole.len())].to_vec()
        }
        _ => nonsense(random),
    }
}

#[test]
fn hostile_frames_do_not_end_it() {
    let seed = std::env::var("HOSTILE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    let usual = if std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full") {
        FRAMES_FULL
    } else {
        FRAMES
    };
    let count: u64 = std::env::var("HOSTILE_FRAMES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(usual);
    let patience = PATIENCE
        * u32::try_from(count.div_ceil(FRAMES)).expect("a number of frames that can be sent");
    eprintln!("HOSTILE_SEED={seed} HOSTILE_FRAMES={count}");
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "hostile", 5);
    if broker::is_kafka() {
        // The frames reach a broker and are read: that much can be seen there.
        site.kafka = broker::bootstrap();
    } else {
        site.start();
    }
    let id = topic_on(&site.kafka);
    let valid: Vec<(ApiKey, i16, Vec<u8>)> = versions()
        .into_iter()
        .map(|(key, version)| {
            (
                key,
                version,
                wire::frame(key, version, 7, &request(key, version, TOPIC, id)).to_vec(),
            )
        })
        .collect();

    let address = site.kafka.clone();
    let run = |threads: u64, each: u64, seed: u64| {
        let met = Met::default();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (met, valid, address) = (&met, &valid, &address);
                scope.spawn(move || {
                    let mut random = Random(seed.wrapping_mul(1_000).wrapping_add(thread));
                    let (mut socket, mut slow) = (None, VecDeque::new());
                    for nth in 0..each {
                        let frame = hostile_frame(nth, id, valid, &mut random);
                        let open = socket.take().unwrap_or_else(|| connect(address));
                        socket = send(open, &frame, met, &mut slow);
                        assert!(
                            start.elapsed() < patience,
                            "{nth} of {each} frames in {patience:?}"
                        );
                    }
                });
            }
        });
        met
    };
    if broker::is_kafka() {
        let met = run(THREADS, count / 100, seed);
        let (sent, answered) = (met.sent.into_inner(), met.answered.into_inner());
        eprintln!(
            "{sent} frames: {answered} answered, {} closed, {} silent",
            met.closed.into_inner(),
            met.silent.into_inner()
        );
        assert!(answered > sent / 20 && load::end_of(&site.kafka, TOPIC, 0) >= 1);
        return;
    }
    // What the first frames make it hold for good, buffers and tables, is not growth.
    run(2, 2_000, seed + 1);
    let before = site.running().resident_kib();
    let met = run(THREADS, count.div_ceil(THREADS), seed);
    assert!(site.alive(), "the process has ended");
    let after = settled_kib(&mut site, before);
    let (sent, answered) = (met.sent.into_inner(), met.answered.into_inner());
    eprintln!(
        "{sent} frames: {answered} answered, {} closed, {} silent; {before} KiB before, {after} KiB after",
        met.closed.into_inner(),
        met.silent.into_inner()
    );
    assert!(sent >= count);
    assert!(
        answered > sent / 20,
        "the frames were not even read: {answered} of {sent}"
    );
    assert!(
        after <= before + GROWTH_KIB,
        "{before} KiB before, {after} KiB after"
    );

    // It still serves: a new topic, and what was there.
    librdkafka::client()
        .create_topic(&site.kafka, "after", 1, &Default::default())
        .expect("a topic");
    produce_one(&site.kafka, "after");
    assert_eq!(load::read_topic(&site.kafka, "after", 1).len(), 1);
    assert!(load::end_of(&site.kafka, TOPIC, 0) >= 1);
    // And it comes back from what they made it write.
    site.crash();
    assert_eq!(load::read_topic(&site.kafka, "after", 1).len(), 1);
    println!("faults: hostile frames: {sent}");
}

/// Memory once freed pages went back: the allocator gives them ten seconds.
fn settled_kib(site: &mut Site, before: u64) -> u64 {
    let start = Instant::now();
    loop {
        let now = site.running().resident_kib();
        if now <= before + GROWTH_KIB || start.elapsed() > Duration::from_secs(25) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Five bytes that promise two thousand million topics; and the same in every place where a count
/// stands first.
#[test]
fn hostile_counts_do_not_end_it() {
    if broker::is_kafka() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "counts", 6);
    site.start();
    let classic = i32::MAX.to_be_bytes();
    let mut five = classic.to_vec();
    five.push(0);
    let compact = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    for (key, versions) in APIS {
        for version in versions.clone() {
            for body in [&five[..], &classic[..], &compact[..]] {
                let mut wire = Wire::connect(&site.kafka);
                wire.0.write_all(&raw(*key, version, body)).expect("write");
                wire.0.shutdown(Shutdown::Write).expect("shut down");
                let _ = wire.0.read_to_end(&mut Vec::new());
            }
        }
        assert!(site.alive(), "{key:?} has ended it");
    }
    Wire::connect(&site.kafka)
        .call(
            ApiKey::ApiVersions,
            0,
            &RequestKind::ApiVersions(ApiVersionsRequest::default()),
        )
        .expect("it still answers");
}

/// A length is a promise, not memory: hundreds of connections that announce 99 MiB each and send
/// nothing cost nothing.
#[test]
fn hostile_lengths_reserve_nothing() {
    if broker::is_kafka() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "lengths", 7);
    site.start();
    let idle: Vec<TcpStream> = (0..300).map(|_| connect(&site.kafka)).collect();
    std::thread::sleep(Duration::from_millis(300));
    let before = site.running().resident_kib();
    let mut promise = (99_i32 << 20).to_be_bytes().to_vec();
    promise.extend_from_slice(&[0, 3, 0, 1, 0, 0]);
    for mut socket in &idle {
        socket.write_all(&promise).expect("write");
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = settled_kib(&mut site, before);
    assert!(
        after <= before + GROWTH_KIB,
        "{before} KiB before, {after} KiB after"
    );
    // Over the limit, negative, and too short for a header: the connection ends at once, without an
    // answer.
    for length in [i32::MAX, -1, i32::MIN, 0, 3] {
        let mut socket = connect(&site.kafka);
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("an option");
        socket.write_all(&length.to_be_bytes()).expect("write");
        let ended = socket.read(&mut [0; 16]);
        assert!(
            matches!(ended, Ok(0))
                || ended
                    .as_ref()
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset),
            "length {length}: {ended:?}"
        );
    }
    assert!(site.alive());
}

/// One request must not keep other clients waiting, however much it names: for each API the worst
/// request is sent on as many connections as the process has threads.
#[test]
fn hostile_requests_keep_nobody_waiting() {
    if broker::is_kafka() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut site = Site::new(root.path(), "worst", 8);
    site.start();
    let id = topic_on(&site.kafka);
    let requests = worst::requests(TOPIC, id);
    for (key, _) in APIS {
        assert!(
            requests.iter().any(|worst| worst.key == *key),
            "{key:?} has no worst request"
        );
    }
    let connections = std::thread::available_parallelism().map_or(2, usize::from);
    let honest = worst::Honest::new();
    let mut late = Vec::new();
    std::thread::scope(|scope| {
        let _stop = worst::StopAtEnd(&honest);
        scope.spawn(|| honest.ask(&site.kafka, TOPIC, id));
        let mut measure = |story: String, hostile: &dyn Fn()| {
            let begun = Instant::now();
            let waited = honest.waited(hostile);
            eprintln!(
                "{story}: others waited {waited:?} at most, it took {:?}",
                begun.elapsed()
            );
            if waited > worst::SILENCE_MAX {
                late.push(format!("{story}: {waited:?}"));
            }
        };
        for worst in &requests {
            let story = format!("{:?}, {}", worst.key, worst.story);
            measure(story, &|| worst::send(&site.kafka, worst, connections));
        }
        measure(
            "Fetch, a session forgets its partitions".to_owned(),
            &|| worst::forget_many(&site.kafka, TOPIC),
        );
    });
    assert!(
        late.is_empty(),
        "other clients waited for longer than {:?}:\n{}",
        worst::SILENCE_MAX,
        late.join("\n")
    );
    assert!(site.alive());
}
