//! Records of clients and sources are looked at down to the last one: nothing is acknowledged that
//! no consumer can read, and no header is believed that its records contradict.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::{forge::*, *};
use gnomon_partition::{
    AppendError, Begun, ByTime, Handle, Isolation, LightWork, RecordValidation, Role, Settings,
};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchError, BatchView, Codec},
    ids::Offset,
};
use gnomon_storage::LogOptions;

#[tokio::test(start_paused = true)]
async fn batches_that_no_consumer_can_read_are_refused() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    let shapes = unreadable();
    assert!(shapes.len() > 80);
    let taken: Vec<String> = shapes
        .into_iter()
        .filter_map(
            |(shape, batch)| match handle.appender().append(batch, CLIENT, NOW) {
                Ok(_) => Some(shape),
                Err(AppendError::Corrupt(_)) => None,
                Err(other) => panic!("{shape}: {other}"),
            },
        )
        .collect();
    assert_eq!(taken, Vec::<String>::new());
    assert_eq!(handle.offsets().end, 0, "nothing was appended");
}

fn found(handle: &Handle, timestamp: i64) -> Option<(Offset, i64)> {
    handle
        .reader()
        .find_by_time_here(ByTime::AtOrAfter(timestamp), Isolation::ReadUncommitted)
        .unwrap()
        .map(|found| (found.offset, found.timestamp_ms))
}

fn newest(handle: &Handle) -> Option<(Offset, i64)> {
    handle
        .reader()
        .find_by_time_here(ByTime::Newest, Isolation::ReadUncommitted)
        .unwrap()
        .map(|found| (found.offset, found.timestamp_ms))
}

/// Ten records at `NOW` and the nine milliseconds after it, in a batch whose header says `claimed`.
fn claims(codec: Codec, claimed: i64) -> BatchView {
    let honest = filled(BatchBuilder::new(NOW).codec(codec), 10, 0);
    with_max_timestamp(&honest, claimed)
}

#[tokio::test(start_paused = true)]
async fn the_maximum_timestamp_is_that_of_the_records() {
    for codec in Codec::ALL {
        for claimed in [-1, 0, NOW - 5_000, NOW + 3, NOW + 60_000] {
            let disk = disk();
            let handle = open(
                &disk,
                Role::leader(3),
                Settings {
                    retention_ms: Some(1_000),
                    ..settings()
                },
            );
            append(&handle, claims(codec, claimed));
            handle.control().flush().await.unwrap();
            let stored = &batches(&handle, 0, Isolation::ReadUncommitted)[0];
            let case = format!("{codec:?}, claims {claimed}");
            assert_eq!(stored.header().max_timestamp, NOW + 9, "{case}");
            assert_eq!(found(&handle, NOW + 7), Some((7, NOW + 7)), "{case}");
            assert_eq!(newest(&handle), Some((9, NOW + 9)), "{case}");
            assert_eq!(
                handle.control().apply_retention(NOW + 500).unwrap(),
                None,
                "{case}"
            );
            assert_eq!(
                handle.control().apply_retention(NOW + 2_000).unwrap(),
                Some(10),
                "{case}"
            );
        }
    }
}

fn stored(handle: &Handle) -> Vec<BatchView> {
    batches(handle, 0, Isolation::LogEnd)
}

