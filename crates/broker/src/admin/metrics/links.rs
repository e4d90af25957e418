//! Metrics of shadow links. The names are Redpanda's under our prefix, except counters: OpenMetrics
//! wants `_total` at their end.
//!
//! By link and topic a number of records, bytes, offsets or gaps is the sum over the partitions,
//! and a number of seconds the largest.

use super::{
    number,
    page::{Family, Page},
};
use gnomon_links::{LinkStatus, PartitionStatus, TopicState, TopicStatus, status::Counters};

/// A link, one of its topics, and one of its partitions if series are by partition.
struct Series<'a> {
    link: &'a str,
    topic: &'a TopicStatus,
    partitions: &'a [PartitionStatus],
    by_partition: bool,
}

impl<'a> Series<'a> {
    /// In the order of links, topics and partitions.
    fn all(links: &'a [LinkStatus], by_partition: bool) -> Vec<Series<'a>> {
        let topics = links
            .iter()
            .flat_map(|link| link.topics.iter().map(move |topic| (&*link.name, topic)));
        let mut all = Vec::new();
        for (link, topic) in topics {
            let partitions = &topic.partitions[..];
            let size = if by_partition {
                1
            } else {
                partitions.len().max(1)
            };
            all.extend(partitions.chunks(size).map(|partitions| Series {
                link,
                topic,
                partitions,
                by_partition,
            }));
        }
        all
    }

    fn sample(&self, family: &mut Family<'_>, value: impl std::fmt::Display) {
        let mut labels = vec![("shadow_link_name", self.link), ("topic", &self.topic.name)];
        let partition = self.partitions.first().filter(|_| self.by_partition);
        let partition = partition.map(|status| number(status.partition));
        if let Some(partition) = &partition {
            labels.push(("partition", partition));
        }
        family.sample(&labels, value);
    }

    /// The known values of the partitions, reduced to one.
    fn reduce<T>(
        &self,
        read: impl Fn(&PartitionStatus) -> Option<T>,
        join: impl Fn(T, T) -> T,
    ) -> Option<T> {
        self.partitions.iter().filter_map(read).reduce(join)
    }
}

pub fn write(page: &mut Page, links: &[LinkStatus], by_partition: bool) {
    let all = Series::all(links, by_partition);
    let shadows = || all.iter().filter(|series| series.topic.state.is_shadow());
    let mut family = page.gauge(
        "gnomon_shadow_link_shadow_lag",
        "Records behind the source's high watermark",
    );
    for series in shadows() {
        let lag = series.reduce(|status| Some(status.lag?.records), i64::saturating_add);
        if let Some(lag) = lag {
            series.sample(&mut family, lag);
        }
    }
    let mut family = page.gauge(
        "gnomon_shadow_link_lag_seconds",
        "Seconds since the shadow is known to have been level with the source; grows while the source is silent",
    );
    for series in shadows() {
        if let Some(lag) = series.reduce(|status| Some(status.lag?.seconds), f64::max) {
            series.sample(&mut family, lag);
        }
    }
    for (name, help, read) in COUNTERS {
        let mut family = page.counter(name, help);
        for series in shadows() {
            let sum = series.reduce(|status| Some(read(&status.counters)), u64::saturating_add);
            series.sample(&mut family, sum.unwrap_or(0));
        }
    }
    gaps(page, &all);
    states(page, links);
}

type Read = fn(&Counters) -> u64;

const COUNTERS: [(&str, &str, Read); 5] = [
    (
        "gnomon_shadow_link_bytes_fetched",
        "Bytes of whole batches that came from the source",
        |counters| counters.bytes_fetched,
    ),
    (
        "gnomon_shadow_link_records_fetched",
        "Records that came from the source",
        |counters| counters.records_fetched,
    ),
    (
        "gnomon_shadow_link_bytes_written",
        "Bytes appended to shadows",
        |counters| counters.bytes_written,
    ),
    (
        "gnomon_shadow_link_records_written",
        "Records appended to shadows",
        |counters| counters.records_written,
    ),
    (
        "gnomon_shadow_link_client_errors",
        "Requests to the source that failed, and answers with an error",
        |counters| counters.client_errors,
    ),
];

/// A topic without gaps has the value 0.
fn gaps(page: &mut Page, all: &[Series<'_>]) {
    let found = |series: &Series<'_>| {
        let here = |partition| {
            series
                .partitions
                .iter()
                .any(|status| status.partition == partition)
        };
        let gaps = series.topic.gaps.iter().filter(|gap| here(gap.partition));
        let offsets = gaps
            .clone()
            .map(|gap| gap.to.saturating_sub(gap.from))
            .sum::<i64>();
        (gaps.count(), offsets)
    };
    let mut family = page.gauge(
        "gnomon_shadow_link_gaps",
        "Gaps on record: ranges of the source's offsets that were lost to the shadow",
    );
    for series in all {
        series.sample(&mut family, found(series).0);
    }
    let mut family = page.gauge("gnomon_shadow_link_gap_offsets", "Offsets in gaps");
    for series in all {
        series.sample(&mut family, found(series).1);
    }
}

/// A state that no topic is in has the value 0.
fn states(page: &mut Page, links: &[LinkStatus]) {
    let mut family = page.gauge(
        "gnomon_shadow_link_shadow_topic_state",
        "Topics of a link in each state",
    );
    for link in links {
        for state in TopicState::ALL {
            let labels = [("shadow_link_name", &*link.name), ("state", state.name())];
            let topics = link.topics.iter();
            family.sample(&labels, topics.filter(|topic| topic.state == state).count());
        }
    }
    let mut family = page.gauge(
        "gnomon_shadow_link_faulted",
        "1 when a link as a whole must not copy",
    );
    for link in links {
        let labels = [("shadow_link_name", &*link.name)];
        family.sample(&labels, u8::from(link.fault.is_some()));
    }
    let mut family = page.gauge(
        "gnomon_link_source_contact_seconds",
        "Seconds since the source of a running link last answered; what it wrote since is not known",
    );
    for link in links {
        if let Some(seconds) = link.source.contact_seconds {
            family.sample(&[("shadow_link_name", &*link.name)], seconds);
        }
    }
}
