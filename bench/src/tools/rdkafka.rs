//! `rdkafka_performance`, librdkafka's own load tool: built from the sources that the `rdkafka-sys`
//! crate brings, run, and read.
//!
//! Its figures are comparable with those of others. What it cannot do is in `open_loop`. At a fixed
//! rate it waits between records, so that a stall makes it send later and not more: its latencies
//! hide what an open loop shows.

use crate::{
    failure::Failure,
    latency::Latencies,
    place,
    process::{Process, output},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Where build.rs found librdkafka: a copy of its tree in cargo's target folder, libraries built.
const TREE: &str = env!("LIBRDKAFKA_TREE");

/// As tables call it.
pub const NAME: &str = "rdkafka_performance";

/// The built tool.
pub struct Tool {
    program: PathBuf,
}

/// The records to produce.
pub struct Produce<'a> {
    pub bootstrap: &'a str,
    pub topic: &'a str,
    pub records: u64,
    pub record_bytes: u32,
    pub acks: &'a str,
    pub codec: &'a str,
    /// Records a second; `None`: as fast as it goes.
    pub rate: Option<u32>,
    /// `KEY=VALUE` as librdkafka knows them.
    pub options: &'a [String],
    /// Where the latency of each record until its acknowledgement goes; records then carry their
    /// time.
    pub latencies: Option<&'a Path>,
}

/// The records to consume, from the beginning.
pub struct Consume<'a> {
    pub bootstrap: &'a str,
    pub topic: &'a str,
    pub partitions: i32,
    pub records: u64,
    pub options: &'a [String],
    /// Where the latency of each record since it was produced goes.
    pub latencies: Option<&'a Path>,
}

/// The tool's last figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Delivered or consumed.
    pub records: u64,
    pub failed: u64,
    /// Producing: from the first record handed over to the last one acknowledged; connecting is
    /// part of it. Consuming: from the first record to the last.
    pub milliseconds: u64,
    pub records_per_second: u64,
}

impl Tool {
    /// Builds it into `target/bench`, unless it is there and newer than its library.
    pub fn build() -> Result<Tool, Failure> {
        let program = place::bench()?.join(NAME);
        if !place::newer(&program, &Path::new(TREE).join("src/librdkafka.a")) {
            eprintln!("building {NAME}");
            let examples = Path::new(TREE).join("examples");
            let mut make = Command::new("make");
            make.arg("-C").arg(&examples).arg(NAME);
            output(
                "make rdkafka_performance (it needs make and a C compiler)",
                make,
            )?;
            fs::copy(examples.join(NAME), &program)
                .map_err(|error| format!("cannot write {}: {error}", program.display()))?;
        }
        Ok(Tool { program })
    }

    /// Produces to the end.
    pub fn produce(&self, produce: &Produce<'_>, log: &Path) -> Result<Summary, Failure> {
        let mut command = Command::new(&self.program);
        command.args([
            "-P",
            "-q",
            "-t",
            produce.topic,
            "-b",
            produce.bootstrap,
            "-a",
            produce.acks,
            "-z",
            produce.codec,
        ]);
        command.args([
            "-s",
            &produce.record_bytes.to_string(),
            "-c",
            &produce.records.to_string(),
        ]);
        if let Some(rate) = produce.rate {
            command.args(["-r", &rate.to_string()]);
        }
        if let Some(file) = produce.latencies {
            command.args(["-l", "-A"]).arg(file);
        }
        add_options(&mut command, produce.options);
        let mut process = Process::start(NAME, command, log)?;
        // It ends with an error when records were lost, and still says how many were not.
        process.wait(Duration::MAX)?;
        let printed = process.printed();
        produced(&printed).ok_or_else(|| {
            format!(
                "{NAME} said nothing about what it produced:\n{}",
                process.last_lines()
            )
            .into()
        })
    }

    /// Starts consuming. The topic must be there.
    pub fn consume(&self, consume: &Consume<'_>, log: &Path) -> Result<Consumer, Failure> {
        let mut command = Command::new(&self.program);
        command.args([
            "-C",
            "-q",
            "-t",
            consume.topic,
            "-b",
            consume.bootstrap,
            "-o",
            "beginning",
            "-c",
            &consume.records.to_string(),
        ]);
        for partition in 0..consume.partitions {
            command.args(["-p", &partition.to_string()]);
        }
        if let Some(file) = consume.latencies {
            command.args(["-l", "-A"]).arg(file);
        }
        add_options(&mut command, consume.options);
        Ok(Consumer(Process::start(NAME, command, log)?))
    }
}

/// A consuming tool.
pub struct Consumer(Process);

