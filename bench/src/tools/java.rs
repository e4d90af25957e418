//! Apache Kafka's own load tools, `ProducerPerformance` and `ConsumerPerformance`: called as its
//! scripts do, and read.

use crate::{
    case::Load,
    failure::Failure,
    peers::kafka::Kafka,
    process::{Process, output},
};
use std::{path::Path, time::Duration};

/// As tables call them.
pub const PRODUCER: &str = "ProducerPerformance";
pub const CONSUMER: &str = "ConsumerPerformance";

/// As `kafka-producer-perf-test.sh` has it.
const HEAP: &[&str] = &["-Xmx512m"];

/// The last line of a tool, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub records: u64,
    pub records_per_second: f64,
    /// A percentile of the producer: until acknowledged, whole milliseconds.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Produces a load to the end; its options are the Java client's.
pub fn produce(
    kafka: &Kafka,
    bootstrap: &str,
    topic: &str,
    load: &Load,
    log: &Path,
) -> Result<Summary, Failure> {
    let properties = [
        format!("acks={}", load.acks),
        format!("compression.type={}", load.codec),
    ];
    let program = kafka
        .class(HEAP, "org.apache.kafka.tools.ProducerPerformance")
        .args([
            "--bootstrap-server",
            bootstrap,
            "--topic",
            topic,
            "--num-records",
            &load.records.to_string(),
            "--record-size",
            &load.record_bytes.to_string(),
        ])
        .args([
            "--throughput",
            &load.rate.map_or("-1".to_owned(), |rate| rate.to_string()),
            "--command-property",
        ])
        .args(properties.iter().chain(&load.options).map(String::as_str));
    let mut process = Process::start(PRODUCER, program.command(), log)?;
    process.wait(Duration::MAX)?;
    produced(&process.printed()).ok_or_else(|| {
        format!(
            "{PRODUCER} said nothing about its run:\n{}",
            process.last_lines()
        )
        .into()
    })
}

/// Consumes so many records from the beginning.
pub fn consume(
    kafka: &Kafka,
    bootstrap: &str,
    topic: &str,
    records: u64,
) -> Result<Summary, Failure> {
    let program = kafka
        .class(HEAP, "org.apache.kafka.tools.ConsumerPerformance")
        .args([
            "--bootstrap-server",
            bootstrap,
            "--topic",
            topic,
            "--num-records",
            &records.to_string(),
            "--timeout",
            "60000",
        ]);
    let printed = output(CONSUMER, program.command())?;
    consumed(&printed)
        .ok_or_else(|| format!("{CONSUMER} said nothing about its run:\n{printed}").into())
}

/// Reads `N records sent, R records/sec (M MB/sec), A ms avg latency, X ms max latency, P ms 50th,
/// ..., P ms 99th, ...`.
fn produced(printed: &str) -> Option<Summary> {
    let line = printed
        .lines()
        .rfind(|line| line.contains(" records sent, ") && line.contains(" ms 99th"))?;
    let before = |mark: &str| {
        line.split_once(mark)?
            .0
            .rsplit([' ', ','])
            .next()?
            .parse::<f64>()
            .ok()
    };
    Some(Summary {
        records: before(" records sent")? as u64,
        records_per_second: before(" records/sec")?,
        p50_ms: before(" ms 50th"),
        p99_ms: before(" ms 99th"),
    })
}

/// Reads the line of figures below a line of heads; the rate is that of fetching, joining the group
/// left out.
fn consumed(printed: &str) -> Option<Summary> {
    let mut lines = printed
        .lines()
        .skip_while(|line| !line.starts_with("start.time"));
    let (heads, figures) = (lines.next()?, lines.next()?);
    let figure = |name: &str| {
        let place = heads
            .split(',')
            .position(|head| head.trim().eq_ignore_ascii_case(name))?;
        figures.split(',').nth(place)?.trim().parse::<f64>().ok()
    };
    let records = figure("data.consumed.in.nMsg").or_else(|| figure("data.consumed.in.nMsgs"))?;
    let milliseconds = figure("fetch.time.ms")?;
    let records_per_second = if milliseconds > 0.0 {
        records * 1000.0 / milliseconds
    } else {
        0.0
    };
    Some(Summary {
        records: records as u64,
        records_per_second,
        p50_ms: None,
        p99_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_last_line_counts() {
        let printed = "24901 records sent, 4980.2 records/sec (4.86 MB/sec), 1.5 ms avg latency, 120.0 ms max latency.\n\
            50000 records sent, 4999.500050 records/sec (4.88 MB/sec), 0.90 ms avg latency, 120.00 ms max latency, 1 ms 50th, 2 ms 95th, 12 ms 99th, 80 ms 99.9th.\n";
        let summary = Summary {
            records: 50_000,
            records_per_second: 4999.50005,
            p50_ms: Some(1.0),
            p99_ms: Some(12.0),
        };
        assert_eq!(produced(printed), Some(summary));
        assert_eq!(produced("no"), None);
    }

    #[test]
    fn the_consumers_rate_is_that_of_fetching() {
        let printed = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
            2026-01-01 00:00:00:000, 2026-01-01 00:00:02:500, 97.6562, 39.0625, 100000, 40000.0000, 500, 2000, 48.8281, 50000.0000\n";
        let summary = Summary {
            records: 100_000,
            records_per_second: 50_000.0,
            p50_ms: None,
            p99_ms: None,
        };
        assert_eq!(consumed(printed), Some(summary));
        assert_eq!(consumed("start.time\n"), None);
    }
}
