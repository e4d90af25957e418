//! Produce while its partition is being opened, and while it waits for the disk.

use super::*;
use crate::{
    Broker, Environment, RawConfig,
    api::test_broker::{connection, create_topic},
    dispatch::dispatch,
};
use gnomon_partition::{Blocking, PartitionId};
use gnomon_protocol::{
    api::keys,
    batch::BatchBuilder,
    messages::{
        self, RequestKind, produce_request::PartitionProduceData, produce_request::TopicProduceData,
    },
    request::encode_request,
};
use gnomon_storage::MemDisk;
use std::{future::poll_fn, io::Write, net::TcpStream, path::Path, sync::Arc, task::Poll};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

/// A test that fails waits this long.
const LIMIT: Duration = Duration::from_secs(20);

const VERSION: i16 = 9;

/// A frame without its size, as it comes off a connection.
fn frame(acks: i16, records: Bytes) -> Bytes {
    let partition = PartitionProduceData::default()
        .with_index(0)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partition_data(vec![partition]);
    let request = messages::ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic]);
    let client_id = Some(StrBytes::from_static_str("writer"));
    let header = RequestHeader {
        api_key: keys::PRODUCE,
        api_version: VERSION,
        correlation_id: 1,
        client_id,
    };
    let encoded = encode_request(&header, &RequestKind::Produce(request)).expect("encoded");
    encoded.freeze().slice(4..)
}

/// A site in memory with topic `t` of one partition that is not open.
async fn start(environment: Environment) -> Broker {
    // The directory says that nothing is left to be recovered: housekeeping opens no partition.
    let (disk, data) = (&environment.disk, Path::new("/data"));
    disk.create_dir_all(data).expect("made");
    let boot_id = disk.boot_id().expect("a boot id");
    disk.write_atomic(&data.join("boot"), boot_id.as_bytes())
        .expect("written");
    let raw = RawConfig {
        data: Some("/data".into()),
        listen: Some("127.0.0.1:0".into()),
        admin: Some("127.0.0.1:0".into()),
        ..RawConfig::default()
    };
    let broker = Broker::start(raw.check().expect("valid"), environment)
        .await
        .expect("started");
    create_topic(&broker, "t").await;
    broker
}

/// 8 MiB in a few kilobytes: the connection waits, its worker does not.
#[tokio::test]
async fn records_that_are_much_work_are_checked_elsewhere_and_appended_in_order() {
    let broker = start(Environment::real(Arc::new(MemDisk::new()))).await;
    let (services, connection) = (broker.services(), connection());
    let batch = |size: usize| {
        let batch = BatchBuilder::new(0).codec(gnomon_protocol::batch::Codec::Zstd);
        let batch = batch.record(0, None, Some(&vec![7; size]), &[]);
        frame(ACKS_ALL, batch.build().expect("a batch"))
    };
    let Answer::Exclusive(opening) = dispatch(services, &connection, batch(10)).answer else {
        panic!("the partition is to be opened")
    };
    opening.await;
    let Answer::Waiting(light) = dispatch(services, &connection, batch(10)).answer else {
        panic!("a small batch is appended at once")
    };
    light.await;
    let Answer::Exclusive(heavy) = dispatch(services, &connection, batch(8 << 20)).answer else {
        panic!("8 MiB are unpacked on the connection's worker")
    };
    let topic = services.partitions.id("t").expect("there");
    let end = || {
        let handle = services.partitions.by_id(topic, 0).expect("open");
        handle.offsets().end
    };
    assert_eq!(end(), 2);
    assert!(matches!(heavy.await, Outgoing::Bytes(_)));
    assert_eq!(end(), 3);
    broker.stop().await;
}

#[tokio::test]
async fn a_request_that_waits_for_the_disk_does_not_keep_its_frame_in_memory() {
    // Inline: the flusher is a task of this thread, so that nothing is flushed before the first
    // await.
    let environment = Environment {
        blocking: Blocking::Inline {
            flush: Duration::ZERO,
        },
        ..Environment::real(Arc::new(MemDisk::new()))
    };
    let broker = start(environment).await;
    let services = broker.services();
    let batch = BatchBuilder::new(0)
        .record(0, None, Some(&[7; 4096]), &[])
        .build()
        .expect("a batch");
    let frame = frame(ACKS_ALL, batch);
    let connection = connection();
    let Answer::Exclusive(mut first) = dispatch(services, &connection, frame.clone()).answer else {
        panic!("the partition is to be opened")
    };
    let until_appended = poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(_) => panic!("answered before it is durable"),
        Poll::Pending if frame.is_unique() => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    });
    timeout(LIMIT, until_appended)
        .await
        .expect("somebody still holds the frame");
    assert!(matches!(first.await, Outgoing::Bytes(_)));

    let Answer::Waiting(later) = dispatch(services, &connection, frame.clone()).answer else {
        panic!("acks=all waits for the disk")
    };
    assert!(frame.is_unique(), "somebody else still holds the frame");
    assert!(matches!(later.await, Outgoing::Bytes(_)));
    broker.stop().await;
}

/// With acks=0 nobody would learn that the records were dropped.
#[test]
fn records_sent_while_their_partition_is_opened_are_written_after_the_sender_has_gone() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let broker = start(Environment::real(Arc::new(MemDisk::new()))).await;
        let partitions = &broker.services().partitions;
        let topic_id = partitions.id("t").expect("published");
        let id = PartitionId { topic_id, index: 0 };
        let recovery = partitions.hold_up_opening(id);
        let batch = BatchBuilder::new(0)
            .record(0, None, Some(b"x"), &[])
            .build()
            .expect("a batch");
        let body = frame(ACKS_NONE, batch);
        let mut stream = TcpStream::connect(&broker.info().kafka).expect("connected");
        stream
            .write_all(&u32::try_from(body.len()).expect("small").to_be_bytes())
            .and_then(|()| stream.write_all(&body))
            .expect("sent");
        drop(stream);
        let waits = async {
            while partitions.waiting_for(id) < 1 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, waits).await.expect("the request waits");
        // For the end of the connection to be noticed: without this the test might not find what it
        // looks for, never the other way round.
        sleep(Duration::from_millis(100)).await;
        drop(recovery);
        let handle = partitions.open_by_id(topic_id, 0).await.expect("opened");
        let written = async {
            while handle.offsets().end < 1 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, written).await.expect("it is written");
        broker.stop().await;
    });
}
