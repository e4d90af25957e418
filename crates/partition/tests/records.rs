//! What clients and sources write is looked at down to the last record: nothing is acknowledged that
//! no consumer can read, and no header is believed that its records contradict.

mod common;

use common::{forge::*, *};
use gnomon_partition::{AppendError, Handle, Isolation, Role, Settings};
use gnomon_protocol::{
    batch::{BatchBuilder, BatchView, Codec},
    ids::Offset,
};

#[tokio::test(start_paused = true)]
async fn batches_that_no_consumer_can_read_are_refused() {
    let disk = disk();
    let handle = open(&disk, Role::leader(3), settings());
    let shapes = unreadable();
    assert!(shapes.len() > 80);
    let taken: Vec<String> = shapes
        .into_iter()
        .filter_map(|(shape, batch)| match handle.append(batch, CLIENT, NOW) {
            Ok(_) => Some(shape),
            Err(AppendError::Corrupt(_)) => None,
            Err(other) => panic!("{shape}: {other}"),
        })
        .collect();
    assert_eq!(taken, Vec::<String>::new());
    assert_eq!(handle.offsets().end, 0, "nothing was appended");
}

fn found(handle: &Handle, timestamp: i64) -> Option<(Offset, i64)> {
    handle
        .offset_for_timestamp(timestamp, Isolation::ReadUncommitted)
        .unwrap()
        .map(|found| (found.offset, found.timestamp_ms))
}

fn newest(handle: &Handle) -> Option<(Offset, i64)> {
    handle
        .offset_of_max_timestamp(Isolation::ReadUncommitted)
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
            handle.flush().await.unwrap();
            let stored = &batches(&handle, 0, Isolation::ReadUncommitted)[0];
            let case = format!("{codec:?}, claims {claimed}");
            assert_eq!(stored.header().max_timestamp, NOW + 9, "{case}");
            assert_eq!(found(&handle, NOW + 7), Some((7, NOW + 7)), "{case}");
            assert_eq!(newest(&handle), Some((9, NOW + 9)), "{case}");
            assert_eq!(handle.apply_retention(NOW + 500).unwrap(), None, "{case}");
            assert_eq!(
                handle.apply_retention(NOW + 2_000).unwrap(),
                Some(10),
                "{case}"
            );
        }
    }
}
