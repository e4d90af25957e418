//! Writers against a change of role: the cut is exact, whoever wins.

mod common;

use common::*;
use gnomon_partition::{AppendAtError, AppendError, Blocking, Env, Fence, Flusher, Handle, Role};
use gnomon_storage::Boot;
use std::{sync::Arc, thread};

fn pooled() -> Env {
    Env {
        disk: Arc::new(disk()),
        flusher: Flusher::start(Blocking::Pool { threads: 2 }).unwrap(),
        boot: Boot::Same,
        troubles: Default::default(),
        growing: Default::default(),
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
                        match handle.append(idempotent(writer, 0, sequence, 1), CLIENT, NOW) {
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
        let cut = handle.set_role(shadow(1));
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
                    match handle.append_at(
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
        let cut = handle.set_role(failing_over(9));
        assert_eq!(
            copier.join().unwrap(),
            cut.end,
            "every copy that was admitted lies below the cut"
        );
        assert_eq!(handle.offsets().end, cut.end);
    }
}
