//! `produce`: throughput by `rdkafka_performance`, CPU and memory of the broker, beside other brokers.
//!
//! What makes figures comparable: each run has a fresh broker on an empty folder of the same file system and memory that was
//! just touched (`warm`); peers take turns within a round and rounds differ in who is first; medians over rounds; what an
//! acknowledgement means is the same within a group.

use crate::{
    Failure,
    args::Produce,
    canary::{self, Canaries},
    client,
    peers::{self, Durability, Peer, Running},
    perf_tool::{self, PerfTool},
    place,
    report::{self, Conditions, Table, median},
    usage::Usage,
    warm,
};
use serde::Serialize;
use std::time::Duration;

const TOPIC: &str = "bench";

/// A fresh topic's leaders are there at once; the rest is for a busy machine.
const TOPIC_MAX: Duration = Duration::from_secs(15);

/// Milliseconds. The tool's own default of a second would be the tail of every run.
const LINGER: &str = "linger.ms=5";

/// All that is left behind as JSON.
#[derive(Serialize)]
struct Report {
    conditions: Conditions,
    librdkafka: String,
    records: u32,
    record_bytes: u32,
    partitions: i32,
    acks: String,
    options: Vec<String>,
    canaries: Canaries,
    rows: Vec<Row>,
}

/// A peer in one durability.
#[derive(Serialize)]
struct Row {
    peer: &'static str,
    durability: Durability,
    runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    records_per_second: u64,
    failed: u64,
    /// `None`: the broker is not a process of its own.
    broker: Option<Cost>,
}

/// What the run cost the broker.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    /// Of payload, 10^9 bytes.
    cpu_seconds_per_gb: f64,
    /// Right after the run.
    resident_mib: f64,
    anonymous_mib: f64,
}

/// Runs all peers for all rounds.
pub fn run(args: &Produce) -> Result<(), Failure> {
    let conditions = Conditions::now();
    let tool = PerfTool::build()?;
    let peers = args.peers.iter().map(|&name| peers::build(name)).collect::<Result<Vec<_>, _>>()?;
    let contenders = contenders(&peers, &args.durability);
    let mut rows: Vec<Row> = contenders.iter().map(|&(peer, durability)| Row { peer: peer.name(), durability, runs: Vec::new() }).collect();
    let options: Vec<String> = std::iter::once(LINGER.to_owned()).chain(args.options.iter().cloned()).collect();
    let fdatasync_before = canary::fdatasync(place::run_folder()?.path())?;
    for round in 0..args.rounds as usize {
        for turn in 0..contenders.len() {
            let place = (round + turn) % contenders.len();
            let (peer, durability) = contenders[place];
            let run = one_run(args, &options, &tool, peer, durability)?;
            eprintln!(
                "round {} of {}: {}, {}: {} k msg/s",
                round + 1,
                args.rounds,
                peer.name(),
                durability.name(),
                run.records_per_second / 1000
            );
            rows[place].runs.push(run);
        }
    }
    let report = Report {
        conditions,
        librdkafka: tool.version,
        records: args.records,
        record_bytes: args.size,
        partitions: args.partitions,
        acks: args.acks.clone(),
        options,
        canaries: Canaries { fdatasync_before, fdatasync_after: canary::fdatasync(place::run_folder()?.path())? },
        rows,
    };
    report::publish("produce", &text(&report), &report)?;
    match report.rows.iter().flat_map(|row| &row.runs).map(|run| run.failed).sum() {
        0 => Ok(()),
        failed => Err(format!("{failed} records were not delivered").into()),
    }
}

/// Each peer in each asked durability that it offers; what keeps nothing is measured once, last.
fn contenders<'a>(peers: &'a [Box<dyn Peer>], asked: &[Durability]) -> Vec<(&'a dyn Peer, Durability)> {
    let durabilities = asked.iter().copied().chain([Durability::Nothing]);
    durabilities
        .flat_map(|durability| {
            peers.iter().filter(move |peer| peer.offers().contains(&durability)).map(move |peer| (peer.as_ref(), durability))
        })
        .collect()
}

fn one_run(args: &Produce, options: &[String], tool: &PerfTool, peer: &dyn Peer, durability: Durability) -> Result<Run, Failure> {
    let folder = place::run_folder()?;
    let Running { mut process, bootstrap, client_options } = peer.start(folder.path(), durability)?;
    if process.is_some() {
        client::create_topic(&bootstrap, TOPIC, args.partitions)?;
        client::wait_for_topic(&bootstrap, TOPIC, args.partitions, TOPIC_MAX)?;
    }
    let bytes = args.records as u64 * args.size as u64;
    warm::touch_pages(folder.path(), bytes)?;
    let options: Vec<String> = options.iter().chain(&client_options).cloned().collect();
    let before = process.as_mut().map(|process| process.usage()).transpose()?;
    let produced = tool.produce(&perf_tool::Produce {
        bootstrap: &bootstrap,
        topic: TOPIC,
        records: args.records,
        record_bytes: args.size,
        acks: &args.acks,
        options: &options,
    })?;
    let after = process.as_mut().map(|process| process.usage()).transpose()?;
    if let Some(process) = process {
        process.stop()?;
    }
    let undelivered = (args.records as u64).saturating_sub(produced.delivered);
    Ok(Run {
        records_per_second: produced.records_per_second,
        failed: undelivered.max(produced.failed),
        broker: before.zip(after).map(|(before, after)| Cost::of(before, after, bytes)),
    })
}

