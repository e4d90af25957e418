//! `rdkafka_performance`, librdkafka's own load tool: built from the sources that the `rdkafka-sys` crate brings, run, and read.
//!
//! Nobody here wrote it, so its figures are comparable with those of others. What it cannot do is in `load`.

use crate::{Failure, place, process::output};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where build.rs found librdkafka: a copy of its tree in cargo's target folder, libraries built.
const TREE: &str = env!("LIBRDKAFKA_TREE");

/// The built tool.
pub struct PerfTool {
    program: PathBuf,
    /// Of librdkafka.
    pub version: String,
}

/// What it is to produce.
pub struct Produce<'a> {
    pub bootstrap: &'a str,
    pub topic: &'a str,
    pub records: u32,
    pub record_bytes: u32,
    pub acks: &'a str,
    /// `KEY=VALUE` as librdkafka knows them.
    pub options: &'a [String],
}

/// What it said at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Produced {
    pub delivered: u64,
    pub failed: u64,
    /// From the first record handed over to the last one acknowledged; connecting is part of it.
    pub milliseconds: u64,
    pub records_per_second: u64,
}

impl PerfTool {
    /// Builds it into `target/bench`, unless it is there and newer than its library.
    pub fn build() -> Result<PerfTool, Failure> {
        let program = place::bench()?.join("rdkafka_performance");
        let version = rdkafka::util::get_rdkafka_version().1;
        if !newer(&program, &Path::new(TREE).join("src/librdkafka.a")) {
            eprintln!("building rdkafka_performance {version}");
            let examples = Path::new(TREE).join("examples");
            output("make rdkafka_performance", Command::new("make").arg("-C").arg(&examples).arg("rdkafka_performance"))?;
            fs::copy(examples.join("rdkafka_performance"), &program)
                .map_err(|error| format!("cannot write {}: {error}", program.display()))?;
        }
        Ok(PerfTool { program, version })
    }

    /// Runs it to its end.
    pub fn produce(&self, produce: &Produce<'_>) -> Result<Produced, Failure> {
        let mut command = Command::new(&self.program);
        command.args(["-P", "-q", "-t", produce.topic, "-b", produce.bootstrap, "-a", produce.acks]);
        command.args(["-s", &produce.record_bytes.to_string(), "-c", &produce.records.to_string()]);
        for option in produce.options {
            command.args(["-X", option]);
        }
        let printed = output("rdkafka_performance", &mut command)?;
        last_summary(&printed).ok_or_else(|| format!("rdkafka_performance said nothing about its run:\n{printed}").into())
    }
}

fn newer(one: &Path, other: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    matches!((changed(one), changed(other)), (Some(one), Some(other)) if one >= other)
}

/// Reads `% N messages produced (B bytes), D delivered (offset O, F failed) in Tms: R msgs/s and ...`; the last one counts.
fn last_summary(printed: &str) -> Option<Produced> {
    let line = printed.lines().rfind(|line| line.contains(" messages produced ("))?;
    let before = |mark: &str| line.split(mark).next()?.rsplit([' ', '(']).next()?.parse().ok();
    Some(Produced {
        delivered: before(" delivered (")?,
        failed: before(" failed)")?,
        milliseconds: before("ms: ")?,
        records_per_second: before(" msgs/s")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_summary_counts() {
        let printed = "% Sending 1000 messages of size 100 bytes\n\
            % 400 messages produced (40000 bytes), 300 delivered (offset 99, 0 failed) in 1000ms: 300 msgs/s and 0.03 MB/s, 0 produce failures, 100 in queue, no compression\n\
            % 12 backpressures for 1000 produce calls: 1.200% backpressure rate\n\
            % 1000 messages produced (100000 bytes), 998 delivered (offset 249, 2 failed) in 2500ms: 399 msgs/s and 0.04 MB/s, 12 produce failures, 0 in queue, no compression\n";
        assert_eq!(last_summary(printed), Some(Produced { delivered: 998, failed: 2, milliseconds: 2500, records_per_second: 399 }));
        assert_eq!(last_summary("% ERROR CALLBACK: all brokers down\n"), None);
    }
}
