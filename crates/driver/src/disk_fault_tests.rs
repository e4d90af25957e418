//! The driver over a partition whose disk fails: refused appends, lost logs, snapshots that do not
//! fit.

use super::{
    tests::{Put, Readers, Shelf, large, open, settings},
    *,
};
use crate::{PartitionJournal, ReadLog, Visit, WallClock, read_durable};
use bytes::Bytes;
use gnomon_partition::{Handle, Role, Writers};
use gnomon_storage::{Boot, Disk, MemDisk, disk::Fault};
use std::{collections::BTreeMap, path::Path};

/// A journal that is opened again under the next epoch whenever it is lost, without a catalog.
struct Reopens {
    disk: MemDisk,
    handle: Handle,
    epoch: i32,
    journal: PartitionJournal,
}

impl Reopens {
    fn new(disk: &MemDisk) -> Reopens {
        let handle = open(disk, Boot::Same);
        Reopens {
            disk: disk.clone(),
            journal: PartitionJournal::new("__shelf".into(), handle.clone(), None),
            handle,
            epoch: 1,
        }
    }
}

impl Journal for Reopens {
    fn name(&self) -> &str {
        self.journal.name()
    }

    fn append(
        &mut self,
        records: &[EncodedRecord],
        wall_ms: i64,
    ) -> Result<LogPosition, JournalError> {
        self.journal.append(records, wall_ms)
    }

    async fn committed(&self, position: LogPosition) -> Result<(), JournalError> {
        self.journal.committed(position).await
    }

    async fn grown(&self, position: LogPosition) -> Result<(), JournalError> {
        self.journal.grown(position).await
    }

    fn end(&self) -> LogPosition {
        self.journal.end()
    }

    fn trim(&mut self, position: LogPosition) -> Result<(), JournalError> {
        self.journal.trim(position)
    }

    async fn reopen(&mut self) -> Result<(), JournalError> {
        self.disk.heal();
        self.epoch += 1;
        let role = Role {
            writers: Writers::Site,
            ..Role::leader(self.epoch)
        };
        let successor = self
            .handle
            .control()
            .reopen(role, settings())
            .expect("the disk works");
        self.handle.control().succeeded_by(&successor);
        self.journal = PartitionJournal::new("__shelf".into(), successor.clone(), None);
        self.handle = successor;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.journal.bytes()
    }
}

impl ReadLog for Reopens {
    fn start(&self) -> LogPosition {
        self.journal.start()
    }

    fn read_from(
        &self,
        from: LogPosition,
        committed_only: bool,
        visit: &mut Visit<'_>,
    ) -> Result<LogPosition, JournalError> {
        self.journal.read_from(from, committed_only, visit)
    }
}

fn disk() -> MemDisk {
    let disk = MemDisk::new();
    disk.create_dir_all(Path::new("/log")).expect("made");
    disk.sync_dir(Path::new("/")).expect("synced");
    disk
}

fn start(disk: &MemDisk) -> (Submit<Shelf>, Readers) {
    let readers = Readers::default();
    let machine = Driver::<Shelf, _, _>::rebuild(
        Reopens::new(disk),
        readers.clone(),
        Clock::start(WallClock::System),
    )
    .expect("rebuilt");
    let (submit, run) = machine.start(Leadership::always());
    tokio::spawn(run);
    (submit, readers)
}

fn put(key: &str, value: u8) -> Option<Put> {
    Some(Put(key.to_owned(), Bytes::from(vec![value; 100])))
}

