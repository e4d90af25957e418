//! Producing: throughput and CPU (P1, P2, P10), batches of one record (P4), and how long an
//! acknowledgement takes that waits for the disk (P3).

use crate::{
    canary::Bird,
    case::{BROKERS, BROKERS_AND_CEILING, Case, Load, OTHERS, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Goal, Limit, Reference},
    peers::{Durability, PeerName, Running},
    settings::Settings,
    stage::Stage,
    tools::{java, rdkafka},
    watch::Watch,
};

/// Milliseconds. The tool's own default of a second would be the tail of every run.
const LINGER: &str = "linger.ms=5";

/// Records of 1 KiB: in a full run, in a quick one.
const RECORDS: (u64, u64) = (2_000_000, 50_000);

/// Memory of a producer's own queue: librdkafka's holds a GiB at most.
const TOOL_BYTES: u64 = 1 << 30;

/// A rate at which one request is in flight at nearly any time, with records enough for a 99th
/// percentile.
const ACK_RATE: u32 = 400;

/// P1, P2, P10.
pub fn throughput(settings: &Settings) -> Vec<Case> {
    let case = |acks: &str, durability, goals| {
        let load = load(settings, rdkafka::NAME, acks, RECORDS, &[LINGER]);
        Case {
            title: format!("acks={acks}"),
            durability,
            peers: BROKERS_AND_CEILING,
            goals,
            rounds: settings.length(3, 1),
            seconds: settings.length(15.0, 4.0),
            disk_bytes: 3 * load.bytes(),
            load: Some(load.clone()),
            measure: Box::new(move |stage| by_rdkafka(stage, &load)),
        }
    };
    vec![
        case("1", Durability::PageCache, vec![p1()]),
        case("all", Durability::PageCache, [vec![p1()], p10()].concat()),
        case("all", Durability::Fsync, p2()),
    ]
}

/// P1, P2 once more by another tool. It cannot be run against the client's ceiling, which lives in
/// librdkafka.
pub fn throughput_java(settings: &Settings) -> Vec<Case> {
    let case = |acks: &str, durability, goals| {
        let load = load(settings, java::PRODUCER, acks, RECORDS, &[LINGER]);
        Case {
            title: format!("acks={acks}"),
            durability,
            peers: BROKERS,
            goals,
            rounds: 1,
            seconds: settings.length(20.0, 6.0),
            disk_bytes: 3 * load.bytes(),
            load: Some(load.clone()),
            measure: Box::new(move |stage| by_java(stage, &load)),
        }
    };
    vec![
        case("1", Durability::PageCache, vec![p1()]),
        case("all", Durability::PageCache, vec![p1()]),
        case("all", Durability::Fsync, p2()),
    ]
}

/// P4.
pub fn one_record_batches(settings: &Settings) -> Vec<Case> {
    let load = load(
        settings,
        rdkafka::NAME,
        "all",
        (300_000, 10_000),
        &["linger.ms=0", "batch.num.messages=1"],
    );
    vec![Case {
        title: String::new(),
        durability: Durability::PageCache,
        peers: BROKERS_AND_CEILING,
        goals: vec![Goal::new("P4", Figure::Rate, Limit::of(0.8, PeerName::Mock)).provisional()],
        rounds: 1,
        seconds: settings.length(15.0, 4.0),
        disk_bytes: 4 * load.bytes(),
        load: Some(load.clone()),
        measure: Box::new(move |stage| by_rdkafka(stage, &load)),
    }]
}

/// P3.
pub fn durable_ack(settings: &Settings) -> Vec<Case> {
    let rate = settings.rates(&[ACK_RATE])[0];
    let seconds = settings.seconds(20, 3);
    let records = (u64::from(seconds * rate), u64::from(seconds * rate));
    let options = ["linger.ms=0", "max.in.flight.requests.per.connection=1"];
    let load = Load {
        rate: Some(rate),
        ..load(settings, rdkafka::NAME, "all", records, &options)
    };
    let limit =
        [Bird::Sync, Bird::RoundTrip].map(|bird| Limit::Times(1.3, Reference::Canary(bird)));
    vec![Case {
        title: "one in flight".to_owned(),
        durability: Durability::Fsync,
        peers: BROKERS,
        goals: vec![Goal::new("P3", Figure::P50, Limit::Sum(limit.to_vec()))],
        rounds: 1,
        seconds: f64::from(seconds) + 6.0,
        disk_bytes: 4 * load.bytes(),
        load: Some(load.clone()),
        measure: Box::new(move |stage| acknowledged(stage, &load)),
    }]
}

fn p1() -> Goal {
    Goal::new(
        "P1",
        Figure::Rate,
        Limit::Easier(vec![
            Limit::of(0.85, PeerName::Mock),
            Limit::Times(1.8, Reference::Best(OTHERS)),
        ]),
    )
}

fn p2() -> Vec<Goal> {
    const OTHERS_THAT_SYNC: &[PeerName] = &[PeerName::Kafka, PeerName::Kfake];
    vec![
        Goal::new("P2", Figure::Rate, Limit::of(0.55, PeerName::Mock)),
        Goal::new(
            "P2",
            Figure::Rate,
            Limit::Times(1.5, Reference::Best(OTHERS_THAT_SYNC)),
        ),
    ]
}

