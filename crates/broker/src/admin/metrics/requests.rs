//! Metrics of clients: requests, errors, time and bytes by API, refused writes, and connections.
//! An API that nobody has used since the start has no series.

use super::page::Page;
use crate::traffic::{ApiTraffic, BOUNDS, Traffic};
use gnomon_protocol::error_code::name_of;

pub fn write(page: &mut Page, traffic: &Traffic) {
    let apis: Vec<(&str, &ApiTraffic)> = traffic
        .apis()
        .filter(|(_, counted)| counted.requests() > 0)
        .map(|(api, counted)| (api.name, counted))
        .collect();
    type Read = fn(&ApiTraffic) -> u64;
    let counters: [(&str, &str, Read); 3] = [
        ("gnomon_requests", "Requests of Kafka clients", |api| {
            api.requests()
        }),
        (
            "gnomon_request_received_bytes",
            "Bytes of requests, with their sizes",
            |api| api.received_bytes(),
        ),
        (
            "gnomon_request_sent_bytes",
            "Bytes of responses, with their sizes",
            |api| api.sent_bytes(),
        ),
    ];
    for (name, help, read) in counters {
        let mut family = page.counter(name, help);
        for (api, counted) in &apis {
            family.sample(&[("api", api)], read(counted));
        }
    }
    let mut family = page.counter(
        "gnomon_request_errors",
        "Partitions, groups, topics and requests that were answered with an error, by its code",
    );
    for (api, counted) in &apis {
        for (code, count) in counted.errors() {
            family.sample(&[("api", api), ("error", &name_of(code))], count);
        }
    }
    let mut family = page.histogram(
        "gnomon_request_duration_seconds",
        "Time from the arrival of a request until its response is ready, waiting for records included",
    );
    for (api, counted) in &apis {
        let latency = counted.latency();
        let cumulative = latency.cumulative();
        let up_to = BOUNDS
            .iter()
            .zip(cumulative)
            .map(|((_, shown), below)| (*shown, below));
        let count = cumulative[BOUNDS.len()];
        family.buckets(&[("api", api)], up_to, count, latency.sum_seconds());
    }
    let mut family = page.counter(
        "gnomon_refused_writes",
        "Batches of clients that were not appended, by the reason",
    );
    for (reason, count) in traffic.refused_writes() {
        family.sample(&[("reason", reason.name())], count);
    }
    connections(page, traffic);
}

fn connections(page: &mut Page, traffic: &Traffic) {
    page.single(
        "gnomon_connections",
        "Connections of Kafka clients",
        traffic.connections_open(),
    );
    page.counter(
        "gnomon_connections_accepted",
        "Connections that were accepted",
    )
    .sample(&[], traffic.connections_accepted());
    page.counter(
        "gnomon_connections_refused",
        "Connections that were closed at once, because there were too many",
    )
    .sample(&[], traffic.connections_refused());
}
