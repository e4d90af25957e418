//! The resources that processes have used, from /proc: CPU seconds of all their threads, memory;
//! and what files occupy.
//!
//! CPU comes in ticks of a hundredth of a second: good for runs of seconds, not for shorter ones.

use crate::failure::Failure;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// `st_blocks` counts in these, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// Bytes of a MiB.
pub const MIB: f64 = 1_048_576.0;

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
    /// The usage of several processes together.
    pub fn sum(pids: &[u32]) -> Result<Usage, Failure> {
        let mut sum = Usage {
            cpu_seconds: 0.0,
            resident_bytes: 0,
            anonymous_bytes: 0,
        };
        for &pid in pids {
            let one = Usage::of(pid)?;
            sum.cpu_seconds += one.cpu_seconds;
            sum.resident_bytes += one.resident_bytes;
            sum.anonymous_bytes += one.anonymous_bytes;
        }
        Ok(sum)
    }

    /// CPU seconds since an earlier moment.
    pub fn cpu_since(&self, before: &Usage) -> f64 {
        self.cpu_seconds - before.cpu_seconds
    }

    pub fn resident_mib(&self) -> f64 {
        self.resident_bytes as f64 / MIB
    }

    /// Reads them.
    pub fn of(pid: u32) -> Result<Usage, Failure> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let ticks =
            cpu_ticks(&stat).ok_or_else(|| format!("no CPU time in /proc/{pid}/stat: {stat}"))?;
        let bytes = |field| {
            memory_bytes(&status, field).ok_or_else(|| format!("no {field} in /proc/{pid}/status"))
        };
        Ok(Usage {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: bytes("VmRSS:")?,
            anonymous_bytes: bytes("RssAnon:")?,
        })
    }
}

/// `Anonymous` of smaps_rollup: walked page by page, so exact where `Usage` is a counter that lags.
pub fn anonymous_bytes(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    memory_bytes(&text, "Anonymous:").ok_or_else(|| format!("no Anonymous in {path}").into())
}

/// The bytes that files and folders below `folder` occupy, as `du` counts; those that vanish
/// meanwhile are passed over.
pub fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| {
        let Ok(metadata) = entry.metadata() else {
            return 0;
        };
        let below = if metadata.is_dir() {
            disk_bytes(&entry.path())
        } else {
            0
        };
        metadata.blocks() * BLOCK_BYTES + below
    };
    entries.flatten().map(of).sum()
}

/// Fields 14 and 15 of proc_pid_stat(5). The second field is a name in parentheses that may itself
/// hold spaces and parentheses.
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
        let us = std::process::id();
        let usage = Usage::of(us).expect("our own files");
        assert!(usage.resident_bytes >= usage.anonymous_bytes && usage.anonymous_bytes > 0);
        assert!(anonymous_bytes(us).expect("our own pages") > 0);
        assert!(Usage::sum(&[us, us]).expect("twice").resident_bytes > usage.resident_bytes);
    }

    #[test]
    fn a_hole_occupies_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let hole = fs::File::create(folder.path().join("hole")).expect("a file");
        hole.set_len(1 << 20).expect("a hole");
        fs::create_dir(folder.path().join("below")).expect("a folder");
        fs::write(folder.path().join("below/data"), vec![1; 1 << 16]).expect("a file");
        let found = disk_bytes(folder.path());
        assert!((1 << 16..1 << 19).contains(&found), "{found}");
    }
}
