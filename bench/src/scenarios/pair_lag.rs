//! `pair-lag`: how long a record takes from its producer on site a to a consumer of its shadow on site b.
//!
//! Direct is the same record consumed on a; the hop is, record by record, how much later it came on b. Producer and both
//! consumers are threads of this process, so that one clock measures all.

use crate::{
    Failure,
    args::PairLag,
    canary::{self, Canaries},
    client,
    latency::Summary,
    load,
    outcome::{Errors, Outcome},
    peers::{
        Durability,
        gnomon::{Gnomon, Pair},
    },
    place,
    report::{self, Conditions, Table},
    timeline::Plan,
    usage::Usage,
};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The link looks for new topics each second.
const SHADOW_MAX: Duration = Duration::from_secs(30);

/// What a pair must reach in any case: `measure.md` asks for more.
const GOAL: Goal = Goal { rate: 10, shadow_p99_ms: 10.0 };

struct Goal {
    rate: u32,
    shadow_p99_ms: f64,
}

/// At the 99th percentile; above it a run is not one of open loop any more.
const GENERATOR_SHARE_MAX: f64 = 0.5;

/// Below this the 99th percentile is the slowest record, whatever made it slow.
const P99_RECORDS_MIN: u64 = 100;

impl Goal {
    fn verdict(&self, shadow: &Summary) -> &'static str {
        match shadow {
            Summary { count, .. } if *count <= P99_RECORDS_MIN => "too few records to tell",
            Summary { p99_ms, .. } if *p99_ms <= self.shadow_p99_ms => "met",
            Summary { .. } => "MISSED",
        }
    }
}

/// All that is left behind as JSON.
#[derive(Serialize)]
struct Report {
    conditions: Conditions,
    durability: Durability,
    record_bytes: u32,
    partitions: i32,
    warm_up_seconds: u32,
    measured_seconds: u32,
    canaries: Canaries,
    rates: Vec<Rate>,
}

/// One rate. `outcome.consumed` is direct, then shadow.
#[derive(Serialize)]
struct Rate {
    outcome: Outcome,
    a: SiteUsage,
    b: SiteUsage,
}

/// A site during one rate.
#[derive(Clone, Copy, Serialize)]
struct SiteUsage {
    /// Of one core.
    cpu_percent: f64,
    resident_mib: f64,
}

/// Runs all rates on one pair.
pub fn run(args: &PairLag) -> Result<(), Failure> {
    let conditions = Conditions::now();
    let gnomon = Gnomon::build()?;
    let folder = place::run_folder()?;
    let fdatasync_before = canary::fdatasync(folder.path())?;
    let mut pair = Pair::start(&gnomon, folder.path(), args.write_caching)?;
    let mut rates = Vec::new();
    for &rate in &args.rates {
        rates.push(at_rate(args, &mut pair, rate)?);
    }
    pair.stop()?;
    let report = Report {
        conditions,
        durability: if args.write_caching { Durability::PageCache } else { Durability::Fsync },
        record_bytes: args.size,
        partitions: args.partitions,
        warm_up_seconds: args.warm_up,
        measured_seconds: args.seconds,
        canaries: Canaries { fdatasync_before, fdatasync_after: canary::fdatasync(folder.path())? },
        rates,
    };
    report::publish("pair-lag", &text(&report), &report)?;
    match report.rates.iter().map(|rate| rate.outcome.errors.count()).sum() {
        0 => Ok(()),
        errors => Err(format!("{errors} errors: the figures above are not those of a sound pair").into()),
    }
}

fn at_rate(args: &PairLag, pair: &mut Pair, rate: u32) -> Result<Rate, Failure> {
    let topic = format!("a_lag_{rate}");
    client::create_topic(&pair.a_kafka, &topic, args.partitions)?;
    for site in [&pair.a_kafka, &pair.b_kafka] {
        client::wait_for_topic(site, &topic, args.partitions, SHADOW_MAX)?;
    }
    eprintln!("{rate} msg/s for {} s", args.warm_up + args.seconds);
    let plan = Plan {
        bootstrap: pair.a_kafka.clone(),
        topic,
        partitions: args.partitions,
        rate,
        warm_up: Duration::from_secs(args.warm_up.into()),
        measured: Duration::from_secs(args.seconds.into()),
        record_bytes: args.size as usize,
    };
    let (start, before) = (Instant::now(), [pair.a.usage()?, pair.b.usage()?]);
    let outcome = load::run(&plan, &[&pair.a_kafka, &pair.b_kafka])?;
    let (took, after) = (start.elapsed(), [pair.a.usage()?, pair.b.usage()?]);
    let of = |site: usize| SiteUsage::between(before[site], after[site], took);
    Ok(Rate { outcome, a: of(0), b: of(1) })
}