/// The groups that a start would find.
fn found(disk: &MemDisk, boot: Boot) -> BTreeMap<String, Bytes> {
    read_durable::<Shelf>(&PartitionJournal::new(
        "__shelf".into(),
        open(disk, boot),
        None,
    ))
    .expect("readable")
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_answers_questions() {
    let disk = disk();
    let (submit, readers) = start(&disk);
    assert_eq!(submit.submit(put("a", 1)).await, Ok(1));
    disk.set_full(true);
    for _ in 0..3 {
        assert!(matches!(
            submit.submit(put("b", 2)).await,
            Err(NoReply::Refused { .. })
        ));
        assert_eq!(submit.submit(None).await, Ok(1), "nothing changed");
    }
    disk.set_full(false);
    assert_eq!(submit.submit(put("b", 3)).await, Ok(2));
    assert_eq!(
        *readers.0.lock().expect("not poisoned"),
        [0, 1, 2],
        "what was refused was never shown"
    );
    drop(submit);
    disk.power_loss(1);
    assert_eq!(
        found(&disk, Boot::Other)
            .into_iter()
            .map(|(key, value)| (key, value[0]))
            .collect::<Vec<_>>(),
        [("a".to_owned(), 1), ("b".to_owned(), 3)]
    );
}

#[tokio::test]
async fn a_lost_log_is_opened_again_and_its_machine_rebuilt() {
    for forgetful in [false, true] {
        let disk = disk();
        disk.set_forgetful(forgetful);
        let (submit, _) = start(&disk);
        assert_eq!(submit.submit(put("a", 1)).await, Ok(1));
        disk.fail_next(Fault::Sync);
        assert_eq!(
            submit.submit(put("b", 2)).await,
            Err(NoReply::Gone),
            "nobody knows"
        );
        let count = loop {
            match submit.submit(None).await {
                Ok(count) => break count,
                Err(NoReply::Gone) => tokio::task::yield_now().await,
                Err(refused) => panic!("{refused}"),
            }
        };
        assert_eq!(
            count,
            if forgetful { 1 } else { 2 },
            "what the log has after it was opened again"
        );
        assert_eq!(submit.submit(put("c", 3)).await, Ok(count + 1));
        drop(submit);
        disk.power_loss(7);
        assert_eq!(found(&disk, Boot::Other).len(), count + 1);
    }
}

#[tokio::test]
async fn a_snapshot_that_the_disk_has_no_room_for_is_given_up_and_made_later() {
    let disk = disk();
    let (submit, _) = start(&disk);
    for round in 0..39 {
        submit
            .submit(Some(large(round % 20, round)))
            .await
            .expect("an answer");
    }
    // Room for the next change, and for half of the snapshot that it makes due.
    disk.set_capacity(Some(disk.used_bytes() + (5 << 18)));
    for round in 39..43 {
        submit
            .submit(Some(large(round % 20, round)))
            .await
            .expect("what fits is written");
    }
    assert_eq!(submit.submit(None).await, Ok(20));
    disk.set_capacity(None);
    for round in 43..100 {
        submit
            .submit(Some(large(round % 20, round)))
            .await
            .expect("an answer");
    }
    drop(submit);
    let values: Vec<u8> = found(&disk, Boot::Same)
        .values()
        .map(|value| value[0])
        .collect();
    assert_eq!(values.len(), 20);
    assert!(values.iter().all(|value| *value >= 80), "{values:?}");
    assert!(
        disk.used_bytes() < 9 << 20,
        "the log was trimmed: {} bytes",
        disk.used_bytes()
    );
}

#[tokio::test]
async fn whichever_call_fails_what_was_answered_is_there() {
    let calls = life(u64::MAX, 0).await;
    for at in 0..calls {
        for seed in 0..2 {
            life(at, seed).await;
        }
    }
}

/// Twelve changes, one call fails; returns how many calls there were.
async fn life(at: u64, seed: u64) -> u64 {
    let disk = disk();
    let at = at.saturating_add(disk.calls());
    disk.fail_calls(at..at.saturating_add(1));
    disk.set_forgetful(seed % 2 == 1);
    let (submit, readers) = start(&disk);
    let mut answered = BTreeMap::new();
    let mut failures = 0;
    for value in 0..12 {
        let key = format!("key-{}", value % 5);
        while let Err(failure) = submit.submit(put(&key, value)).await {
            failures += 1;
            assert!(failures < 10_000, "call {at}: never answered: {failure}");
            tokio::task::yield_now().await;
        }
        answered.insert(key, value);
    }
    let calls = disk.calls();
    drop(submit);
    let published = readers.0.lock().expect("not poisoned").clone();
    assert!(published.is_sorted(), "call {at}: {published:?}");
    disk.power_loss(seed);
    let found: BTreeMap<String, u8> = found(&disk, Boot::Other)
        .into_iter()
        .map(|(key, value)| (key, value[0]))
        .collect();
    assert_eq!(found, answered, "call {at}, seed {seed}");
    calls
}