async fn copy(handle: &Handle, batches: Vec<BatchView>) {
    let end = batches.last().unwrap().header().next_offset();
    let looked = handle.copier().look_at_copies(batches).await;
    assert_eq!(looked.broken, None);
    handle
        .copier()
        .append_at(gnomon_partition::Fence(1), looked.right, bounds(0, end))
        .unwrap();
    handle.control().flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn copies_stay_as_they_are_and_are_found_by_the_times_of_their_records() {
    for codec in Codec::ALL {
        for claimed in [-1, 0, NOW - 5_000] {
            let case = format!("{codec:?}, claims {claimed}");
            let disk = disk();
            let handle = open(&disk, shadow(1), settings());
            let sent = [
                copied(0, 3, claims(codec, claimed)),
                copied(10, 3, plain(5, 1)),
            ];
            copy(&handle, sent.to_vec()).await;
            drop(handle);
            for restart in ["kill", "power loss"] {
                let retaining = Settings {
                    retention_ms: Some(1_000),
                    ..settings()
                };
                let handle = match restart {
                    "kill" => open(&disk, Role::leader(4), retaining),
                    _ => open_after_power_loss(&disk, Role::leader(4), retaining),
                };
                let case = format!("{case}, after a {restart}");
                for (stored, sent) in stored(&handle).iter().zip(&sent) {
                    assert_eq!(stored.bytes(), sent.bytes(), "{case}: byte for byte");
                }
                assert_eq!(found(&handle, NOW + 7), Some((7, NOW + 7)), "{case}");
                assert_eq!(newest(&handle), Some((9, NOW + 9)), "{case}");
                assert_eq!(
                    handle.control().apply_retention(NOW + 500).unwrap(),
                    None,
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_sends_what_no_consumer_can_read_is_told_so() {
    let disk = disk();
    let handle = open(&disk, shadow(1), settings());
    for (shape, broken) in unreadable() {
        let sent = vec![copied(0, 3, plain(5, 1)), copied(5, 3, broken.clone())];
        let looked = handle.copier().look_at_copies(sent).await;
        assert_eq!(looked.right.len(), 1, "{shape}: what is before it is right");
        let broken = looked.broken.expect(&shape);
        assert_eq!(broken.offset, 5, "{shape}");
        assert!(broken.to_string().contains("offset 5"), "{broken}");
    }
    let trusting = open(
        &common::disk(),
        shadow(1),
        Settings {
            record_validation: RecordValidation::Header,
            ..settings()
        },
    );
    for (shape, broken) in unreadable() {
        let sent = vec![broken];
        let looked = trusting.copier().look_at_copies(sent).await;
        assert_eq!((looked.right.len(), looked.broken), (1, None), "{shape}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_compaction_and_transactions_leave_is_right() {
    let disk = disk();
    let handle = open(
        &disk,
        shadow(1),
        Settings {
            compacted: true,
            ..settings()
        },
    );
    let mut gaps = BatchBuilder::new(NOW)
        .codec(Codec::Zstd)
        .last_offset_delta(30);
    gaps.push_at(3, NOW, Some(b"k"), None, &[]);
    gaps.push_at(17, NOW + 1, Some(b"l"), Some(b"v"), &[]);
    let emptied = BatchBuilder::new(NOW)
        .producer(7, 0, 5)
        .last_offset_delta(4);
    let sent = vec![
        copied(0, 3, view(gaps.build().unwrap())),
        copied(31, 3, view(emptied.build().unwrap())),
        copied(40, 3, marker(true, 7, 0, 1)),
    ];
    copy(&handle, sent.clone()).await;
    let bytes = |views: &[BatchView]| views.iter().map(|v| v.bytes().clone()).collect::<Vec<_>>();
    assert_eq!(bytes(&stored(&handle)), bytes(&sent));
}

/// A batch that is small as it is sent, and large unpacked.
fn swollen(codec: Codec, unpacked: usize) -> BatchView {
    let value = vec![0; unpacked];
    let builder = BatchBuilder::new(NOW).codec(codec);
    view(
        builder
            .record(NOW + 5, Some(b"k"), Some(&value), &[])
            .build()
            .unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn much_work_is_not_done_on_an_async_worker() {
    let disk = disk();
    let settings = Settings {
        unpacked_bytes_max: 16 << 20,
        log: LogOptions::default(),
        ..settings()
    };
    let handle = open(&disk, Role::leader(3), settings);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut light = LightWork::default();
        let begun = handle
            .appender()
            .begin_append(swollen(codec, 100), CLIENT, NOW, &mut light);
        assert!(matches!(begun, Begun::Done(Ok(_))), "{codec:?}");
        let begun =
            handle
                .appender()
                .begin_append(swollen(codec, 8 << 20), CLIENT, NOW, &mut light);
        let Begun::Elsewhere(batch) = begun else {
            panic!("{codec:?}: 8 MiB are unpacked here")
        };
        handle
            .appender()
            .append_elsewhere(batch, CLIENT, NOW)
            .await
            .unwrap();
        let begun =
            handle
                .appender()
                .begin_append(swollen(codec, 17 << 20), CLIENT, NOW, &mut light);
        let Begun::Elsewhere(bomb) = begun else {
            panic!("{codec:?}: 17 MiB are unpacked here")
        };
        let refused = handle.appender().append_elsewhere(bomb, CLIENT, NOW).await;
        assert!(
            matches!(
                refused,
                Err(AppendError::Corrupt(
                    BatchError::DecompressedTooLarge { .. }
                ))
            ),
            "{codec:?}: {refused:?}"
        );
    }
    assert_eq!(handle.offsets().end, 8);
    handle.control().flush().await.unwrap();
    for wanted in [ByTime::AtOrAfter(NOW + 1), ByTime::Newest] {
        let found = handle
            .reader()
            .find_by_time(wanted, Isolation::ReadUncommitted)
            .await;
        assert_eq!(found.unwrap().unwrap().unwrap().offset, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_may_not_do_much_work_in_many_small_parts() {
    let disk = disk();
    let handle = open(
        &disk,
        Role::leader(3),
        Settings {
            log: LogOptions::default(),
            ..settings()
        },
    );
    let mut light = LightWork::default();
    let here = (0..100)
        .take_while(|_| {
            let begun = handle.appender().begin_append(
                swollen(Codec::Zstd, 1 << 20),
                CLIENT,
                NOW,
                &mut light,
            );
            matches!(begun, Begun::Done(Ok(_)))
        })
        .count();
    assert!((1..10).contains(&here), "{here} MiB were unpacked here");
}

/// A batch that is refused at its end was unpacked like any other.
#[tokio::test(start_paused = true)]
async fn what_refused_batches_cost_counts_too() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    let mut light = LightWork::default();
    let broken = || with_count(&swollen(Codec::Zstd, 1 << 20), 2);
    let here = (0..100)
        .take_while(|_| {
            let begun = handle
                .appender()
                .begin_append(broken(), CLIENT, NOW, &mut light);
            matches!(begun, Begun::Done(Err(_)))
        })
        .count();
    assert!((1..10).contains(&here), "{here} MiB were unpacked here");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_trusts_its_writers_looks_at_what_cannot_be_right_only() {
    let disk = disk();
    let handle = open(
        &disk,
        Role::leader(3),
        Settings {
            record_validation: RecordValidation::Header,
            ..settings()
        },
    );
    append(&handle, with_count(&plain(3, 0), 4));
    append(&handle, claims(Codec::Gzip, -1));
    assert_eq!(stored(&handle)[1].header().max_timestamp, NOW + 9);
}

#[tokio::test(start_paused = true)]
async fn times_outside_of_the_window_are_seen_behind_a_header_that_hides_them() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    let far = BatchBuilder::new(NOW).record(NOW, None, None, &[]).record(
        NOW + 4_000_000,
        None,
        None,
        &[],
    );
    let hidden = with_max_timestamp(&view(far.build().unwrap()), NOW);
    assert!(matches!(
        handle.appender().append(hidden, CLIENT, NOW),
        Err(AppendError::InvalidTimestamp { timestamp, .. }) if timestamp == NOW + 4_000_000
    ));
}
