//! A site whose disk is slow still answers: work that waits for the disk keeps no listener waiting.
#![expect(
    clippy::disallowed_methods,
    reason = "sites of this test run in real time"
)]

mod common;

use common::*;
use gnomon_broker::RawConfig;
use gnomon_client::{Client, fetcher::Isolation};
use gnomon_protocol::{
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    wire::StrBytes,
};
use gnomon_testkit::{MemDisk, Site};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A sync of a busy hard disk or of network storage.
const SYNC: Duration = Duration::from_millis(20);

/// Together their first writes sync for several seconds.
const PARTITIONS: i32 = 80;

/// A request that needs no disk waits at most so long; the tests run beside others.
const SILENCE_MAX: Duration = Duration::from_millis(800);

/// Asks for the supported versions on a new connection again and again.
struct Probe {
    stop: Arc<AtomicBool>,
    longest: JoinHandle<io::Result<Duration>>,
}

impl Probe {
    fn start(address: &str) -> Probe {
        let address: SocketAddr = address.parse().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let longest = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                ask_versions(address)?;
                longest = longest.max(asked.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            Ok(longest)
        });
        Probe { stop, longest }
    }

    /// The longest time that a request took.
    fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let longest = self.longest.join().expect("the probe does not panic");
        longest.expect("every request is answered")
    }
}

/// ApiVersions, version 0.
fn ask_versions(address: SocketAddr) -> io::Result<()> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    // Size, API key 18, version 0, correlation id 1, no client id.
    connection.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
    let mut head = [0; 8];
    connection.read_exact(&mut head)
}

/// Writes a record to every partition of the topic with one request.
async fn write_to_all(client: &Client, topic: &str) {
    let data = |partition: i32| {
        PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch(&[format!("record of {partition}")], None)))
    };
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data((0..PARTITIONS).map(data).collect());
    let request = ProduceRequest::default()
        .with_acks(1)
        .with_timeout_ms(60_000)
        .with_topic_data(vec![topic]);
    let written = client.ask_any(request).await.expect("an answer");
    for partition in &written.responses[0].partition_responses {
        assert_eq!(partition.error_code, 0, "{partition:?}");
    }
}

async fn make(client: &Client, topic: &str) {
    let made = client
        .create_topics(&[new_topic(topic, PARTITIONS)], false)
        .await;
    assert_eq!(made.expect("an answer")[0].error, None);
}

#[test]
fn first_writes_to_many_partitions_keep_nobody_waiting() {
    let disk = MemDisk::new();
    let site = Site::start(&disk).expect("a site");
    runtime().block_on(make(&site.client(), "orders-0"));
    runtime().block_on(make(&site.client(), "orders-1"));
    runtime().block_on(make(&site.client(), "orders-2"));
    disk.set_sync_time(SYNC);
    let probe = Probe::start(site.kafka());
    // As many writers as would keep both workers of the site busy.
    let write = |topic: String| {
        let client = site.client();
        thread::spawn(move || runtime().block_on(write_to_all(&client, &topic)))
    };
    let writers: Vec<_> = (0..3)
        .map(|topic| write(format!("orders-{topic}")))
        .collect();
    for writer in writers {
        writer.join().expect("a writer does not panic");
    }
    let longest = probe.longest();
    assert!(longest < SILENCE_MAX, "a request waited for {longest:?}");
    disk.set_sync_time(Duration::ZERO);
    site.stop();
}

#[test]
fn the_first_copy_of_many_partitions_keeps_nobody_waiting() {
    let (a, b) = (MemDisk::new(), MemDisk::new());
    let settings = |name: &str, tag, link: Vec<PathBuf>| RawConfig {
        site_name: Some(name.to_owned()),
        owns: vec![format!("{name}_")],
        producer_tag: Some(tag),
        link,
        ..RawConfig::default()
    };
    let source = Site::start_with(&a, settings("a", 1, Vec::new())).expect("site a");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(
        file,
        "name: from-a\nclient_options:\n  bootstrap_servers: [\"{}\"]\ntopic_metadata_sync_options:\n  auto_create_shadow_topic_filters:\n    - \
         {{ pattern_type: PREFIX, filter_type: INCLUDE, name: a_ }}\n",
        source.kafka()
    )
    .expect("written");
    runtime().block_on(async {
        make(&source.client(), "a_orders").await;
        write_to_all(&source.client(), "a_orders").await;
    });
    let link = vec![file.path().to_owned()];
    let shadow = Site::start_with(&b, settings("b", 2, link)).expect("site b");
    b.set_sync_time(SYNC);
    let probe = Probe::start(shadow.kafka());
    let level = runtime().block_on(copied(&shadow));
    let longest = probe.longest();
    assert!(level, "the shadow never has what the source has");
    assert!(longest < SILENCE_MAX, "a request waited for {longest:?}");
    b.set_sync_time(Duration::ZERO);
    shadow.stop();
    source.stop();
}

/// Waits until every partition of the shadow has its record.
async fn copied(site: &Site) -> bool {
    let client = site.client();
    for _ in 0..600 {
        let asked = (0..PARTITIONS).map(|partition| (("a_orders".to_owned(), partition), -1));
        let ends = client
            .list_offsets(&asked.collect(), Isolation::ReadUncommitted)
            .await;
        let copied = ends
            .values()
            .flatten()
            .filter(|end| end.offset == 1)
            .count();
        if copied == PARTITIONS as usize {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
