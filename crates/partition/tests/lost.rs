//! Files that somebody removed: the partition takes no writes as if nothing had been, says what is
//! missing, and goes on once the files are back or the loss is accepted. What the partition removes
//! itself is never taken for a loss.

mod common;

use common::*;
use gnomon_partition::{
    AppendError, Fence, Handle, Isolation, Lost, OpenError, ReadError, ReopenError, Role, Settings,
    presence,
};
use gnomon_protocol::ids::BatchEpoch;
use gnomon_storage::{Disk, MemDisk};
use std::{path::PathBuf, sync::Arc};

/// Twelve batches of twenty records in several segments, all durable, and a checkpoint.
async fn written(disk: &MemDisk) -> Handle {
    let handle = open(disk, Role::leader(3), settings());
    for tag in 0..12 {
        append(&handle, plain(20, tag));
    }
    handle.control().flush().await.expect("the disk works");
    handle.control().checkpoint().expect("the disk works");
    handle
}

fn try_open(disk: &MemDisk, epoch: i32) -> Result<Handle, OpenError> {
    Handle::open(&env(disk), dir(), id(), Role::leader(epoch), settings())
}

/// The segments' files, oldest first.
fn segments(disk: &MemDisk) -> Vec<PathBuf> {
    let names = disk.list(&dir()).expect("listed");
    names
        .iter()
        .filter(|name| name.ends_with(".log"))
        .map(|name| dir().join(name))
        .collect()
}

