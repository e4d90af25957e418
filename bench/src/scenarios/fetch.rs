//! Fetching what was just written, from the page cache (P8): throughput and the broker's CPU.

use super::produce;
use crate::{
    case::{BROKERS, Case, Load, OTHERS, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Goal, Limit, Reference},
    peers::{Durability, PeerName, Running},
    settings::Settings,
    stage::Stage,
    tools::{java, rdkafka},
    watch::Watch,
};
use std::time::Duration;

/// A consumer that has not got everything by then is told to stop.
const CONSUME_MAX: Duration = Duration::from_secs(300);

/// P8.
pub fn by_rdkafka(settings: &Settings) -> Vec<Case> {
    vec![case(
        settings,
        rdkafka::NAME,
        |stage, running, topic, load| {
            let consume = rdkafka::Consume {
                bootstrap: running.bootstrap(),
                topic,
                partitions: load.partitions,
                records: load.records,
                options: &running.installed.client_options,
                latencies: None,
            };
            let consumer = stage
                .tools
                .rdkafka()?
                .consume(&consume, &stage.folder.join("consumer.log"))?;
            let summary = consumer.finish(CONSUME_MAX)?;
            Ok((summary.records_per_second as f64, summary.records))
        },
    )]
}

/// P8 by another tool.
pub fn by_java(settings: &Settings) -> Vec<Case> {
    vec![case(
        settings,
        java::CONSUMER,
        |stage, running, topic, load| {
            let summary = java::consume(
                stage.tools.kafka()?,
                running.bootstrap(),
                topic,
                load.records,
            )?;
            Ok((summary.records_per_second, summary.records))
        },
    )]
}

/// Consumes a topic and returns records a second and how many there were.
type Consume = fn(&Stage<'_>, &Running, &str, &Load) -> Result<(f64, u64), Failure>;

fn case(settings: &Settings, tool: &'static str, consume: Consume) -> Case {
    let load = produce::load(settings, tool, "all", (2_000_000, 50_000), &["linger.ms=5"]);
    Case {
        title: String::new(),
        durability: Durability::PageCache,
        peers: BROKERS,
        goals: vec![
            Goal::new(
                "P8",
                Figure::Rate,
                Limit::Times(1.0, Reference::Best(OTHERS)),
            ),
            Goal::new("P8", Figure::CpuPerGb, Limit::Fixed(0.45)),
            Goal::new("P8", Figure::CpuPerGb, Limit::of(0.8, PeerName::Kafka)),
        ],
        rounds: 1,
        seconds: settings.length(20.0, 6.0),
        disk_bytes: 3 * load.bytes(),
        load: Some(load.clone()),
        measure: Box::new(move |stage| measure(stage, &load, consume)),
    }
}

fn measure(stage: &Stage<'_>, load: &Load, consume: Consume) -> Result<Vec<Sample>, Failure> {
    let topic = stage.topic();
    let mut running = stage.start_with_topic(&topic, load.partitions)?;
    stage.warm(load.bytes())?;
    let lost = produce::lost(load, &produce::fill(stage, &running, &topic, load)?);
    let (watch, before) = (Watch::start(running.pids()), running.usage()?);
    let (rate, records) = consume(stage, &running, &topic, load)?;
    let (after, memory) = (running.usage()?, watch.seen()?);
    running.stop()?;
    let mut sample = Sample::new([
        (Figure::Rate, rate),
        (Figure::Megabytes, rate * f64::from(load.record_bytes) / 1e6),
    ]);
    if let (Some(before), Some(after)) = (before, after) {
        let bytes = records * u64::from(load.record_bytes);
        sample = sample
            .with(
                Figure::CpuPerGb,
                after.cpu_since(&before) * 1e9 / bytes as f64,
            )
            .with(Figure::Resident, after.resident_mib());
    }
    Ok(vec![Sample { memory, ..sample }.with_errors(
        lost + load.records.saturating_sub(records),
        None,
    )])
}
