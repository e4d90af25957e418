//! Metrics of the disk: its space, the size of logs, and what is wrong with them. A log that nothing
//! is wrong with has no series of the latter.

use super::{number, page::Page};
use crate::services::Services;
use gnomon_storage::Health;
use std::collections::BTreeMap;
use tracing::debug;

/// Topic, and partition if series are by partition.
type Key = (String, Option<i32>);

type Read = fn(&Health) -> u64;

const FAULTS: [(&str, &str, Read); 5] = [
    (
        "gnomon_log_damaged_ranges",
        "Ranges of logs that are damaged on disk and answered with CORRUPT_MESSAGE",
        |health| health.damage.len() as u64,
    ),
    (
        "gnomon_log_damaged_offsets",
        "Offsets in damaged ranges",
        |health| {
            let damage = health.damage.iter();
            damage.map(|damage| damage.to.abs_diff(damage.from)).sum()
        },
    ),
    (
        "gnomon_log_recovery_cut_bytes",
        "Bytes of writes that were not completed, cut off when the log was opened",
        |health| health.cut.as_ref().map_or(0, |cut| cut.bytes),
    ),
    (
        "gnomon_log_recovery_cut_batches",
        "Whole batches among what was cut off when the log was opened",
        |health| health.cut.as_ref().map_or(0, |cut| cut.batches),
    ),
    (
        "gnomon_log_indexes_rebuilt",
        "Segments whose index files were missing or wrong, and were rebuilt",
        |health| health.indexes_rebuilt as u64,
    ),
];

/// Sums over the partitions of a topic.
#[derive(Default)]
struct Sums {
    bytes: u64,
    without_files: u64,
    faults: [u64; FAULTS.len()],
}

pub fn write(page: &mut Page, services: &Services, by_partition: bool) {
    match services.partitions.space() {
        Ok(space) => {
            page.single(
                "gnomon_disk_free_bytes",
                "Bytes that may still be written to the file system of the data directory",
                space.free,
            );
            page.single(
                "gnomon_disk_total_bytes",
                "Size of the file system of the data directory",
                space.total,
            );
        }
        Err(error) => debug!(%error, "the space of the disk is not known"),
    }
    let sums = sums(services, by_partition);
    page.single(
        "gnomon_disk_log_bytes",
        "Bytes of all logs that are open",
        sums.values().map(|sums| sums.bytes).sum::<u64>(),
    );
    family(
        page,
        "gnomon_log_size_bytes",
        "Bytes of logs",
        &sums,
        |sums| Some(sums.bytes),
    );
    page.single(
        "gnomon_partitions_folder_removed",
        "Open partitions with records whose folder was removed while the site runs; the next start finds them lost",
        sums.values().map(|sums| sums.without_files).sum::<u64>(),
    );
    family(
        page,
        "gnomon_log_folder_removed",
        "The same by topic",
        &sums,
        |sums| Some(sums.without_files).filter(|count| *count > 0),
    );
    for (at, (name, help, _)) in FAULTS.into_iter().enumerate() {
        family(page, name, help, &sums, |sums| {
            Some(sums.faults[at]).filter(|value| *value > 0)
        });
    }
}

fn sums(services: &Services, by_partition: bool) -> BTreeMap<Key, Sums> {
    let lost = services.partitions.without_files();
    let lost = lost.unwrap_or_else(|error| {
        debug!(%error, "the folders of partitions cannot be listed");
        Default::default()
    });
    let image = services.metadata.image();
    let mut sums = BTreeMap::<Key, Sums>::new();
    for (id, handle) in services.partitions.all_open() {
        // Deleted meanwhile otherwise.
        if let Some(topic) = image.topic(id.topic_id) {
            let key = (topic.name.clone(), by_partition.then_some(id.index));
            let (sums, health) = (sums.entry(key).or_default(), handle.control().health());
            sums.bytes += handle.control().size_bytes();
            sums.without_files += u64::from(lost.contains(&id));
            for (sum, (_, _, read)) in sums.faults.iter_mut().zip(FAULTS) {
                *sum += read(&health);
            }
        }
    }
    sums
}

fn family(
    page: &mut Page,
    name: &'static str,
    help: &str,
    sums: &BTreeMap<Key, Sums>,
    read: impl Fn(&Sums) -> Option<u64>,
) {
    let mut family = page.gauge(name, help);
    for ((topic, partition), sums) in sums {
        let Some(value) = read(sums) else { continue };
        match partition.map(number) {
            Some(partition) => family.sample(&[("topic", topic), ("partition", &partition)], value),
            None => family.sample(&[("topic", topic)], value),
        }
    }
}