fn accept(disk: &MemDisk) -> i64 {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    presence::accept_loss(&disk, &dir()).expect("accepted")
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_folder_is_gone_takes_no_writes_until_the_loss_is_accepted() {
    let disk = disk();
    let handle = written(&disk).await;
    handle.control().close().await.expect("closed");
    disk.remove_dir_all(&dir()).expect("removed");
    for _ in 0..2 {
        let refused = try_open(&disk, 4).expect_err("its files are lost");
        let text = refused.to_string();
        assert!(
            matches!(refused, OpenError::Lost { .. }) && text.contains("/data/topics/t-0"),
            "{text}"
        );
        assert!(!disk.exists(&dir()).unwrap(), "nothing was made");
    }
    assert_eq!(accept(&disk), 0);
    let handle = try_open(&disk, 4).expect("opened");
    assert_eq!(append(&handle, plain(1, 0)).base_offset, 0);
}

#[tokio::test(start_paused = true)]
async fn offsets_are_not_used_again_after_all_segments_were_lost() {
    let disk = disk();
    let handle = written(&disk).await;
    handle.control().close().await.expect("closed");
    for path in segments(&disk) {
        disk.remove_file(&path).expect("removed");
    }
    let refused = try_open(&disk, 4).expect_err("its files are lost");
    assert!(
        refused.to_string().contains("offsets 0 to 240"),
        "{refused}"
    );
    assert_eq!(accept(&disk), 240);
    let handle = try_open(&disk, 4).expect("opened");
    assert_eq!(
        (handle.offsets().log_start, handle.latest_epoch()),
        (240, BatchEpoch(3))
    );
    assert_eq!(append(&handle, plain(1, 0)).base_offset, 240);
}

#[tokio::test(start_paused = true)]
async fn a_log_of_an_earlier_version_is_marked_when_it_is_opened() {
    let disk = disk();
    written(&disk)
        .await
        .control()
        .close()
        .await
        .expect("closed");
    disk.remove_file(&PathBuf::from("/data/topics/t-0.written"))
        .expect("a mark");
    try_open(&disk, 4)
        .expect("opened")
        .control()
        .close()
        .await
        .unwrap();
    disk.remove_dir_all(&dir()).expect("removed");
    assert!(matches!(try_open(&disk, 5), Err(OpenError::Lost { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_never_written_or_was_deleted_has_lost_nothing() {
    let disk = disk();
    drop(try_open(&disk, 1).expect("opened"));
    let handle = try_open(&disk, 1).expect("opened");
    append(&handle, plain(1, 0));
    handle.control().delete().expect("deleted");
    let handle = try_open(&disk, 2).expect("opened");
    assert_eq!(append(&handle, plain(1, 0)).base_offset, 0);
}

/// A copy that begins again at another offset removes its files; the power goes wherever it likes.
#[tokio::test(start_paused = true)]
async fn a_copy_that_begins_again_has_lost_nothing_wherever_the_power_goes() {
    let begin_again = |handle: &Handle| {
        let restarted = handle.copier().restart_at(Fence(1), 500);
        restarted.is_ok() && handle.copier().begin_copy_at(Fence(1), 500).is_ok()
    };
    let copy = |disk: &MemDisk| {
        let handle = open(disk, shadow(1), settings());
        let batch = copied(0, 1, plain(5, 0));
        let appended = handle
            .copier()
            .append_at(Fence(1), vec![batch], bounds(0, 5));
        appended.is_ok().then_some(handle)
    };
    let whole = disk();
    let handle = copy(&whole).expect("copied");
    assert!(begin_again(&handle));
    let calls = whole.calls();
    for (at, seed) in (0..calls).flat_map(|at| (0..12).map(move |seed| (at, seed))) {
        let disk = disk();
        disk.fail_calls(at..u64::MAX);
        if let Some(handle) = copy(&disk) {
            begin_again(&handle);
        }
        disk.power_loss(seed);
        let opened = Handle::open(&env(&disk), dir(), id(), shadow(2), settings());
        assert!(
            !matches!(opened, Err(OpenError::Lost { .. })),
            "call {at} and all after it fail, power loss {seed}: {:?}",
            opened.err()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_in_a_file_that_was_removed_while_it_is_written() {
    let disk = disk();
    let handle = written(&disk).await;
    append(&handle, plain(1, 99));
    let active = segments(&disk).pop().expect("a segment");
    disk.remove_file(&active).expect("removed");
    let flushed = handle.control().flush().await;
    let Err(Lost::Closed { why }) = flushed else {
        panic!("{flushed:?}");
    };
    assert!(why.contains(&active.display().to_string()), "{why}");
    let refused = handle.appender().append(plain(1, 0), CLIENT, NOW);
    assert!(matches!(refused, Err(AppendError::Closed { .. })));

    // What is left is served, and the partition goes on after what was durable.
    handle
        .control()
        .try_disk()
        .expect("there is something left");
    let successor = handle
        .control()
        .reopen(Role::leader(4), settings())
        .expect("opened");
    handle.control().succeeded_by(&successor);
    assert_eq!(append(&successor, plain(1, 0)).base_offset, 240);
    let lost: i64 = successor
        .control()
        .health()
        .damage
        .iter()
        .map(|damage| damage.to - damage.from)
        .sum();
    assert!(lost > 0 && lost < 240, "{:?}", successor.control().health());
    let last = successor.reader().read(239, 1, Isolation::LogEnd, true);
    assert!(matches!(last, Err(ReadError::Damaged { .. })), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn files_that_were_removed_are_noticed_without_a_write_and_come_back() {
    let disk = disk();
    let handle = written(&disk).await;
    handle.control().check_files().expect("looked");
    assert_eq!(handle.control().failed(), None);
    let elsewhere = PathBuf::from("/data/elsewhere");
    disk.rename(&dir(), &elsewhere).expect("moved");
    handle.control().check_files().expect("looked");
    let why = handle.control().failed().expect("closed");
    assert!(why.contains("/data/topics/t-0/"), "{why}");
    let refused = handle.control().try_disk().expect_err("the folder is gone");
    assert!(
        matches!(refused, ReopenError::Open(OpenError::Lost { .. })),
        "{refused}"
    );
    assert!(!disk.exists(&dir()).unwrap(), "nothing was made");
    assert!(
        handle
            .control()
            .reopen(Role::leader(4), settings())
            .is_err()
    );

    disk.rename(&elsewhere, &dir()).expect("moved back");
    handle.control().try_disk().expect("the folder is back");
    let successor = handle
        .control()
        .reopen(Role::leader(4), settings())
        .expect("opened");
    assert_eq!(append(&successor, plain(1, 0)).base_offset, 240);
}

#[tokio::test(start_paused = true)]
async fn a_segment_in_the_middle_that_was_removed_is_damage_and_writes_go_on() {
    let disk = disk();
    let handle = written(&disk).await;
    let middle = segments(&disk).swap_remove(1);
    disk.remove_file(&middle).expect("removed");
    handle.control().check_files().expect("looked");
    let why = handle.control().failed().expect("closed");
    assert!(why.contains(&middle.display().to_string()), "{why}");
    let successor = handle
        .control()
        .reopen(Role::leader(4), settings())
        .expect("opened");
    assert_eq!(successor.control().health().damage.len(), 1);
    assert_eq!(append(&successor, plain(1, 0)).base_offset, 240);
}

#[tokio::test(start_paused = true)]
async fn what_retention_and_trims_remove_is_not_missed() {
    let disk = disk();
    let handle = written(&disk).await;
    handle.control().trim_to(130).expect("trimmed");
    handle.control().check_files().expect("looked");
    handle.control().set_settings(Settings {
        retention_ms: Some(1),
        ..settings()
    });
    handle
        .control()
        .apply_retention(i64::MAX)
        .expect("retained");
    handle.control().check_files().expect("looked");
    append(&handle, plain(1, 0));
    handle.control().flush().await.expect("flushed");
    assert_eq!(handle.control().failed(), None);
    handle.control().delete().expect("deleted");
    handle.control().check_files().expect("looked");
}
