//! The page of metrics: its two formats, its length, and that its numbers are those of what clients
//! did.

mod common;
mod exposition;

use common::*;
use exposition::{Exposition, read_open_metrics, read_text};
use gnomon_client::{Topics, groups::CommittedOffset, produce::Acks};
use gnomon_protocol::ids::LeaderEpoch;
use gnomon_storage::Disk;
use gnomon_testkit::{MemDisk, Site};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

/// Head and body of the answer to a scrape.
fn scrape(site: &Site, query: &str, accept: &str) -> (String, String) {
    let admin = site.admin();
    let mut socket = TcpStream::connect(admin).expect("connected");
    write!(
        socket,
        "GET /metrics{query} HTTP/1.1\r\nHost: {admin}\r\n{accept}Connection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (head.to_ascii_lowercase(), body.to_owned())
}

fn text(site: &Site, query: &str) -> Exposition {
    let (_, body) = scrape(site, query, "");
    read_text(&body).unwrap_or_else(|why| panic!("{why}\n{body}"))
}

#[test]
fn a_scraper_gets_the_format_that_it_asks_for_with_the_same_series() {
    let site = Site::start(&MemDisk::new()).expect("a site");
    let (head, body) = scrape(&site, "", "Accept: text/plain\r\n");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    let plain = read_text(&body).unwrap_or_else(|why| panic!("{why}\n{body}"));
    let open = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let (head, body) = scrape(&site, "", open);
    let kind = "content-type: application/openmetrics-text; version=1.0.0";
    assert!(head.contains(kind), "{head}");
    let open = read_open_metrics(&body).unwrap_or_else(|why| panic!("{why}\n{body}"));
    let names = |page: &Exposition| page.samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&plain), names(&open));
    site.stop();
}

#[test]
fn every_family_stands_in_the_documentation_and_no_other() {
    let site = Site::start(&MemDisk::new()).expect("a site");
    let page = text(&site, "");
    let documented: BTreeSet<(String, String)> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, rest)| {
            let kind = rest.split('|').nth(1).expect("a type").trim();
            (name.to_owned(), kind.to_owned())
        })
        .collect();
    assert_eq!(page.types.into_iter().collect::<BTreeSet<_>>(), documented);
    site.stop();
}

fn to(topic: &str) -> (String, i32) {
    (topic.to_owned(), 0)
}

#[test]
fn requests_errors_bytes_and_refused_writes_are_counted() {
    let site = Site::start(&MemDisk::new()).expect("a site");
    let client = site.client();
    let refused = runtime().block_on(async {
        make_topic(&client, "orders").await;
        let records = batch(&["one".to_owned()], None);
        let orders = to("orders");
        let sent = client.produce(&orders, records.clone(), Acks::All).await;
        sent.expect("acknowledged");
        client
            .produce(&to("__consumer_offsets"), records, Acks::All)
            .await
    });
    refused.expect_err("an internal topic");
    let page = text(&site, "");
    let of = |name: &str, labels: &[(&str, &str)]| page.value(name, labels);
    let produce = [("api", "Produce")];
    assert_eq!(
        of("gnomon_requests_total", &produce),
        Some(2.0),
        "{page:#?}"
    );
    let duration = "gnomon_request_duration_seconds_count";
    assert_eq!(of(duration, &produce), Some(2.0));
    let error = [("api", "Produce"), ("error", "POLICY_VIOLATION")];
    assert_eq!(
        of("gnomon_request_errors_total", &error),
        Some(1.0),
        "{page:#?}"
    );
    let refused = |reason| of("gnomon_refused_writes_total", &[("reason", reason)]);
    assert_eq!(
        (refused("internal_topic"), refused("shadow")),
        (Some(1.0), Some(0.0))
    );
    assert!(of("gnomon_request_received_bytes_total", &produce) > Some(120.0));
    assert!(of("gnomon_request_sent_bytes_total", &produce) > Some(40.0));
    // The client's runtime has ended, and its connections with it.
    assert!(of("gnomon_connections_accepted_total", &[]) >= Some(1.0));
    assert!(of("gnomon_log_size_bytes", &[("topic", "orders")]) > Some(60.0));
    assert!(of("gnomon_disk_total_bytes", &[]) >= of("gnomon_disk_free_bytes", &[]));
    site.stop();
}

