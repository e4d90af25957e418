//! The memory of a broker: anonymous memory when idle and after a load (P11), for each idle
//! connection (P15), and what its files occupy for each byte of payload (P23).

use super::produce;
use crate::{
    case::{BROKERS, Case, Load, OWN_BROKERS, Sample},
    failure::Failure,
    figure::Figure,
    goal::{Goal, Limit},
    peers::Durability,
    settings::Settings,
    stage::Stage,
    tools::rdkafka,
    usage::{self, MIB, Usage},
    watch::Watch,
    wire::Wire,
};
use std::{thread, time::Duration};

/// By then a broker has done its work after a start, or after a load.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

const IDLE: &str = "idle";
const LOADED: &str = "after the load";

/// P11.
pub fn memory(settings: &Settings) -> Vec<Case> {
    let load = produce::load(
        settings,
        rdkafka::NAME,
        "all",
        (10_000_000, 50_000),
        &["linger.ms=5"],
    );
    let goal = |part, mib| Goal::new("P11", Figure::Anonymous, Limit::Fixed(mib)).of_part(part);
    vec![Case {
        title: String::new(),
        durability: Durability::PageCache,
        peers: OWN_BROKERS,
        goals: vec![goal(IDLE, 6.0), goal(LOADED, 24.0)],
        rounds: 1,
        seconds: settings.length(40.0, 6.0),
        disk_bytes: 2 * load.bytes(),
        load: Some(load.clone()),
        measure: Box::new(move |stage| measure_memory(stage, &load)),
    }]
}

/// P15.
pub fn connections(settings: &Settings) -> Vec<Case> {
    let connections = settings.length(5_000, 200);
    vec![Case {
        title: format!("{connections} connections"),
        durability: Durability::PageCache,
        load: None,
        peers: BROKERS,
        goals: vec![Goal::new("P15", Figure::AnonymousEach, Limit::Fixed(3.0))],
        rounds: 1,
        seconds: settings.length(15.0, 6.0),
        disk_bytes: 0,
        measure: Box::new(move |stage| measure_connections(stage, connections)),
    }]
}

/// P23: batches of nearly 1 MiB, which is as large as librdkafka makes them.
pub fn disk(settings: &Settings) -> Vec<Case> {
    let load = produce::load(
        settings,
        rdkafka::NAME,
        "all",
        (40_000, 1_500),
        &["linger.ms=100"],
    );
    let load = Load {
        record_bytes: settings.size(65_536),
        ..load
    };
    vec![Case {
        title: String::new(),
        durability: Durability::PageCache,
        peers: OWN_BROKERS,
        goals: [Figure::DiskPerByte, Figure::DiskPerByteStopped]
            .map(|figure| Goal::new("P23", figure, Limit::Fixed(1.005)))
            .to_vec(),
        rounds: 1,
        seconds: settings.length(15.0, 6.0),
        disk_bytes: 2 * load.bytes(),
        load: Some(load.clone()),
        measure: Box::new(move |stage| measure_disk(stage, &load)),
    }]
}

fn measure_memory(stage: &Stage<'_>, load: &Load) -> Result<Vec<Sample>, Failure> {
    let topic = stage.topic();
    let mut running = stage.install()?.start()?;
    let pid = running.pid()?;
    thread::sleep(SETTLED_AFTER);
    let held = |part| -> Result<Sample, Failure> {
        let sample = Sample::new([
            (Figure::Anonymous, usage::anonymous_bytes(pid)? as f64 / MIB),
            (Figure::Resident, Usage::of(pid)?.resident_mib()),
        ]);
        Ok(Sample { part, ..sample })
    };
    let idle = held(IDLE)?;
    running.create_topic(&topic, load.partitions)?;
    stage.warm(load.bytes())?;
    let watch = Watch::start(running.pids());
    let lost = produce::lost(load, &produce::fill(stage, &running, &topic, load)?);
    let loaded = Sample {
        memory: watch.seen()?,
        ..held(LOADED)?
    }
    .with_errors(lost, None);
    running.stop()?;
    Ok(vec![idle, loaded])
}

/// Each connection asks for the API versions, as all clients do, and then nothing.
fn measure_connections(stage: &Stage<'_>, connections: u32) -> Result<Vec<Sample>, Failure> {
    let mut running = stage.install()?.start()?;
    let pid = running.pid()?;
    thread::sleep(SETTLED_AFTER);
    let before = usage::anonymous_bytes(pid)?;
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut wire = Wire::connect(running.bootstrap())?;
        wire.api_versions()?;
        open.push(wire);
    }
    thread::sleep(SETTLED_AFTER);
    let after = usage::anonymous_bytes(pid)?;
    // All are still answered.
    let closed = open
        .iter_mut()
        .map(Wire::api_versions)
        .filter(Result::is_err)
        .count();
    drop(open);
    let resident = running.usage()?.map(|usage| usage.resident_mib());
    running.stop()?;
    let each = (after as f64 - before as f64) / 1024.0 / f64::from(connections);
    let sample = Sample::new([(Figure::AnonymousEach, each)]).with_some(Figure::Resident, resident);
    Ok(vec![sample.with_errors(
        closed as u64,
        (closed > 0).then(|| "an idle connection was closed".to_owned()),
    )])
}

fn measure_disk(stage: &Stage<'_>, load: &Load) -> Result<Vec<Sample>, Failure> {
    let topic = stage.topic();
    let mut running = stage.install()?.start()?;
    let empty = usage::disk_bytes(stage.folder);
    running.create_topic(&topic, load.partitions)?;
    let lost = produce::lost(load, &produce::fill(stage, &running, &topic, load)?);
    // What the tools print is a few KiB beside gigabytes.
    let per_byte =
        || usage::disk_bytes(stage.folder).saturating_sub(empty) as f64 / load.bytes() as f64;
    // At rest: what is reserved ahead of logs that grow is not theirs for long.
    thread::sleep(SETTLED_AFTER);
    let running_per_byte = per_byte();
    running.stop()?;
    let sample = Sample::new([
        (Figure::DiskPerByte, running_per_byte),
        (Figure::DiskPerByteStopped, per_byte()),
    ]);
    Ok(vec![sample.with_errors(lost, None)])
}
