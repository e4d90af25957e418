//! `/metrics` in Prometheus' text format, read at each scrape from what the site knows; nothing is
//! counted twice.
//!
//! The shadow-link names are Redpanda's under our prefix.

use crate::services::Services;
use axum::{extract::State, http::header::CONTENT_TYPE, response::IntoResponse};
use gnomon_links::{LinkStatus, TopicState, status::GapEvent};
use gnomon_partition::PartitionId;
use gnomon_storage::Health;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, sync::Arc};

/// The format's own content type.
const TEXT_FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One scrape.
pub async fn scrape(State(services): State<Arc<Services>>) -> impl IntoResponse {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot {
        links: services.links.statuses(),
        services,
    }));
    let mut text = String::new();
    // Writing to a string does not fail; a collector's error would show as a text that ends early.
    let _ = encode(&mut text, &registry);
    ([(CONTENT_TYPE, TEXT_FORMAT)], text)
}

struct Snapshot {
    links: Vec<LinkStatus>,
    services: Arc<Services>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LinkLabel {
    shadow_link_name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LogLabel {
    topic: String,
    partition: i32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartitionLabel {
    shadow_link_name: String,
    topic: String,
    partition: i32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    shadow_link_name: String,
    state: String,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_site(&mut encoder)?;
        self.encode_health(&mut encoder)?;
        self.encode_lag(&mut encoder)?;
        self.encode_counters(&mut encoder)?;
        self.encode_gaps(&mut encoder)?;
        self.encode_states(&mut encoder)
    }
}

impl Snapshot {
    fn encode_site(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let image = self.services.metadata.image();
        let partitions: usize = image
            .topics
            .values()
            .map(|topic| topic.partitions.len())
            .sum();
        let gauges = [
            (
                "gnomon_topics",
                "Topics of this site, shadows and internal ones included",
                image.topics.len(),
            ),
            ("gnomon_partitions", "Partitions of all topics", partitions),
            (
                "gnomon_partitions_open",
                "Partitions in use since the start",
                self.services.partitions.all_open().len(),
            ),
            (
                "gnomon_partitions_closed",
                "Partitions that take no writes after a disk error",
                self.services.partitions.closed_count(),
            ),
            (
                "gnomon_partitions_lost",
                "Partitions that had files and have none: they are neither read nor written until the files are back, or the site is started with --accept-loss",
                self.services.partitions.lost_count(),
            ),
            (
                "gnomon_fetch_sessions",
                "Incremental fetch sessions kept",
                self.services.fetch_sessions.count(),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }

    /// What is wrong with logs. A partition that nothing is wrong with has no series.
    fn encode_health(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Read = fn(&Health) -> u64;
        let facts: [(&str, &str, Read); 5] = [
            (
                "gnomon_log_damaged_ranges",
                "Ranges of a partition's log that are damaged on disk and answered with CORRUPT_MESSAGE",
                |health| health.damage.len() as u64,
            ),
            (
                "gnomon_log_damaged_offsets",
                "Offsets in damaged ranges",
                |health| {
                    health
                        .damage
                        .iter()
                        .map(|damage| damage.to.abs_diff(damage.from))
                        .sum()
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
        let image = self.services.metadata.image();
        let named = |id: PartitionId| {
            image.topic(id.topic_id).map(|topic| LogLabel {
                topic: topic.name.clone(),
                partition: id.index,
            })
        };
        let found: Vec<(LogLabel, Health)> = self
            .services
            .partitions
            .all_open()
            .into_iter()
            .filter_map(|(id, handle)| Some((named(id)?, handle.health())))
            .collect();
        for (name, help, read) in facts {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (label, health) in found.iter().filter(|(_, health)| read(health) > 0) {
                ConstGauge::new(read(health) as i64).encode(family.encode_family(label)?)?;
            }
        }
        Ok(())
    }

    fn encode_lag(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "gnomon_shadow_link_shadow_lag",
            "Records behind the source's high watermark",
            None,
            MetricType::Gauge,
        )?;
        self.each_partition(|label, status| {
            let Some(lag) = status.lag else { return Ok(()) };
            ConstGauge::new(lag.records).encode(family.encode_family(label)?)
        })?;
        let help = "Seconds since the shadow is known to have been level with the source; grows while the source is silent";
        let mut family = encoder.encode_descriptor(
            "gnomon_shadow_link_lag_seconds",
            help,
            None,
            MetricType::Gauge,
        )?;
        self.each_partition(|label, status| {
            let Some(lag) = status.lag else { return Ok(()) };
            ConstGauge::new(lag.seconds).encode(family.encode_family(label)?)
        })
    }

    fn encode_counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Read = fn(&gnomon_links::status::Counters) -> u64;
        let counters: [(&str, &str, Read); 5] = [
            (
                "gnomon_shadow_link_total_bytes_fetched",
                "Bytes of whole batches that came from the source",
                |c| c.bytes_fetched,
            ),
            (
                "gnomon_shadow_link_total_records_fetched",
                "Records that came from the source",
                |c| c.records_fetched,
            ),
            (
                "gnomon_shadow_link_total_bytes_written",
                "Bytes appended to shadows",
                |c| c.bytes_written,
            ),
            (
                "gnomon_shadow_link_total_records_written",
                "Records appended to shadows",
                |c| c.records_written,
            ),
            (
                "gnomon_shadow_link_client_errors",
                "Requests to the source that failed, and answers with an error",
                |c| c.client_errors,
            ),
        ];
        for (name, help, read) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Unknown)?;
            self.each_partition(|label, status| {
                ConstGauge::new(read(&status.counters) as i64).encode(family.encode_family(label)?)
            })?;
        }
        Ok(())
    }

    fn encode_gaps(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Read = fn(&GapEvent) -> i64;
        let gauges: [(&str, &str, Read); 2] = [
            (
                "gnomon_shadow_link_gaps",
                "Gaps on record: ranges of the source's offsets that were lost to the shadow",
                |_| 1,
            ),
            ("gnomon_shadow_link_gap_offsets", "Offsets in them", |gap| {
                gap.to.saturating_sub(gap.from)
            }),
        ];
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for link in &self.links {
                for topic in &link.topics {
                    for status in &topic.partitions {
                        let label = PartitionLabel {
                            shadow_link_name: link.name.clone(),
                            topic: topic.name.clone(),
                            partition: status.partition,
                        };
                        // Every partition, so that one without is 0 and not absent.
                        let sum: i64 = topic
                            .gaps
                            .iter()
                            .filter(|gap| gap.partition == status.partition)
                            .map(read)
                            .sum();
                        ConstGauge::new(sum).encode(family.encode_family(&label)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn encode_states(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "gnomon_shadow_link_shadow_topic_state",
            "Topics of a link in each state",
            None,
            MetricType::Gauge,
        )?;
        for link in &self.links {
            // Every state, so that one that no topic is in is 0 and not absent.
            for state in TopicState::ALL {
                let label = StateLabel {
                    shadow_link_name: link.name.clone(),
                    state: state.name().to_owned(),
                };
                let count = link
                    .topics
                    .iter()
                    .filter(|topic| topic.state == state)
                    .count();
                ConstGauge::new(count as i64).encode(family.encode_family(&label)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "gnomon_shadow_link_faulted",
            "1 when a link as a whole must not copy",
            None,
            MetricType::Gauge,
        )?;
        for link in &self.links {
            let label = LinkLabel {
                shadow_link_name: link.name.clone(),
            };
            ConstGauge::new(i64::from(link.fault.is_some()))
                .encode(family.encode_family(&label)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "gnomon_link_source_contact_seconds",
            "Seconds since the source of a running link last answered; what it wrote since is not known",
            None,
            MetricType::Gauge,
        )?;
        for link in &self.links {
            let Some(seconds) = link.source.contact_seconds else {
                continue;
            };
            let label = LinkLabel {
                shadow_link_name: link.name.clone(),
            };
            ConstGauge::new(seconds).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }

    fn each_partition(
        &self,
        mut visit: impl FnMut(&PartitionLabel, &gnomon_links::PartitionStatus) -> Result<(), fmt::Error>,
    ) -> Result<(), fmt::Error> {
        for link in &self.links {
            for topic in link.topics.iter().filter(|topic| topic.state.is_shadow()) {
                for status in &topic.partitions {
                    let label = PartitionLabel {
                        shadow_link_name: link.name.clone(),
                        topic: topic.name.clone(),
                        partition: status.partition,
                    };
                    visit(&label, status)?;
                }
            }
        }
        Ok(())
    }
}