#[test]
fn the_lag_of_a_group_is_the_sum_over_the_partitions_of_a_topic() {
    let site = Site::start(&MemDisk::new()).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        let outcome = client.create_topics(&[new_topic("orders", 2)], false).await;
        assert_eq!(outcome.expect("an answer")[0].error, None);
        for (partition, count) in [(0, 5), (1, 3)] {
            let values: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            let to = ("orders".to_owned(), partition);
            let sent = client.produce(&to, batch(&values, None), Acks::All).await;
            sent.expect("acknowledged");
        }
        let offsets = [(0, 1), (1, 3)].map(|(partition, offset)| {
            let committed = CommittedOffset {
                offset,
                leader_epoch: LeaderEpoch::NONE,
                metadata: None,
            };
            (("orders".to_owned(), partition), committed)
        });
        let committed = client.commit_offsets("readers", &offsets.into()).await;
        assert!(committed.expect("an answer").values().all(Option::is_none));
    });
    let page = text(&site, "");
    let lag = page.value(
        "gnomon_group_lag",
        &[("group", "readers"), ("topic", "orders")],
    );
    assert_eq!(lag, Some(4.0), "{page:#?}");
    assert_eq!(page.value("gnomon_groups", &[]), Some(1.0));
    assert_eq!(page.value("gnomon_groups_not_measured", &[]), Some(0.0));
    site.stop();
}

#[test]
fn a_page_grows_with_partitions_only_where_they_are_asked_for() {
    let site = Site::start(&MemDisk::new()).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        let outcome = client.create_topics(&[new_topic("orders", 3)], false).await;
        assert_eq!(outcome.expect("an answer")[0].error, None);
        for partition in 0..3 {
            let to = ("orders".to_owned(), partition);
            let records = batch(&["one".to_owned()], None);
            let sent = client.produce(&to, records, Acks::All).await;
            sent.expect("acknowledged");
        }
    });
    let sizes = |page: &Exposition| -> Vec<f64> {
        let all = page.samples.iter();
        all.filter(|((name, labels), _)| {
            name == "gnomon_log_size_bytes" && labels["topic"] == "orders"
        })
        .map(|(_, size)| *size)
        .collect()
    };
    let totals = text(&site, "");
    let partitions = text(&site, "?partitions=true");
    let has_partition = |page: &Exposition| {
        let mut names = page.samples.keys();
        names.any(|(_, labels)| labels.contains_key("partition"))
    };
    assert!(!has_partition(&totals) && has_partition(&partitions));
    assert_eq!((sizes(&totals).len(), sizes(&partitions).len()), (1, 3));
    assert_eq!(sizes(&totals)[0], sizes(&partitions).iter().sum::<f64>());
    site.stop();
}

#[test]
fn a_partition_whose_folder_was_removed_under_the_site_is_counted() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    let id = runtime().block_on(async {
        make_topic(&client, "orders").await;
        let records = batch(&["one".to_owned()], None);
        let sent = client.produce(&to("orders"), records, Acks::All).await;
        sent.expect("acknowledged");
        let named = Topics::Names(vec!["orders".into()]);
        let metadata = client.metadata(named, false).await.expect("metadata");
        metadata.topics["orders"].id.expect("an id")
    });
    let lost = |page: &Exposition| {
        (
            page.value("gnomon_partitions_folder_removed", &[]),
            page.value("gnomon_log_folder_removed", &[("topic", "orders")]),
        )
    };
    assert_eq!(lost(&text(&site, "")), (Some(0.0), None));
    let folder = format!("/data/partitions/{}-0", id.simple());
    disk.remove_dir_all(Path::new(&folder)).expect("removed");
    assert_eq!(lost(&text(&site, "")), (Some(1.0), Some(1.0)));
    site.kill();
}
