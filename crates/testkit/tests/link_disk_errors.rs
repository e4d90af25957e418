//! A shadow whose disk fails or is full: the link tries again without a fault, and ends up with the
//! source's bytes.

mod common;

use common::*;
use gnomon_broker::RawConfig;
use gnomon_client::{Client, ClientError, Topics, produce::Acks};
use gnomon_storage::disk::Fault;
use gnomon_testkit::{MemDisk, Site};
use std::{io::Write, net::SocketAddr, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

const TOPIC: &str = "a_orders";

/// Site b with a link from site a, and the file that says so.
fn pair(a: &MemDisk, b: &MemDisk) -> (Site, Site, tempfile::NamedTempFile) {
    let settings = |name: &str, tag, link: Vec<PathBuf>| RawConfig {
        site_name: Some(name.to_owned()),
        owns: vec![format!("{name}_")],
        producer_tag: Some(tag),
        link,
        ..RawConfig::default()
    };
    let source = Site::start_with(a, settings("a", 1, Vec::new())).expect("site a");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(
        file,
        "name: from-a\nclient_options:\n  bootstrap_servers: [\"{}\"]\ntopic_metadata_sync_options:\n  auto_create_shadow_topic_filters:\n    - \
         {{ pattern_type: PREFIX, filter_type: INCLUDE, name: a_ }}\n",
        source.kafka()
    )
    .expect("written");
    let shadow =
        Site::start_with(b, settings("b", 2, vec![file.path().to_owned()])).expect("site b");
    (source, shadow, file)
}

async fn write(client: &Client, count: usize, tag: &str) {
    for index in 0..count {
        let values: Vec<String> = (0..10)
            .map(|n| format!("{tag} {index}-{n} {}", "x".repeat(200)))
            .collect();
        client
            .produce(&(TOPIC.to_owned(), 0), batch(&values, None), Acks::All)
            .await
            .expect("written at the source");
    }
}

async fn is_there(client: &Client) -> Result<bool, ClientError> {
    Ok(client
        .metadata(Topics::All, false)
        .await?
        .topics
        .contains_key(TOPIC))
}

/// Until the shadow holds what the source does, in the same places and epochs.
async fn level(source: &Client, shadow: &Client, admin: SocketAddr) {
    let expected = read(source, TOPIC).await;
    for _ in 0..3_000 {
        if is_there(shadow).await.expect("metadata") && read(shadow, TOPIC).await == expected {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "never level: {} of {} records; {}",
        read(shadow, TOPIC).await.len(),
        expected.len(),
        status(admin).await
    );
}

/// The links, by the site's admin address.
async fn status(admin: SocketAddr) -> String {
    let mut socket = TcpStream::connect(admin).await.expect("connected");
    let request =
        format!("GET /v1/links/from-a HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

async fn no_fault(admin: SocketAddr) {
    let status = status(admin).await;
    assert!(!status.contains("FAULTED"), "{status}");
}

#[test]
fn a_full_disk_holds_a_copy_up_and_is_no_fault() {
    let (a, b) = (MemDisk::new(), MemDisk::new());
    let (source, shadow, _file) = pair(&a, &b);
    let (at_a, at_b) = (source.client(), shadow.client());
    runtime().block_on(async {
        make_topic(&at_a, TOPIC).await;
        write(&at_a, 5, "before").await;
        level(&at_a, &at_b, shadow.admin()).await;
        for round in 0..2 {
            b.set_capacity(Some(b.used_bytes() + 3_000));
            write(&at_a, 20, &format!("full {round}")).await;
            sleep(Duration::from_millis(500)).await;
            let (all, here) = (read(&at_a, TOPIC).await, read(&at_b, TOPIC).await);
            assert!(
                here.len() < all.len() && all.starts_with(&here),
                "what fitted, and reads go on"
            );
            no_fault(shadow.admin()).await;
            b.set_capacity(None);
            level(&at_a, &at_b, shadow.admin()).await;
        }
        no_fault(shadow.admin()).await;
    });
    assert_eq!((source.failure(), shadow.failure()), (None, None));
}

#[test]
fn a_failed_sync_under_a_shadow_is_copied_over() {
    for forgetful in [false, true] {
        let (a, b) = (MemDisk::new(), MemDisk::new());
        b.set_forgetful(forgetful);
        let (source, shadow, _file) = pair(&a, &b);
        let (at_a, at_b) = (source.client(), shadow.client());
        runtime().block_on(async {
            make_topic(&at_a, TOPIC).await;
            write(&at_a, 5, "before").await;
            level(&at_a, &at_b, shadow.admin()).await;
            for round in 0..3 {
                let before = epoch(&at_b, TOPIC).await;
                b.fail_next(if round == 1 {
                    Fault::Write
                } else {
                    Fault::Sync
                });
                write(&at_a, 10, &format!("round {round}")).await;
                level(&at_a, &at_b, shadow.admin()).await;
                no_fault(shadow.admin()).await;
                assert_eq!(epoch(&at_b, TOPIC).await, before, "the source's epoch");
            }
        });
        assert_eq!((source.failure(), shadow.failure()), (None, None));
        shadow.lose_power(3);
    }
}
