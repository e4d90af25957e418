//! A process in which something else has used up the file handles: logs that are open are written
//! and synced, and more logs than there are handles take turns. One test, for it lowers the limit
//! of its process.

mod common;

use common::{batch, small_segments};
use gnomon_storage::{Boot, CheckpointExtra, Disk, Log, RealDisk};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fs::File, sync::Arc};

/// Files that the process may have open.
const LIMIT: u64 = 64;

fn flush(log: &mut Log) {
    let point = log.flush_point();
    point.sync().expect("a sync finds the handle that it needs");
    log.flushed_to(&point);
}

#[test]
fn logs_go_on_when_others_have_used_up_the_file_handles() {
    let folder = tempfile::tempdir().expect("a folder");
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(LIMIT),
            ..getrlimit(Resource::Nofile)
        },
    )
    .expect("a soft limit may be lowered");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let create = |n: usize| {
        let dir = folder.path().join(n.to_string());
        Log::create(disk.clone(), dir, small_segments(), 0)
    };
    let append = |log: &mut Log| {
        let end = log.end();
        log.append(&[batch(end, 1, 150, end as u64)])
            .expect("a log that is there is written");
    };
    // More logs than handles, all of them written and none of them synced.
    let mut logs: Vec<Log> = (0..150)
        .map(|n| {
            let mut log = create(n).expect("made");
            append(&mut log);
            log
        })
        .collect();
    let mut others = Vec::new();
    let none_left = loop {
        match File::open("/dev/null") {
            Ok(file) => others.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(none_left.raw_os_error(), Some(24), "{none_left}");
    assert!(others.len() > 4, "{} handles were left", others.len());

    for log in &mut logs {
        append(log);
        flush(log);
        log.checkpoint(CheckpointExtra::default())
            .expect("a checkpoint finds the handles that it needs");
    }
    // New names need their folder synced, and old files are opened again.
    for log in &mut logs {
        while log.segments().len() < 3 {
            append(log);
        }
        flush(log);
        let read = log.reader().read(0, 1, 1 << 10, true).expect("readable");
        assert!(read.bytes().expect("read").len() > 150);
    }
    drop(create(1_000).expect("a new log is made"));
    disk.write_atomic(&folder.path().join("small"), b"content")
        .expect("written");
    assert!(disk.list(folder.path()).expect("listed").len() > 150);
    drop(others);
    let ends: Vec<_> = logs.iter().map(Log::end).collect();
    drop(logs);
    for (n, end) in ends.into_iter().enumerate() {
        let dir = folder.path().join(n.to_string());
        let opened = Log::open(disk.clone(), dir, small_segments(), Boot::Same).expect("opened");
        assert_eq!(opened.log.end(), end);
    }
}
