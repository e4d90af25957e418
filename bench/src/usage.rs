//! What a process has used, from /proc: CPU seconds of all its threads, resident memory.
//!
//! CPU comes in ticks of a hundredth of a second: good for runs of seconds, not for shorter ones.

use crate::Failure;
use std::fs;

/// Counters of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu_seconds: f64,
    /// `VmRSS`: files mapped by it included.
    pub resident_bytes: u64,
    /// `RssAnon`: what it holds itself.
    pub anonymous_bytes: u64,
}

impl Usage {
    /// Reads them.
    pub fn of(pid: u32) -> Result<Usage, Failure> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let ticks = cpu_ticks(&stat).ok_or_else(|| format!("no CPU time in /proc/{pid}/stat: {stat}"))?;
        let bytes = |field| memory_bytes(&status, field).ok_or_else(|| format!("no {field} in /proc/{pid}/status"));
        Ok(Usage {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: bytes("VmRSS:")?,
            anonymous_bytes: bytes("RssAnon:")?,
        })
    }
}

/// Fields 14 and 15 of proc_pid_stat(5). The second field is a name in parentheses that may itself hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn memory_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 500 0 0 0 31 11 0 0 20 0 9 0 100 1000 20 0";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (cut off"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t     512 kB\n";
        assert_eq!(memory_bytes(status, "VmRSS:"), Some(2_097_152));
        assert_eq!(memory_bytes(status, "RssAnon:"), Some(524_288));
        assert_eq!(memory_bytes(status, "RssFile:"), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        let usage = Usage::of(std::process::id()).expect("our own files");
        assert!(usage.resident_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0);
    }
}