fn p10() -> Vec<Goal> {
    vec![
        Goal::new("P10", Figure::CpuPerGb, Limit::Fixed(0.5)),
        Goal::new("P10", Figure::CpuPerGb, Limit::of(0.4, PeerName::Kafka)),
    ]
}

/// A load of 1 KiB records to 4 partitions; how many, for a trustworthy run and for a quick one.
pub fn load(
    settings: &Settings,
    tool: &'static str,
    acks: &str,
    records: (u64, u64),
    options: &[&str],
) -> Load {
    Load {
        tool,
        records: settings.records(records.0, records.1),
        record_bytes: settings.size(1024),
        partitions: settings.partitions(4),
        rate: None,
        acks: acks.to_owned(),
        codec: settings.codec(),
        options: settings.options(options),
    }
}

/// Fills a topic with a load; what the tool said.
pub fn fill(
    stage: &Stage<'_>,
    running: &Running,
    topic: &str,
    load: &Load,
) -> Result<rdkafka::Summary, Failure> {
    let options: Vec<String> = load
        .options
        .iter()
        .chain(&running.installed.client_options)
        .cloned()
        .collect();
    let produce = rdkafka::Produce {
        bootstrap: running.bootstrap(),
        topic,
        records: load.records,
        record_bytes: load.record_bytes,
        acks: &load.acks,
        codec: &load.codec,
        rate: load.rate,
        options: &options,
        latencies: None,
    };
    stage
        .tools
        .rdkafka()?
        .produce(&produce, &stage.folder.join("producer.log"))
}

/// Records that were asked for and not delivered.
pub fn lost(load: &Load, summary: &rdkafka::Summary) -> u64 {
    load.records
        .saturating_sub(summary.records)
        .max(summary.failed)
}

fn by_rdkafka(stage: &Stage<'_>, load: &Load) -> Result<Vec<Sample>, Failure> {
    timed(stage, load, |running, topic| {
        let summary = fill(stage, running, topic, load)?;
        Ok((summary.records_per_second as f64, lost(load, &summary)))
    })
}

fn by_java(stage: &Stage<'_>, load: &Load) -> Result<Vec<Sample>, Failure> {
    let kafka = stage.tools.kafka()?;
    timed(stage, load, |running, topic| {
        let summary = java::produce(
            kafka,
            running.bootstrap(),
            topic,
            load,
            &stage.folder.join("producer.log"),
        )?;
        Ok((
            summary.records_per_second,
            load.records.saturating_sub(summary.records),
        ))
    })
}

/// Starts the broker, warms, runs `produce` (which returns records a second and how many were
/// lost), and takes what it cost.
fn timed(
    stage: &Stage<'_>,
    load: &Load,
    produce: impl FnOnce(&Running, &str) -> Result<(f64, u64), Failure>,
) -> Result<Vec<Sample>, Failure> {
    let topic = stage.topic();
    let mut running = stage.start_with_topic(&topic, load.partitions)?;
    stage.warm(load.bytes() + stage.settings.length(TOOL_BYTES, 0))?;
    let (watch, before) = (Watch::start(running.pids()), running.usage()?);
    let (rate, lost) = produce(&running, &topic)?;
    let (after, memory) = (running.usage()?, watch.seen()?);
    running.stop()?;
    let mut sample = Sample::new([
        (Figure::Rate, rate),
        (Figure::Megabytes, rate * f64::from(load.record_bytes) / 1e6),
    ]);
    if let (Some(before), Some(after)) = (before, after) {
        sample = sample
            .with(
                Figure::CpuPerGb,
                after.cpu_since(&before) * 1e9 / load.bytes() as f64,
            )
            .with(Figure::Resident, after.resident_mib());
    }
    Ok(vec![Sample { memory, ..sample }.with_errors(lost, None)])
}

fn acknowledged(stage: &Stage<'_>, load: &Load) -> Result<Vec<Sample>, Failure> {
    let topic = stage.topic();
    let running = stage.start_with_topic(&topic, load.partitions)?;
    stage.warm(load.bytes())?;
    let file = stage.folder.join("acknowledged");
    let options: Vec<String> = load
        .options
        .iter()
        .chain(&running.installed.client_options)
        .cloned()
        .collect();
    let produce = rdkafka::Produce {
        bootstrap: running.bootstrap(),
        topic: &topic,
        records: load.records,
        record_bytes: load.record_bytes,
        acks: &load.acks,
        codec: &load.codec,
        rate: load.rate,
        options: &options,
        latencies: Some(&file),
    };
    let summary = stage
        .tools
        .rdkafka()?
        .produce(&produce, &stage.folder.join("producer.log"))?;
    running.stop()?;
    // In the first second connections are made.
    let latencies = rdkafka::latencies(&file, load.rate.unwrap_or(0).into())?;
    let sample =
        Sample::of_latencies("", latencies).with(Figure::Rate, summary.records_per_second as f64);
    Ok(vec![sample.with_errors(lost(load, &summary), None)])
}