impl Consumer {
    /// Waits until it has all records, or tells it to stop after `patience` and takes what it has.
    pub fn finish(mut self, patience: Duration) -> Result<Summary, Failure> {
        /// From SIGINT to the summary.
        const SUMMARY_MAX: Duration = Duration::from_secs(10);
        if self.0.wait(patience)?.is_none() {
            self.0.interrupt()?;
            self.0.wait(SUMMARY_MAX)?;
        }
        consumed(&self.0.printed()).ok_or_else(|| {
            format!(
                "{NAME} said nothing about what it consumed:\n{}",
                self.0.last_lines()
            )
            .into()
        })
    }
}

fn add_options(command: &mut Command, options: &[String]) {
    for option in options {
        command.args(["-X", option]);
    }
}

/// Reads `% N messages produced (B bytes), D delivered (offset O, F failed) in Tms: R msgs/s and
/// ...`; the last one counts.
fn produced(printed: &str) -> Option<Summary> {
    let line = printed
        .lines()
        .rfind(|line| line.contains(" messages produced ("))?;
    Some(Summary {
        records: before(line, " delivered (")?,
        failed: before(line, " failed)")?,
        milliseconds: before(line, "ms: ")?,
        records_per_second: before(line, " msgs/s")?,
    })
}

/// Reads `% N messages (B bytes) consumed in Tms: R msgs/s (M MB/s)`; the last one counts.
fn consumed(printed: &str) -> Option<Summary> {
    let line = printed
        .lines()
        .rfind(|line| line.contains(" bytes) consumed in "))?;
    Some(Summary {
        records: before(line, " messages (")?,
        failed: 0,
        milliseconds: before(line, "ms: ")?,
        records_per_second: before(line, " msgs/s")?,
    })
}

fn before(line: &str, mark: &str) -> Option<u64> {
    line.split_once(mark)?
        .0
        .rsplit([' ', '('])
        .next()?
        .parse()
        .ok()
}

/// Reads a file of `-A`, microseconds line by line, without the first records, in which connections
/// were made.
pub fn latencies(file: &Path, skipped: u64) -> Result<Latencies, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let microseconds = text
        .lines()
        .skip(skipped as usize)
        .map(str::parse::<u64>)
        .collect::<Result<Vec<_>, _>>();
    let microseconds =
        microseconds.map_err(|error| format!("{} of {NAME}: {error}", file.display()))?;
    Ok(Latencies::of(
        microseconds.into_iter().map(|value| value * 1000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_summary_of_a_producer_counts() {
        let printed = "% Sending 1000 messages of size 100 bytes\n\
            % 400 messages produced (40000 bytes), 300 delivered (offset 99, 0 failed) in 1000ms: 300 msgs/s and 0.03 MB/s, 0 produce failures, 100 in queue, no compression\n\
            % 12 backpressures for 1000 produce calls: 1.200% backpressure rate\n\
            % 1000 messages produced (100000 bytes), 998 delivered (offset 249, 2 failed) in 2500ms: 399 msgs/s and 0.04 MB/s, 12 produce failures, 0 in queue, no compression\n";
        assert_eq!(
            produced(printed),
            Some(Summary {
                records: 998,
                failed: 2,
                milliseconds: 2500,
                records_per_second: 399
            })
        );
        assert_eq!(produced("% ERROR CALLBACK: all brokers down\n"), None);
    }

    #[test]
    fn a_consumer_with_and_without_latencies_is_read() {
        let line = "% 5000 messages (5120000 bytes) consumed in 812ms: 6157 msgs/s (6.31 MB/s)";
        let summary = Some(Summary {
            records: 5000,
            failed: 0,
            milliseconds: 812,
            records_per_second: 6157,
        });
        assert_eq!(consumed(line), summary);
        assert_eq!(
            consumed(&format!(
                "{line}, latency curr/avg/lo/hi 0.10/0.20/0.05/9.00ms\n% Average application fetch latency: 3us\n"
            )),
            summary
        );
        assert_eq!(consumed("% 0 messages produced"), None);
    }

    #[test]
    fn latencies_are_microseconds_and_the_first_do_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("latencies");
        fs::write(&file, "90000\n100\n300\n").expect("a file");
        let read = latencies(&file, 1).expect("numbers");
        assert_eq!((read.count(), (read.max_ms() * 10.0).round()), (2, 3.0));
        fs::write(&file, "1\nx\n").expect("a file");
        assert!(
            latencies(&file, 0)
                .expect_err("no number")
                .to_string()
                .contains("latencies of rdkafka_performance")
        );
    }
}
