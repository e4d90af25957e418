//! How soon a broker works: from exec on a fresh directory (P12), with ten thousand partitions
//! (P14, and what those occupy: P23), and after kill -9 with much data (P22). Polled over the wire
//! by hand: clients wait between their tries.

use super::produce;
use crate::{
    case::{Case, Load, OWN_BROKERS, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Goal, Limit},
    peers::{Durability, Running},
    place,
    settings::Settings,
    stage::Stage,
    stats::median,
    tools::rdkafka,
    usage,
    wire::Wire,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// By then a broker has done the work of its start.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Many partitions come as so many topics: no request is larger than what Apache Kafka takes.
const TOPICS: i32 = 10;

/// The size of a first fetch.
const FETCH_BYTES: i32 = 65_536;

/// P12.
pub fn fresh(settings: &Settings) -> Vec<Case> {
    let starts = settings.length(5, 2);
    vec![Case {
        title: format!("median of {starts}"),
        durability: Durability::PageCache,
        load: None,
        peers: OWN_BROKERS,
        goals: vec![
            Goal::new("P12", Figure::Accept, Limit::Fixed(5.0)),
            Goal::new("P12", Figure::FirstAck, Limit::Fixed(25.0)),
        ],
        rounds: 1,
        seconds: f64::from(starts) * 4.0,
        disk_bytes: 0,
        measure: Box::new(move |stage| measure_fresh(stage, starts)),
    }]
}

/// P14, P23.
pub fn partitions(settings: &Settings) -> Vec<Case> {
    let partitions = settings.length(10_000, 200);
    let goal = |figure, limit| Goal::new("P14", figure, Limit::Fixed(limit)).provisional();
    vec![Case {
        title: format!("{partitions} partitions"),
        durability: Durability::PageCache,
        load: None,
        peers: OWN_BROKERS,
        goals: vec![
            goal(Figure::Create, 500.0),
            goal(Figure::AnonymousEach, 2.0),
            goal(Figure::Restart, 1000.0),
            Goal::new("P23", Figure::DiskEach, Limit::Fixed(8.0)),
        ],
        rounds: 1,
        seconds: settings.length(60.0, 8.0),
        disk_bytes: 1 << 30,
        measure: Box::new(move |stage| measure_partitions(stage, partitions)),
    }]
}

/// P22.
pub fn killed(settings: &Settings) -> Vec<Case> {
    let case = |gigabytes: u64, partitions: i32, ms: f64| {
        let records = (gigabytes * 1_000_000, gigabytes * 2_000);
        let load = produce::load(settings, rdkafka::NAME, "all", records, &["linger.ms=5"]);
        let more = if partitions == 0 {
            String::new()
        } else {
            format!(" and {partitions} partitions")
        };
        let goal = |figure| Goal::new("P22", figure, Limit::Fixed(ms));
        Case {
            title: format!("{:.2} GB{more}", load.bytes() as f64 / 1e9),
            durability: Durability::PageCache,
            peers: OWN_BROKERS,
            goals: vec![goal(Figure::FirstFetch), goal(Figure::FirstAck)],
            rounds: 1,
            seconds: settings.length(4.0 * gigabytes as f64 + 20.0, 8.0),
            disk_bytes: load.bytes() * 11 / 10 + (u64::from(partitions as u32) << 16),
            load: Some(load.clone()),
            measure: Box::new(move |stage| measure_killed(stage, &load, partitions)),
        }
    };
    vec![
        case(10, 0, 500.0),
        case(50, settings.length(10_000, 200), 3000.0),
    ]
}

fn measure_fresh(stage: &Stage<'_>, starts: u32) -> Result<Vec<Sample>, Failure> {
    let (mut accepts, mut acks) = (Vec::new(), Vec::new());
    for start in 0..starts {
        let installed = stage.broker.install(
            &place::folder(stage.folder, &start.to_string())?,
            stage.durability,
        )?;
        let topic = stage.topic();
        let since = Instant::now();
        let mut running = installed.exec()?;
        running.wait_until("it accepts connections", || {
            Wire::connect(&installed.bootstrap)
        })?;
        accepts.push(since.elapsed().as_secs_f64() * 1e3);
        running.wait_until("a record is acknowledged", || {
            let mut wire = Wire::connect(&installed.bootstrap)?;
            wire.create_topics(&[(topic.clone(), 1)])?;
            wire.produce(&topic, 0, b"first")
        })?;
        acks.push(since.elapsed().as_secs_f64() * 1e3);
        running.stop()?;
    }
    let sample = Sample::default()
        .with_some(Figure::Accept, median(accepts))
        .with_some(Figure::FirstAck, median(acks));
    Ok(vec![sample])
}

fn measure_partitions(stage: &Stage<'_>, partitions: i32) -> Result<Vec<Sample>, Failure> {
    let installed = stage.install()?;
    let mut running = installed.start()?;
    thread::sleep(SETTLED_AFTER);
    let (memory, disk) = (
        usage::anonymous_bytes(running.pid()?)?,
        usage::disk_bytes(stage.folder),
    );
    let since = Instant::now();
    let topics = create_many(&mut running, &stage.topic(), partitions)?;
    let created = since.elapsed();
    thread::sleep(SETTLED_AFTER);
    let each = |bytes: f64| bytes / 1024.0 / f64::from(partitions);
    let memory = usage::anonymous_bytes(running.pid()?)? as f64 - memory as f64;
    let disk = usage::disk_bytes(stage.folder) as f64 - disk as f64;
    running.stop()?;
    let since = Instant::now();
    let mut running = installed.exec()?;
    running.wait_until("all partitions have leaders", || {
        all_led(&installed.bootstrap, &topics, partitions)
    })?;
    let last = &topics[topics.len() - 1];
    running.wait_until("a record is acknowledged", || {
        Wire::connect(&installed.bootstrap)?.produce(last, 0, b"first")
    })?;
    let restarted = since.elapsed();
    running.stop()?;
    Ok(vec![Sample::new([
        (Figure::Create, created.as_secs_f64() * 1e3),
        (Figure::AnonymousEach, each(memory)),
        (Figure::Restart, restarted.as_secs_f64() * 1e3),
        (Figure::DiskEach, each(disk)),
    ])])
}

/// Creates topics one after another and waits until all their partitions have leaders.
fn create_many(running: &mut Running, name: &str, partitions: i32) -> Result<Vec<String>, Failure> {
    let topics: Vec<String> = (0..TOPICS).map(|topic| format!("{name}-{topic}")).collect();
    let bootstrap = running.bootstrap().to_owned();
    let mut wire = Wire::connect(&bootstrap)?;
    for topic in &topics {
        wire.create_topics(&[(topic.clone(), partitions / TOPICS)])?;
    }
    running.wait_until("all partitions have leaders", || {
        all_led(&bootstrap, &topics, partitions)
    })?;
    Ok(topics)
}

fn all_led(bootstrap: &str, topics: &[String], partitions: i32) -> Result<(), Failure> {
    let mut wire = Wire::connect(bootstrap)?;
    let mut led = 0;
    for topic in topics {
        led += wire.led(topic)?;
    }
    if led == partitions {
        Ok(())
    } else {
        Err(format!("{led} of {partitions} have a leader").into())
    }
}

fn measure_killed(stage: &Stage<'_>, load: &Load, partitions: i32) -> Result<Vec<Sample>, Failure> {
    let (installed, topic) = (stage.install()?, stage.topic());
    let mut running = installed.start()?;
    if partitions > 0 {
        for topic in create_many(&mut running, &stage.topic(), partitions)? {
            running.write_to_each(&topic, partitions / TOPICS)?;
        }
    }
    running.create_topic(&topic, load.partitions)?;
    let lost = produce::lost(load, &produce::fill(stage, &running, &topic, load)?);
    running.kill();
    let since = Instant::now();
    let mut running = installed.exec()?;
    let (mut fetched, mut acknowledged) = (None, None);
    running.wait_until("it fetches and acknowledges", || {
        let mut wire = Wire::connect(&installed.bootstrap)?;
        if fetched.is_none() {
            match wire.fetch(&topic, 0, 0, FETCH_BYTES)? {
                0 => return Err(format!("{topic} has no records").into()),
                _ => fetched = Some(since.elapsed()),
            }
        }
        if acknowledged.is_none() {
            wire.produce(&topic, 0, b"again")?;
            acknowledged = Some(since.elapsed());
        }
        Ok(())
    })?;
    running.stop()?;
    let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    let sample = Sample::default()
        .with_some(Figure::FirstFetch, ms(fetched))
        .with_some(Figure::FirstAck, ms(acknowledged));
    Ok(vec![sample.with_errors(lost, None)])
}
