//! From producing to consuming at a fixed rate (P6): by librdkafka's own tool, and by our open
//! loop.

use super::latency::{self, Route};
use crate::{
    canary::Bird,
    case::{BROKERS, Case, Load, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Goal, Limit, Reference},
    open_loop,
    peers::{Durability, Running},
    settings::Settings,
    stage::Stage,
    tools::rdkafka,
};
use std::time::Instant;

/// Records a second.
const RATES: &[u32] = &[1_000, 10_000];

/// The part of a sample that counts until the consumer has it.
const CONSUMED: &str = "consumed";

/// P6.
pub fn by_rdkafka(settings: &Settings) -> Vec<Case> {
    cases(settings, rdkafka::NAME, &["linger.ms=0"], |stage, load| {
        run(stage, load, |running, topic| {
            latency::by_rdkafka(stage, load, route(running, topic), CONSUMED)
        })
    })
}

/// P6 as an open loop.
pub fn by_open_loop(settings: &Settings) -> Vec<Case> {
    cases(
        settings,
        open_loop::NAME,
        open_loop::OPTIONS,
        |stage, load| {
            run(stage, load, |running, topic| {
                let places = [(CONSUMED, running.bootstrap())];
                Ok(latency::by_open_loop(stage, load, route(running, topic), &places)?.0)
            })
        },
    )
}

fn cases(
    settings: &Settings,
    tool: &'static str,
    options: &[&str],
    measure: fn(&Stage<'_>, &Load) -> Result<Vec<Sample>, Failure>,
) -> Vec<Case> {
    let case = |rate, durability| {
        let load = latency::at_rate(settings, tool, rate, options);
        Case {
            title: format!("{rate} records/s"),
            durability,
            peers: BROKERS,
            goals: goals(rate, durability),
            rounds: 1,
            seconds: latency::seconds(&load) + 5.0,
            disk_bytes: 4 * load.bytes(),
            load: Some(load.clone()),
            measure: Box::new(move |stage| measure(stage, &load)),
        }
    };
    let rates = settings.rates(RATES);
    let both = [Durability::PageCache, Durability::Fsync].into_iter();
    both.flat_map(|durability| rates.iter().map(move |&rate| (rate, durability)))
        .map(|(rate, durability)| case(rate, durability))
        .collect()
}

/// Where visible means fsynced the limits are later by two syncs, and the rarest has none.
fn goals(rate: u32, durability: Durability) -> Vec<Goal> {
    let limits: &[(Figure, f64)] = match rate {
        1_000 => &[(Figure::P50, 0.2), (Figure::P99, 2.0), (Figure::P999, 3.0)],
        10_000 => &[(Figure::P50, 0.15), (Figure::P99, 5.0)],
        _ => &[],
    };
    let goal = |&(figure, ms): &(Figure, f64)| {
        let limit = match (durability, figure) {
            (Durability::Fsync, Figure::P50) => Limit::Sum(vec![
                Limit::Fixed(ms),
                Limit::Times(2.0, Reference::Canary(Bird::Sync)),
            ]),
            (Durability::Fsync, Figure::P99) => Limit::Sum(vec![
                Limit::Fixed(ms),
                Limit::Times(2.0, Reference::Canary(Bird::SyncP99)),
            ]),
            (Durability::Fsync, _) => return None,
            _ => Limit::Fixed(ms),
        };
        Some(Goal::new("P6", figure, limit).of_part(CONSUMED))
    };
    limits.iter().filter_map(goal).collect()
}

fn run(
    stage: &Stage<'_>,
    load: &Load,
    measure: impl FnOnce(&Running, &str) -> Result<Vec<Sample>, Failure>,
) -> Result<Vec<Sample>, Failure> {
    let topic = stage.topic();
    let mut running = stage.start_with_topic(&topic, load.partitions)?;
    stage.warm(load.bytes())?;
    let (since, before) = (Instant::now(), running.usage()?);
    let samples = measure(&running, &topic)?;
    let (took, after) = (since.elapsed(), running.usage()?);
    running.stop()?;
    Ok(samples
        .into_iter()
        .map(|sample| sample.with_cost(before, after, took))
        .collect())
}

fn route<'a>(running: &'a Running, topic: &'a str) -> Route<'a> {
    Route {
        topic,
        produce_at: running.bootstrap(),
        consume_at: running.bootstrap(),
        records_before: 0,
        client_options: &running.installed.client_options,
    }
}
