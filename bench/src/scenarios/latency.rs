//! The common part of scenarios at fixed rates: the load, and both ways of putting it on a broker
//! while somebody consumes.
//!
//! `rdkafka_performance` waits between records, so that it sends less while a broker stalls; the
//! open loop does not.

use super::produce;
use crate::{
    case::{Load, Sample},
    failure::Failure,
    figure::Figure,
    latency::Latencies,
    open_loop::{self, Plan},
    settings::Settings,
    stage::Stage,
    tools::rdkafka,
};
use std::time::Duration;

/// The part of a sample that counts until the producer's acknowledgement.
pub const ACKNOWLEDGED: &str = "acknowledged";

/// After the last record was sent.
const STRAGGLERS_MAX: Duration = Duration::from_secs(20);

/// Where records go in and where they come out.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    pub topic: &'a str,
    pub produce_at: &'a str,
    pub consume_at: &'a str,
    /// Records that are in the topic before.
    pub records_before: u64,
    /// Additional options of librdkafka's producer.
    pub client_options: &'a [String],
}

/// So many seconds of a rate, those of the warm-up before them.
pub fn at_rate(settings: &Settings, tool: &'static str, rate: u32, options: &[&str]) -> Load {
    let records = u64::from(rate) * (warm_up(settings) + measured(settings)).as_secs();
    Load {
        records,
        rate: Some(rate),
        ..produce::load(settings, tool, "all", (records, records), options)
    }
}

/// At the start of a run, while connections are made; not counted.
fn warm_up(settings: &Settings) -> Duration {
    Duration::from_secs(settings.length(3, 1))
}

fn measured(settings: &Settings) -> Duration {
    Duration::from_secs(settings.seconds(30, 3).into())
}

/// Seconds that a load takes.
pub fn seconds(load: &Load) -> f64 {
    load.records as f64 / f64::from(load.rate.unwrap_or(1))
}

/// Two instances of librdkafka's tool; `part` names the consumer's.
pub fn by_rdkafka(
    stage: &Stage<'_>,
    load: &Load,
    route: Route<'_>,
    part: &'static str,
) -> Result<Vec<Sample>, Failure> {
    let tool = stage.tools.rdkafka()?;
    let [consumed, acknowledged] = ["consumed", "acknowledged"].map(|name| stage.folder.join(name));
    let options: Vec<String> = load
        .options
        .iter()
        .chain(route.client_options)
        .cloned()
        .collect();
    let consume = rdkafka::Consume {
        bootstrap: route.consume_at,
        topic: route.topic,
        partitions: load.partitions,
        records: load.records + route.records_before,
        options: route.client_options,
        latencies: Some(&consumed),
    };
    let consumer = tool.consume(&consume, &stage.folder.join("consumer.log"))?;
    let produce = rdkafka::Produce {
        bootstrap: route.produce_at,
        topic: route.topic,
        records: load.records,
        record_bytes: load.record_bytes,
        acks: &load.acks,
        codec: &load.codec,
        rate: load.rate,
        options: &options,
        latencies: Some(&acknowledged),
    };
    let produced = tool.produce(&produce, &stage.folder.join("producer.log"))?;
    let seen = consumer.finish(STRAGGLERS_MAX)?;
    let skipped = u64::from(load.rate.unwrap_or(0)) * warm_up(stage.settings).as_secs();
    let missing = (load.records + route.records_before).saturating_sub(seen.records);
    let sample = |part, file, errors| -> Result<Sample, Failure> {
        let sample = Sample::of_latencies(part, rdkafka::latencies(file, skipped)?);
        Ok(sample
            .with(Figure::Rate, produced.records_per_second as f64)
            .with_errors(errors, None))
    };
    Ok(vec![
        sample(part, &consumed, missing)?,
        sample(ACKNOWLEDGED, &acknowledged, produce::lost(load, &produced))?,
    ])
}

/// The open loop; records are consumed at each of `places`, which are named as parts.
pub fn by_open_loop(
    stage: &Stage<'_>,
    load: &Load,
    route: Route<'_>,
    places: &[(&'static str, &str)],
) -> Result<(Vec<Sample>, Latencies), Failure> {
    let plan = Plan {
        bootstrap: route.produce_at.to_owned(),
        topic: route.topic.to_owned(),
        partitions: load.partitions,
        rate: load.rate.unwrap_or(1),
        warm_up: warm_up(stage.settings),
        measured: measured(stage.settings),
        record_bytes: load.record_bytes as usize,
        codec: load.codec.clone(),
        options: load
            .options
            .iter()
            .chain(route.client_options)
            .cloned()
            .collect(),
    };
    let addresses: Vec<&str> = places.iter().map(|place| place.1).collect();
    let outcome = open_loop::run(&plan, &addresses)?;
    let generator_late = outcome.generator.ms(0.99);
    let sample = |part, latencies: &Latencies, errors, first| {
        let sample = Sample::of_latencies(part, latencies.clone());
        sample
            .with(Figure::Rate, outcome.achieved_rate)
            .with(Figure::GeneratorP99, generator_late)
            .with_errors(errors, first)
    };
    let mut samples = Vec::new();
    for (place, (part, _)) in places.iter().enumerate() {
        samples.push(sample(
            part,
            &outcome.consumed[place],
            outcome.errors.missing[place] + outcome.errors.twice[place],
            None,
        ));
    }
    let errors = &outcome.errors;
    samples.push(sample(
        ACKNOWLEDGED,
        &outcome.acknowledged,
        errors.failed + errors.unanswered,
        errors.first_failure.clone(),
    ));
    Ok((samples, outcome.hop))
}
