//! Threads against each other: writers and a change of role, whose cut is exact in either order;
//! checkpoints and retention.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{
    AppendAtError, AppendError, Blocking, Env, Fence, Flusher, Handle, Role, Settings,
};
use gnomon_storage::{Boot, Disk, read_checkpoint};
use std::{sync::Arc, thread, time::Duration};

fn pooled() -> Env {
    Env {
        disk: Arc::new(disk()),
        flusher: Flusher::start(Blocking::Pool { threads: 2 }).unwrap(),
        boot: Boot::Same,
        troubles: Default::default(),
        reserved: Default::default(),
    }
}

#[test]
fn what_was_appended_lies_below_the_cut_and_nothing_comes_after() {
    for round in 0..20 {
        let handle = Handle::open(&pooled(), dir(), id(), Role::leader(1), settings()).unwrap();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let mut last = -1;
                    for sequence in 0.. {
                        match handle.appender().append(
                            idempotent(writer, 0, sequence, 1),
                            CLIENT,
                            NOW,
                        ) {
                            Ok(appended) => last = appended.last_offset,
                            Err(AppendError::Refused(_)) => return last,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    last
                })
            })
            .collect();
        while handle.offsets().end < 20 + round {
            thread::yield_now();
        }
        let cut = handle.control().set_role(shadow(1));
        let lasts: Vec<_> = writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect();
        assert!(
            lasts.iter().all(|last| *last < cut.end),
            "{lasts:?} and the cut {cut:?}"
        );
        assert_eq!(handle.offsets().end, cut.end);
    }
}

#[test]
fn a_copy_races_with_its_fence() {
    for round in 0..20 {
        let handle = Handle::open(&pooled(), dir(), id(), shadow(1), settings()).unwrap();
        let copier = thread::spawn({
            let handle = handle.clone();
            move || {
                let mut end = 0;
                loop {
                    match handle.copier().append_at(
                        Fence(1),
                        vec![copied(end, 1, plain(1, 0))],
                        bounds(0, end + 1),
                    ) {
                        Ok(copied) => end = copied.end,
                        Err(AppendAtError::Fenced(_)) => return end,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        });
        while handle.offsets().end < 10 + round {
            thread::yield_now();
        }
        let cut = handle.control().set_role(failing_over(9));
        assert_eq!(
            copier.join().unwrap(),
            cut.end,
            "every copy that was admitted lies below the cut"
        );
        assert_eq!(handle.offsets().end, cut.end);
    }
}

/// One checkpoint hangs at the disk while retention empties the log, which writes another one.
/// Whichever of the two stays on the disk, the snapshot that it names is there, and a producer that
/// repeats a batch after a restart is recognised.
#[test]
fn a_checkpoint_that_is_overtaken_does_not_remove_the_snapshot_that_the_newer_one_names() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let disk = disk();
        let settings = Settings {
            retention_ms: Some(1),
            ..settings()
        };
        let handle = open(&disk, Role::leader(1), settings.clone());
        append(&handle, idempotent(7, 0, 0, 3));
        handle.control().flush().await.unwrap();
        handle.control().checkpoint().unwrap();
        append(&handle, idempotent(7, 0, 3, 3));
        handle.control().flush().await.unwrap();

        let temporary = dir().join("checkpoint.tmp");
        disk.hold_syncs(Some(temporary.clone()));
        let hangs = thread::spawn({
            let handle = handle.clone();
            move || handle.control().checkpoint()
        });
        while !disk.exists(&temporary).unwrap() {
            thread::yield_now();
        }
        let retains = thread::spawn({
            let handle = handle.clone();
            move || handle.control().apply_retention(NOW + 1_000)
        });
        // Until it has the writer's lock, and stands after the one that hangs: too short a pause
        // would miss the fault, and never report one that is not there.
        thread::sleep(Duration::from_millis(200));
        // The checkpoint with which retention makes up for what it took away must not hide it.
        disk.hold_syncs(Some(dir().join(format!("{:020}.snapshot.tmp", 6))));
        hangs.join().unwrap().unwrap();
        let named = read_checkpoint(&disk, &dir()).unwrap().unwrap().extra;
        let snapshot = format!("{:020}.snapshot", named.producer_snapshot_at);
        assert!(
            disk.exists(&dir().join(&snapshot)).unwrap(),
            "the checkpoint names {snapshot}, which is not there"
        );
        disk.hold_syncs(None);
        retains.join().unwrap().unwrap();
        assert_eq!(handle.offsets().log_start, 6);
        drop(handle);
        let handle = open_after_power_loss(&disk, Role::leader(2), settings);
        let again = handle
            .appender()
            .append(idempotent(7, 0, 3, 3), CLIENT, NOW)
            .unwrap();
        assert!(again.duplicate, "{again:?}");
    });
}
