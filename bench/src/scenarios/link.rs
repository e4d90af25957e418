//! Links between two sites: how fast one catches up (P17), and how far it lags at fixed rates
//! (P18).

use super::{
    latency::{self, Route},
    produce,
};
use crate::{
    canary::Bird,
    case::{Case, LINKED, Load, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Goal, Limit, Reference},
    links::{CARRIED, Carrier},
    open_loop,
    peers::{Durability, PeerName, Running},
    settings::Settings,
    stage::Stage,
    tools::rdkafka,
    usage::Usage,
    watch::Watch,
};
use std::time::Instant;

/// Records of 1 KiB that a link catches up with; MirrorMaker 2 is given a quarter, at a fiftieth of
/// the speed.
const CATCH_UP: (u64, u64) = (4_000_000, 50_000);
const MIRROR_SHARE: u64 = 4;

/// Records a second; the last are 100 MB/s.
const RATES: &[u32] = &[10, 1_000, 10_000, 100_000];

const DIRECT: &str = "direct";
const SHADOW: &str = "shadow";
const HOP: &str = "hop";

/// P17.
pub fn catch_up(settings: &Settings) -> Vec<Case> {
    let case = |durability, megabytes| {
        let load = produce::load(settings, rdkafka::NAME, "all", CATCH_UP, &["linger.ms=5"]);
        Case {
            title: String::new(),
            durability,
            peers: LINKED,
            goals: vec![
                Goal::new("P17", Figure::Megabytes, Limit::Fixed(megabytes)),
                Goal::new("P17", Figure::Megabytes, Limit::of(30.0, PeerName::Kafka)),
                Goal::new("P17", Figure::CpuPerGb, Limit::Fixed(0.9)),
            ],
            rounds: 1,
            seconds: settings.length(50.0, 25.0),
            disk_bytes: 3 * load.bytes(),
            load: Some(load.clone()),
            measure: Box::new(move |stage| measure_catch_up(stage, &load)),
        }
    };
    vec![
        case(Durability::PageCache, 1400.0),
        case(Durability::Fsync, 700.0),
    ]
}

/// P18.
pub fn lag(settings: &Settings) -> Vec<Case> {
    lag_cases(settings, rdkafka::NAME, &["linger.ms=0"], |stage, load| {
        linked(stage, load, |_, _, route| {
            latency::by_rdkafka(stage, load, route, SHADOW)
        })
    })
}

/// P18 as an open loop, with the direct path and what the hop adds record by record.
pub fn lag_open(settings: &Settings) -> Vec<Case> {
    lag_cases(
        settings,
        open_loop::NAME,
        open_loop::OPTIONS,
        |stage, load| {
            linked(stage, load, |source, carrier, route| {
                let places = [
                    (DIRECT, source.bootstrap()),
                    (SHADOW, carrier.target.bootstrap()),
                ];
                let (mut samples, hop) = latency::by_open_loop(stage, load, route, &places)?;
                samples.insert(places.len(), Sample::of_latencies(HOP, hop));
                Ok(samples)
            })
        },
    )
}

