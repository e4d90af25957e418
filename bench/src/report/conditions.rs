//! Under which conditions figures were taken.

use serde::Serialize;
use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// The machine, the time, and what was typed.
#[derive(Debug, Serialize)]
pub struct Conditions {
    /// The command line.
    pub command: String,
    /// Seconds since 1970.
    pub taken_at: u64,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// The load of the last minute, before anything began: others at work spoil figures.
    pub load_average: f64,
    /// The version of the client in this process and of its tool.
    pub librdkafka: String,
    pub rounds: u32,
}

impl Conditions {
    /// Those of now. What the kernel does not say is 0 or empty.
    pub fn now(rounds: u32) -> Conditions {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory_kib: u64 = read("/proc/meminfo")
            .split_whitespace()
            .nth(1)
            .and_then(|figure| figure.parse().ok())
            .unwrap_or(0);
        Conditions {
            command: std::iter::once("gnomon-bench".to_owned())
                .chain(std::env::args().skip(1))
                .collect::<Vec<_>>()
                .join(" "),
            taken_at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg")
                .split_whitespace()
                .next()
                .and_then(|figure| figure.parse().ok())
                .unwrap_or(0.0),
            librdkafka: rdkafka::util::get_rdkafka_version().1,
            rounds,
        }
    }

    pub fn lines(&self) -> Vec<String> {
        let Conditions {
            command,
            cores,
            memory_mib,
            kernel,
            load_average,
            librdkafka,
            rounds,
            ..
        } = self;
        vec![
            format!("command: {command}"),
            format!(
                "machine: {cores} cores, {memory_mib} MiB, Linux {kernel}, load {load_average:.2} before"
            ),
            format!(
                "figures: medians over interleaved rounds, {rounds} or as many as a table says (runs), each run on a fresh folder; librdkafka {librdkafka}"
            ),
        ]
    }
}