impl Cost {
    fn of(before: Usage, after: Usage, payload_bytes: u64) -> Cost {
        Cost {
            cpu_seconds_per_gb: (after.cpu_seconds - before.cpu_seconds) * 1e9 / payload_bytes as f64,
            resident_mib: after.resident_bytes as f64 / 1_048_576.0,
            anonymous_mib: after.anonymous_bytes as f64 / 1_048_576.0,
        }
    }
}

impl Row {
    fn rate(&self) -> f64 {
        median(self.runs.iter().map(|run| run.records_per_second as f64)).unwrap_or(0.0)
    }

    fn cost(&self, of: impl Fn(&Cost) -> f64) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| run.broker.as_ref()).map(of))
    }
}

fn text(report: &Report) -> String {
    let rounds = report.rows.first().map_or(0, |row| row.runs.len());
    let mut text = format!(
        "produce: rdkafka_performance of librdkafka {}; medians of {rounds} interleaved rounds, each run on a fresh broker and warmed memory\n\
         load: {} records of {} bytes, {} partitions, acks={}, no compression, {}\n\
         {}\n{}\n",
        report.librdkafka,
        report.records,
        report.record_bytes,
        report.partitions,
        report.acks,
        report.options.join(" "),
        report.conditions.line(),
        report.canaries.lines(),
    );
    text += &rates(report).text();
    text += "\n";
    text += &comparisons(report);
    text
}

fn rates(report: &Report) -> Table {
    let heads = ["acknowledged", "peer", "k msg/s", "MB/s", "lowest k", "highest k", "CPU-s/GB", "resident MiB", "anonymous MiB", "failed"];
    let mut table = Table::new(2, heads);
    for row in &report.rows {
        let thousands = |rate: f64| format!("{:.0}", rate / 1e3);
        let all = || row.runs.iter().map(|run| run.records_per_second as f64);
        let cost = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        table.row(vec![
            row.durability.name().to_owned(),
            row.peer.to_owned(),
            thousands(row.rate()),
            format!("{:.0}", row.rate() * report.record_bytes as f64 / 1e6),
            thousands(all().fold(f64::INFINITY, f64::min)),
            thousands(all().fold(0.0, f64::max)),
            cost(row.cost(|cost| cost.cpu_seconds_per_gb), 2),
            cost(row.cost(|cost| cost.resident_mib), 1),
            cost(row.cost(|cost| cost.anonymous_mib), 1),
            row.runs.iter().map(|run| run.failed).sum::<u64>().to_string(),
        ]);
    }
    table
}

/// Gnomon against each other peer of its group, and against the client's ceiling.
fn comparisons(report: &Report) -> String {
    let mut text = String::new();
    for ours in report.rows.iter().filter(|row| row.peer == "gnomon") {
        for other in
            report.rows.iter().filter(|row| row.peer != "gnomon" && [ours.durability, Durability::Nothing].contains(&row.durability))
        {
            if other.rate() > 0.0 {
                text += &format!("gnomon, {}: {:.2} x {}\n", ours.durability.name(), ours.rate() / other.rate(), other.peer);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Summary;

    struct Fake(&'static str, &'static [Durability]);

    impl Peer for Fake {
        fn name(&self) -> &'static str {
            self.0
        }

        fn offers(&self) -> &'static [Durability] {
            self.1
        }

        fn start(&self, _: &std::path::Path, _: Durability) -> Result<Running, Failure> {
            Err("never started".into())
        }
    }

    #[test]
    fn like_is_measured_beside_like() {
        let both = &[Durability::Fsync, Durability::PageCache];
        let peers: Vec<Box<dyn Peer>> =
            vec![Box::new(Fake("x", both)), Box::new(Fake("mock", &[Durability::Nothing])), Box::new(Fake("y", both))];
        let order: Vec<_> = contenders(&peers, both).iter().map(|(peer, durability)| (peer.name(), durability.name())).collect();
        assert_eq!(order, [("x", "fsync"), ("y", "fsync"), ("x", "page cache"), ("y", "page cache"), ("mock", "none")]);
    }

    #[test]
    fn gnomon_is_compared_within_its_durability_and_with_the_ceiling() {
        let row = |peer, durability, rate| Row { peer, durability, runs: vec![Run { records_per_second: rate, failed: 0, broker: None }] };
        let none = Summary { count: 0, p50_ms: 0.0, p99_ms: 0.0, p999_ms: 0.0, max_ms: 0.0 };
        let report = Report {
            conditions: Conditions::now(),
            librdkafka: "2".into(),
            records: 1,
            record_bytes: 1000,
            partitions: 1,
            acks: "all".into(),
            options: vec![],
            canaries: Canaries { fdatasync_before: none, fdatasync_after: none },
            rows: vec![
                row("gnomon", Durability::Fsync, 600_000),
                row("kfake", Durability::Fsync, 400_000),
                row("kfake", Durability::PageCache, 500_000),
                row("mock", Durability::Nothing, 1_200_000),
            ],
        };
        assert_eq!(comparisons(&report), "gnomon, fsync: 1.50 x kfake\ngnomon, fsync: 0.50 x mock\n");
        assert!(rates(&report).text().contains("fsync         gnomon      600   600"), "{}", rates(&report).text());
    }
}