fn lag_cases(
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
            // Syncs are nothing beside the lag of MirrorMaker 2: no goal is set by it with them.
            peers: if durability == Durability::Fsync {
                &[PeerName::Gnomon]
            } else {
                LINKED
            },
            goals: lag_goals(rate, durability),
            rounds: 1,
            seconds: latency::seconds(&load) + 20.0,
            disk_bytes: 6 * load.bytes(),
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

/// Where visible means fsynced, on both sites, the limit is later by two syncs of either kind.
fn lag_goals(rate: u32, durability: Durability) -> Vec<Goal> {
    let ms = match rate {
        10 => 3.0,
        1_000 => 1.5,
        10_000 => 6.0,
        100_000 => 20.0,
        _ => return Vec::new(),
    };
    let syncs = [Bird::Sync, Bird::SyncP99].map(|bird| Limit::Times(2.0, Reference::Canary(bird)));
    let goal = |limit| Goal::new("P18", Figure::P99, limit).of_part(SHADOW);
    match durability {
        Durability::Fsync => vec![goal(Limit::Sum(
            [vec![Limit::Fixed(ms)], syncs.to_vec()].concat(),
        ))],
        _ if [1_000, 10_000].contains(&rate) => vec![
            goal(Limit::Fixed(ms)),
            goal(Limit::of(0.02, PeerName::Kafka)),
        ],
        _ => vec![goal(Limit::Fixed(ms))],
    }
}

fn measure_catch_up(stage: &Stage<'_>, load: &Load) -> Result<Vec<Sample>, Failure> {
    let share = if stage.peer == PeerName::Kafka {
        MIRROR_SHARE
    } else {
        1
    };
    let load = Load {
        records: load.records / share,
        ..load.clone()
    };
    let topic = format!("{CARRIED}{}", stage.topic());
    let sites = stage
        .linker
        .ok_or("it has no links")?
        .install(stage.folder, stage.durability)?;
    let mut source = sites.start_source()?;
    source.create_topic(&topic, load.partitions)?;
    let lost = produce::lost(&load, &produce::fill(stage, &source, &topic, &load)?);
    stage.warm(load.bytes())?;
    let source_before = source.usage()?.map_or(0.0, |usage| usage.cpu_seconds);
    let mut carrier = sites.start_link()?;
    let watch = Watch::start(carrier.pids());
    let progress = carrier.wait_for(&topic, load.partitions, (load.records - lost) as i64)?;
    let source_used = source.usage()?.map_or(0.0, |usage| usage.cpu_seconds) - source_before;
    let carried = Usage::sum(&carrier.pids())?;
    let cpu_seconds = source_used + carried.cpu_seconds - carrier.cpu_seconds_before;
    let memory = watch.seen()?;
    carrier.stop()?;
    source.stop()?;
    let sample = Sample::new([
        (
            Figure::Megabytes,
            progress.rate() * f64::from(load.record_bytes) / 1e6,
        ),
        (Figure::CpuPerGb, cpu_seconds * 1e9 / load.bytes() as f64),
        (Figure::FirstCopy, progress.first.0.as_secs_f64() * 1e3),
        (Figure::Resident, carried.resident_mib()),
    ]);
    Ok(vec![Sample { memory, ..sample }.with_errors(lost, None)])
}

/// Starts both sites and the link, and waits until it has carried what exercises it, a record of
/// each partition at least.
fn linked(
    stage: &Stage<'_>,
    load: &Load,
    measure: impl FnOnce(&Running, &Carrier, Route<'_>) -> Result<Vec<Sample>, Failure>,
) -> Result<Vec<Sample>, Failure> {
    let topic = format!("{CARRIED}{}", stage.topic());
    let sites = stage
        .linker
        .ok_or("it has no links")?
        .install(stage.folder, stage.durability)?;
    let mut source = sites.start_source()?;
    source.create_topic(&topic, load.partitions)?;
    source.write_to_each(&topic, load.partitions)?;
    let exercise = stage.exercise_records();
    if exercise > 0 {
        stage.exercise(&source, &topic, exercise)?;
    }
    let records_before = load.partitions as u64 + exercise;
    let mut carrier = sites.start_link()?;
    carrier.wait_for(&topic, load.partitions, records_before as i64)?;
    stage.warm(2 * load.bytes())?;
    let route = Route {
        topic: &topic,
        produce_at: source.bootstrap(),
        consume_at: carrier.target.bootstrap(),
        records_before,
        client_options: &source.installed.client_options,
    };
    let pids: Vec<u32> = source.pids().into_iter().chain(carrier.pids()).collect();
    let (since, before) = (Instant::now(), Usage::sum(&pids)?);
    let samples = measure(&source, &carrier, route)?;
    let (took, after) = (since.elapsed(), Usage::sum(&pids)?);
    carrier.stop()?;
    source.stop()?;
    Ok(samples
        .into_iter()
        .map(|sample| sample.with_cost(Some(before), Some(after), took))
        .collect())
}