impl SiteUsage {
    fn between(before: Usage, after: Usage, took: Duration) -> SiteUsage {
        SiteUsage {
            cpu_percent: (after.cpu_seconds - before.cpu_seconds) / took.as_secs_f64() * 100.0,
            resident_mib: after.resident_bytes as f64 / 1_048_576.0,
        }
    }
}

fn text(report: &Report) -> String {
    let Report { record_bytes, partitions, warm_up_seconds, measured_seconds, .. } = report;
    let durability = match report.durability {
        Durability::Fsync => "fsync before a record is acknowledged or visible, on both sites (the default)",
        Durability::PageCache => "page cache: power loss may take acknowledged records (--write-caching), on both sites",
        Durability::Nothing => "none",
    };
    let mut text = format!(
        "pair-lag: produced on site a, consumed on a (direct) and, as a shadow, on b; latencies in ms from when a record was due\n\
         durability: {durability}\n\
         load: {record_bytes}-byte records, {partitions} partition(s), {}; open loop, {measured_seconds} s a rate after {warm_up_seconds} s of warm-up\n\
         {}\n{}\n",
        load::PRODUCER,
        report.conditions.line(),
        report.canaries.lines(),
    );
    text += &latencies(report).text();
    text += "\n";
    for rate in &report.rates {
        let site = |usage: &SiteUsage| format!("{:.1} % of a core, {:.0} MiB resident", usage.cpu_percent, usage.resident_mib);
        text += &format!(
            "{} msg/s: a {}; b {}; errors: {}\n",
            rate.outcome.asked_rate,
            site(&rate.a),
            site(&rate.b),
            said(&rate.outcome.errors)
        );
    }
    for Rate { outcome, .. } in report.rates.iter().filter(|rate| generator_to_blame(&rate.outcome)) {
        text += &format!("NOT TO BE QUOTED: at {} msg/s the generator itself was late by much of the latency\n", outcome.asked_rate);
    }
    for rate in report.rates.iter().filter(|rate| rate.outcome.asked_rate == GOAL.rate) {
        text +=
            &format!("goal, shadow p99 <= {} ms at {} msg/s: {}\n", GOAL.shadow_p99_ms, GOAL.rate, GOAL.verdict(&rate.outcome.consumed[1]));
    }
    text
}

/// Whether the tail of the shadow's latency is that of the generator, which had no turn on a busy machine, rather than of the pair.
fn generator_to_blame(outcome: &Outcome) -> bool {
    outcome.generator.p99_ms > outcome.consumed[1].p99_ms * GENERATOR_SHARE_MAX
}

fn latencies(report: &Report) -> Table {
    let mut table = Table::new(1, ["path", "msg/s", "achieved", "records", "p50", "p99", "p99.9", "max"]);
    for Rate { outcome, .. } in &report.rates {
        let paths = [
            ("direct", &outcome.consumed[0]),
            ("shadow", &outcome.consumed[1]),
            ("hop", &outcome.hop),
            ("acknowledged", &outcome.acknowledged),
            ("generator late by", &outcome.generator),
        ];
        for (path, summary) in paths {
            let mut cells =
                vec![path.to_owned(), outcome.asked_rate.to_string(), format!("{:.1}", outcome.achieved_rate), summary.count.to_string()];
            cells.extend(summary.cells());
            table.row(cells);
        }
    }
    table
}

fn said(errors: &Errors) -> String {
    if errors.count() == 0 {
        return "none".to_owned();
    }
    let why = errors.first_failure.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    let Errors { failed, unanswered, missing, twice, .. } = errors;
    format!("{failed} failed{why}, {unanswered} unanswered; direct and shadow: {missing:?} missing, {twice:?} twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_enough_records() {
        let shadow = |records: u64, ms: u64| Summary::of((0..records).map(|_| ms * 1_000_000));
        assert_eq!(GOAL.verdict(&shadow(300, 3)), "met");
        assert_eq!(GOAL.verdict(&shadow(300, 11)), "MISSED");
        assert_eq!(GOAL.verdict(&shadow(80, 3)), "too few records to tell");
        assert_eq!(GOAL.verdict(&shadow(0, 0)), "too few records to tell");
    }
}
