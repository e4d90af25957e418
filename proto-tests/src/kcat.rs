//! kcat as a user runs it: command line in, text out.

use crate::process::{self, CommandResult};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn kcat(bootstrap: &str) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", bootstrap, "-X", "broker.address.family=v4"]);
    command
}

/// `kcat -P`: one message a line of `lines`, its key before a tab when there is one. `more` are
/// further arguments.
pub fn produce(bootstrap: &str, topic: &str, lines: &str, more: &[&str]) -> CommandResult {
    let mut command = kcat(bootstrap);
    command.args(["-P", "-t", topic, "-K", "\t"]).args(more);
    process::run(command, Some(lines.as_bytes()), PATIENCE)
}

/// `kcat -C -o beginning -e` with the offset, timestamp, key and value of each record.
pub fn consume(bootstrap: &str, topic: &str, more: &[&str]) -> CommandResult {
    let mut command = kcat(bootstrap);
    command
        .args([
            "-C",
            "-q",
            "-t",
            topic,
            "-o",
            "beginning",
            "-e",
            "-f",
            "%p %o %T %k %s\n",
        ])
        .args(more);
    process::run(command, None, PATIENCE)
}

/// `kcat -G`: a balanced member until `count` messages have come.
pub fn group(bootstrap: &str, group: &str, topics: &[&str], count: usize) -> CommandResult {
    let mut command = kcat(bootstrap);
    let count = count.to_string();
    command
        .args([
            "-q",
            "-X",
            "auto.offset.reset=earliest",
            "-f",
            "%t %p %o %k %s\n",
            "-c",
            &count,
            "-G",
            group,
        ])
        .args(topics);
    process::run(command, None, PATIENCE)
}

/// `kcat -L`: what the site says of itself.
pub fn list(bootstrap: &str, topic: Option<&str>) -> CommandResult {
    let mut command = kcat(bootstrap);
    command.arg("-L");
    if let Some(topic) = topic {
        command.args(["-t", topic]);
    }
    process::run(command, None, PATIENCE)
}

/// `kcat -Q -t topic:partition:timestamp`: the offset for a time.
pub fn query(bootstrap: &str, topic: &str, partition: i32, timestamp: i64) -> CommandResult {
    let mut command = kcat(bootstrap);
    command.args(["-Q", "-t", &format!("{topic}:{partition}:{timestamp}")]);
    process::run(command, None, PATIENCE)
}
