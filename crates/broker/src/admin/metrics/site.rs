//! Metrics of the site as a whole: its tables.

use super::page::Page;
use crate::services::Services;

pub fn write(page: &mut Page, services: &Services) {
    let image = services.metadata.image();
    let topics = image.topics.values();
    let partitions: usize = topics.map(|topic| topic.partitions.len()).sum();
    page.gauge("gnomon_build_info", "1, with the version of the site")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.single(
        "gnomon_topics",
        "Topics of this site, shadows and internal ones included",
        image.topics.len(),
    );
    page.single("gnomon_partitions", "Partitions of all topics", partitions);
    page.single(
        "gnomon_partitions_open",
        "Partitions in use since the start",
        services.partitions.all_open().len(),
    );
    page.single(
        "gnomon_partitions_closed",
        "Partitions that take no writes after a disk error",
        services.partitions.closed_count(),
    );
    page.single(
        "gnomon_partitions_lost",
        "Partitions found without their files when they were to be opened: they are neither read nor written until the files are back, or the site is started with --accept-loss",
        services.partitions.lost_count(),
    );
    page.single(
        "gnomon_fetch_sessions",
        "Incremental fetch sessions kept",
        services.fetch_sessions.count(),
    );
}
